"""What the tests of tested heads share: runs with the checkpoints that s3prl leaves."""

import json
from argparse import Namespace
from pathlib import Path
from typing import Any

import torch

from upstream.door import tasks

ARGS = {"upstream_layer_selection": None, "upstream_feature_normalize": False}


def head(path: Path, weights: Any, **args: Any) -> Path:
    """An s3prl checkpoint whose featurizer has these weights, before the softmax."""
    path.parent.mkdir(parents=True, exist_ok=True)
    featurizer = {} if weights is None else {"weights": torch.tensor(weights)}
    stored = {"Args": Namespace(**{**ARGS, **args}), "Config": {}, "Featurizer": featurizer}
    torch.save(stored, path)
    return path


def leave_results(folder: Path, task: str, path: Path | None, **changes: Any) -> dict[str, Any]:
    """Put the results of a head into the folder; returns what the suite keeps of them."""
    metric = tasks.header(task)["metrics"][0]
    kept = {"task": task, "metric": metric["name"], "stage": tasks.stage_of(metric)}
    kept |= {"value": 0.5, "direction": metric["direction"], "split": "test"}
    setting: dict[str, Any] = {
        "upstream": "mt4ssl",
        "upstream_ckpt": "/gone/last.pt",
        "fingerprint": "f0",
    }
    setting |= {"upstream_trainable": False, "layer": None, "head": path and str(path)}
    record = {**kept, **setting, **changes}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps([record]))
    return {key: record[key] for key in kept}


def suite(out: Path, jobs: dict[str, list[tuple[str, dict[str, Any]]]]) -> Path:
    """The folder of a suite: name of a test's job -> (folder below ``out``, record) it tested."""
    (out / "jobs").mkdir(parents=True, exist_ok=True)
    (out / "suite.json").write_text("{}")
    lines = {}
    for job, found in jobs.items():
        records = [{**record, "folder": folder} for folder, record in found]
        state = {"state": "done", "result": {"records": records}}
        (out / "jobs" / f"{job}.json").write_text(json.dumps(state))
        lines[records[0]["task"]] = json.dumps(records[0]) + "\n"
    (out / "results.jsonl").write_text("".join(lines.values()))
    return out


def small(out: Path, **weights: Any) -> Path:
    """A suite with one head per task."""
    jobs = {}
    for task, values in weights.items():
        path = head(out / task / "lr_1" / "dev-best.ckpt", values)
        jobs[f"{task}.test"] = [(f"{task}/lr_1", leave_results(path.parent, task, path))]
    return suite(out, jobs)
