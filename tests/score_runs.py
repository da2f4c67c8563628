"""What the tests of scores share: run folders as `mt4ssl superb run` and s3prl leave them."""

import json
from pathlib import Path
from typing import Any

from upstream.door import tasks

MINI = {"kind": "mini", "fingerprint": "m0", "version": 1, "seed": 0, "size": "default"}
REAL = {"kind": "real", "fingerprint": "r0"}


def record(task: str, value: Any, metric: str | None = None, **changes: Any) -> dict[str, Any]:
    """One line of results.jsonl."""
    found = tasks.header(task)["metrics"]
    stage = changes.get("stage", "test")
    (meant,) = [
        m for m in found if (m["name"], tasks.stage_of(m)) == (metric or found[0]["name"], stage)
    ]
    return {
        "task": task, "metric": meant["name"], "value": value, "unit": meant["unit"],
        "direction": meant["direction"], "split": "test", "stage": stage, "seed": 1337,
        "smoke": False, "upstream": "mt4ssl", "ckpt": "/ckpt/last.pt", "fingerprint": "f0",
        "overrides": {}, "corpus": REAL, **changes,
    }  # fmt: skip


def suite(folder: Path, *records: dict[str, Any], **changes: Any) -> Path:
    """The folder of a suite with these records, all of them changed."""
    folder.mkdir(parents=True)
    (folder / "suite.json").write_text("{}")
    lines = [json.dumps({**each, **changes}) + "\n" for each in records]
    (folder / "results.jsonl").write_text("".join(lines))
    return folder


def experiment(folder: Path, *records: dict[str, Any], **changes: Any) -> Path:
    """The folder of an s3prl experiment."""
    folder.mkdir(parents=True)
    without = ("smoke", "overrides", "ckpt")
    found = [{k: v for k, v in {**r, **changes}.items() if k not in without} for r in records]
    (folder / "results.json").write_text(json.dumps(found))
    return folder
