"""What the tests of comparisons share: run folders with the predictions that heads leave behind."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import head_runs

from upstream.door import tasks

MINI = {"kind": "mini", "fingerprint": "m0", "version": 1, "seed": 0, "size": "default"}


def config_of(task: str, **changes: Any) -> dict[str, Any]:
    """The settings of a task, as an experiment's results have them."""
    config = tasks.read(tasks.path_of(task))
    del config["superb"]
    config["runner"] |= changes
    return config


def labels(folder: Path, pairs: Mapping[str, tuple[str, str]], fold: str = "") -> float:
    """Leave what was said and what is true of each utterance; returns the accuracy."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"test_{fold}_" if fold else "test_"
    for at, name in enumerate(("predict", "truth")):
        lines = [f"{key} {pair[at]}\n" for key, pair in pairs.items()]
        (folder / f"{stem}{name}.txt").write_text("".join(lines))
    return sum(said == meant for said, meant in pairs.values()) / len(pairs)


def texts(folder: Path, pairs: Mapping[str, tuple[str, str]]) -> None:
    """Leave transcripts."""
    folder.mkdir(parents=True, exist_ok=True)
    for at, name in enumerate(("hyp", "ref")):
        lines = [f"{key} {pair[at]}\n" for key, pair in pairs.items()]
        (folder / f"test-{name}.ark").write_text("".join(lines))


def run(
    out: Path, task: str, tests: Sequence[tuple[str, float, dict[str, Any]]], **changes: Any
) -> Path:
    """A suite of one task: (folder below ``out``, value, changes of the record) for each test."""
    metric = tasks.header(task)["metrics"][0]
    jobs: dict[str, Any] = {}
    for folder, value, different in tests:
        given = {"value": value, "seed": 1337, "config": config_of(task), **different}
        kept = head_runs.leave_results(out / folder, task, Path("gone.ckpt"), **given)
        fold = given["config"]["downstream_expert"].get("datarc", {}).get("test_fold")
        seed = "" if given["seed"] == 1337 else f"seed_{given['seed']}"
        job = ".".join(filter(None, (task, seed, fold, "test")))
        jobs[job] = [(folder, {**kept, "value": value})]
    head_runs.suite(out, jobs)
    seeds: dict[str, Any] = {str(record["seed"]): {} for *_, record in tests if "seed" in record}
    line = {
        "task": task, "metric": metric["name"], "value": tests[0][1], "unit": metric["unit"],
        "direction": metric["direction"], "split": "test", "stage": "test", "seed": 1337,
        "smoke": False, "upstream": "mt4ssl", "ckpt": f"/{out.name}/last.pt",
        "fingerprint": out.name, "overrides": {}, "corpus": MINI,
        **({"seeds": {"1337": {}, **seeds}} if seeds else {}), **changes,
    }  # fmt: skip
    (out / "results.jsonl").write_text(json.dumps(line) + "\n")
    return out
