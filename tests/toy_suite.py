"""What the tests of the suite share: toy tasks of every kind of protocol, without s3prl."""

import json
from pathlib import Path
from typing import Any

import yaml

from upstream.door import tasks
from upstream.heads import results
from upstream.heads.task_request import TaskRequest
from upstream.suite import jobs, planning, suite
from upstream.suite.protocol import Variant
from upstream.suite.upstream_trial import Probe

ARCHIVE = "downstream_expert.datarc.root"
CONFIG = {
    "runner": {"total_steps": 100, "eval_step": 10, "save_step": 10, "log_step": 1},
    "optimizer": {"name": "TorchOptim", "torch_optim_name": "Adam", "lr": 1e-3},
    "downstream_expert": {"datarc": {"root": "???", "fold": 0, "batch_size": 4}},
}
ACC = {"name": "acc", "key": "acc", "unit": "fraction", "direction": "max"}
ENCODER = Probe(layers=3, dim=8, params=1000, macs=2000)
EER = {"name": "eer", "key": "eer", "unit": "fraction", "direction": "min"}
HEADERS: dict[str, dict[str, Any]] = {
    "rate": {
        "metrics": [ACC],
        "learning_rates": [1e-1, 1e-2, 1e-3],
        "heads": {"deep": {"downstream_expert.datarc.batch_size": 8}},
        "protocols": {
            "mini": {
                "learning_rates": [1e-2],
                "normalize": True,
                "changes": {"runner.total_steps": 20},
            }
        },
    },
    "fold": {
        "metrics": [ACC],
        "learning_rates": [1e-1, 1e-2],
        "variants": {"key": "downstream_expert.datarc.fold", "values": ["f1", "f2"]},
    },
    "layer": {"metrics": [ACC], "select": "layer"},
    "every": {
        "metrics": [EER],
        "learning_rates": [1e-1, 1e-2],
        "test_on": "checkpoints",
    },
    "none": {"metrics": [EER], "select": "none", "learning_rates": []},
    "lm": {
        "metrics": [ACC, {**ACC, "stage": "lm"}],
        "learning_rates": [1e-2],
        "stages": [
            {"name": "test", "split": "clean"},
            {"name": "lm", "split": "clean", "optional": True},
        ],
    },
}


def make_tasks(folder: Path, monkeypatch: Any, corpora: bool = True) -> Path:
    """Put the toy tasks in place of SUPERB's; returns the folder that has their corpora."""
    for name, header in HEADERS.items():
        common = {
            "task": name.title(),
            "code": name,
            "s3prl": "none",
            "smoke": {"runner.total_steps": 4},
            "corpus": {"name": "Toy", "source": ["https://example.org"], "counts": {"test": 2}},
            "root_keys": {ARCHIVE: {"what": "the toy corpus", "try": ["."]}},
        }
        text = yaml.safe_dump({"superb": {**common, **header}, **CONFIG}, sort_keys=False)
        (folder / "tasks").mkdir(parents=True, exist_ok=True)
        (folder / "tasks" / f"{name}.yaml").write_text(text)
        (folder / "corpora" / name).mkdir(parents=True, exist_ok=True)
    monkeypatch.setattr(tasks, "folder", lambda: folder / "tasks")
    if corpora:
        monkeypatch.setattr(suite, "try_upstream", lambda upstream, ckpt: ENCODER)
        monkeypatch.setattr(suite.preparation, "prepare", prepared)
    return folder / "corpora"


def corpus(kind: str = "mini") -> dict[str, Any]:
    """What a survey would have found."""
    return {"name": "Toy", "kind": kind, "counts": {"test": 2}, "fingerprint": "0", "hours": 1.0}


def prepared(names: Any, folders: Any, allow_partial: bool = False) -> tuple[dict, dict]:
    """A stand-in for `preparation.prepare`."""
    return {name: corpus() for name in names}, {}


def plan(name: str, root: Path, request: Any = None, **changes: Any) -> jobs.TaskPlan:
    """The plan of a toy task."""
    asked = request or suite.SuiteRequest(root / "out", str(root), upstream="fbank", tasks=name)
    made = planning.plan_task(asked, name, root / name, corpus(), ENCODER)
    return made.__class__(**{**vars(made), **changes})


class Launcher:
    """In place of s3prl: leaves the files that it would leave, and remembers what it was asked.

    A head is better on dev and on test the nearer its rate is to 1e-2 (its layer to 1), and the
    later it was saved.
    """

    def __init__(self) -> None:
        self.asked: list[TaskRequest] = []
        self.store: dict[str, Any] | None = None  # what its records say of the feature store

    def __call__(self, asked: TaskRequest) -> None:
        self.asked.append(asked)
        expdir = Path(str(asked.expdir))
        expdir.mkdir(parents=True, exist_ok=True)
        rate = asked.changes.get("optimizer.lr", 1e-3)
        if asked.mode == "train":
            for saved in (10, 20):
                (expdir / f"states-{saved}.ckpt").write_text(json.dumps({"rate": rate}))
                good = quality(rate, saved)
                results.log(expdir, "dev", saved, {"acc": good, "eer": 1 - good})
            return
        head, layer = asked.past_exp, asked.others.get("upstream_layer_selection")
        step: int | None = None
        if head:
            rate = json.loads(Path(head).read_text())["rate"]
            step = int(Path(head).stem.split("-")[1])
        value = quality(rate, step or 0) if layer is None else 1 / (1 + abs(int(layer) - 1))
        code = next(part for part in reversed(expdir.parts) if part in HEADERS)
        stage, split = asked.stage or "test", asked.others.get("evaluate_split")
        if split is None:
            (split,) = [s["split"] for s in tasks.stages(tasks.header(code), [stage])]
        record = {
            "task": code, "metric": HEADERS[code]["metrics"][0]["name"], "unit": "fraction",
            "value": 1 - value if HEADERS[code]["metrics"][0] == EER else value,
            "direction": HEADERS[code]["metrics"][0]["direction"], "split": split, "stage": stage,
            "step": step, "seconds": 1.0, "device": "cpu", "s3prl": "0", "torch": "0",
            "head": head, "store": self.store,
        }  # fmt: skip
        results.write(expdir, [record])


def quality(rate: float, step: int) -> float:
    """Between 0 and 1."""
    return round({1e-1: 0.3, 1e-2: 0.8, 1e-3: 0.5}[rate] + step / 1000, 3)


def first(name: str, root: Path) -> jobs.Job:
    """The first job of a toy task."""
    made = plan(name, root)
    return jobs.Job(made, Variant(), made.candidates[0])
