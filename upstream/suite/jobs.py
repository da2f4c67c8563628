"""The jobs of a suite, and how each is done through s3prl: train a head, choose one and test it."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from upstream import tasks
from upstream.suite import protocol, run_folder
from upstream.suite.protocol import Candidate, Variant


@dataclass(frozen=True)
class Setting:
    """What all jobs of a suite share."""

    out: Path
    upstream: str
    ckpt: str | None
    seed: int
    device: str | None = None
    reuse_features: float = 0.0


@dataclass(frozen=True)
class TaskPlan:
    """A task as it is to be done."""

    code: str
    header: Mapping[str, Any]
    root: Path
    candidates: tuple[Candidate, ...]
    variants: tuple[Variant, ...]
    overrides: Mapping[str, Any]  # for all stages: of a smoke run, and of --set
    dev_override: Mapping[str, Any]  # for an evaluation on dev of its own
    stages: tuple[Mapping[str, Any], ...]
    identity: Mapping[str, Any]  # whatever else makes a result another one: config, corpus

    @property
    def chooses(self) -> bool:
        """Whether there is anything to choose."""
        return len(self.candidates) > 1

    @property
    def trains(self) -> bool:
        """Whether a head is trained."""
        return self.header.get("select") != protocol.LAYER


@dataclass(frozen=True)
class Job:
    """A candidate to train (or to evaluate on dev), or the test of the one that did best."""

    plan: TaskPlan
    variant: Variant
    candidate: Candidate | None = None  # None: the test

    @property
    def name(self) -> str:
        """Such as "ks/lr_0.001", "er/fold1/lr_0.001" or "ks/test"."""
        return _name(self.plan, self.variant, self.candidate.name if self.candidate else "test")

    def settings(self) -> dict[str, Any]:
        """What must be the same for a job to count as done."""
        plan = self.plan
        asked = {**plan.identity, "overrides": {**plan.overrides, **dict(self.variant.override)}}
        if self.candidate is None:
            asked["candidates"] = [candidate.name for candidate in plan.candidates]
            asked["stages"] = [dict(stage) for stage in plan.stages]
        plain: dict[str, Any] = json.loads(json.dumps(asked))  # as it is read back
        return plain


def _name(plan: TaskPlan, variant: Variant, last: str) -> str:
    return "/".join(part for part in (plan.code, variant.name, last) if part)


def jobs_of(plan: TaskPlan) -> tuple[list[Job], list[Job]]:
    """Return a task's jobs: those that come first, and the tests that need all of these."""
    worth = plan.trains or plan.chooses  # a single layer needs no dev
    first = [Job(plan, v, c) for c in plan.candidates for v in plan.variants] if worth else []
    return first, [Job(plan, variant) for variant in plan.variants]


def perform(setting: Setting, job: Job) -> dict[str, Any]:
    """Do what a job is, through s3prl; returns its result."""
    import torch

    if threads := os.environ.get("OMP_NUM_THREADS"):
        torch.set_num_threads(int(threads))
    return train(setting, job) if job.candidate else test(setting, job)


def train(setting: Setting, job: Job) -> dict[str, Any]:
    """Train a head, or evaluate a layer; returns the dev value."""
    from upstream import command

    plan, candidate, dev = job.plan, job.candidate, protocol.dev_of(job.plan.header)
    assert candidate is not None
    expdir = setting.out / job.name
    if not plan.trains:
        _evaluate_layer(setting, job, candidate.layer, dev.split, plan.dev_override, expdir)
        return {"dev": _dev_recorded([expdir], dev)}
    changes = {**plan.overrides, **dict(job.variant.override)}
    if candidate.rate is not None:
        changes["optimizer.lr"] = candidate.rate
    argv = ["--mode", "train", "--auto_resume", *_new(setting, plan, expdir, changes)]
    _launch(setting, argv)
    if not plan.chooses:
        return {"dev": None}
    if not dev.evaluate:
        return {"dev": protocol.dev_while_training(expdir, dev)}
    heads = {expdir / "dev" / head.stem: head for head in command.newest_states(expdir)}
    flags = ["--evaluate_split", dev.split]
    for folder, head in heads.items():
        if not _evaluated(folder, {"name": tasks.TEST, "split": dev.split}, head):
            _evaluate(setting, head, folder, flags, plan.dev_override)
    return {"dev": _dev_recorded(list(heads), dev)}


def test(setting: Setting, job: Job) -> dict[str, Any]:
    """Choose by dev and do every evaluation of the task once; returns the records."""
    from upstream import results

    plan = job.plan
    devs = devs_of(setting.out, plan)
    chosen = protocol.choose(devs, protocol.dev_of(plan.header).direction, plan.code)
    candidate = next(c for c in plan.candidates if c.name == chosen)
    if plan.trains:
        folders = _test_heads(setting, plan, setting.out / _name(plan, job.variant, chosen))
    else:
        folders = [setting.out / job.name]
        for stage in plan.stages:
            override, name = stage.get("override", {}), stage["name"]
            _evaluate_layer(
                setting, job, candidate.layer, stage["split"], override, folders[0], name
            )
    names = {(stage["name"], stage["split"]) for stage in plan.stages}
    found = [
        {**record, "folder": str(folder.relative_to(setting.out))}
        for folder in folders
        for record in results.read(folder)
        if (record["stage"], record["split"]) in names
    ]
    return {"chosen": chosen, "devs": devs, "records": [_short(record) for record in found]}


def _test_heads(setting: Setting, plan: TaskPlan, expdir: Path) -> list[Path]:
    """Evaluate the best head of an experiment, or each of them; returns where the results are."""
    from upstream import command, runner

    if plan.header.get("test_on") == "checkpoints":
        found = command.newest_states(expdir)
        heads = {expdir / "test" / head.stem: head for head in found}
    else:
        heads = {expdir: runner.best_checkpoint(expdir)}
    for folder, head in heads.items():
        for stage in plan.stages:
            if not _evaluated(folder, stage, head):
                flags = ["--stage", stage["name"]]
                _evaluate(setting, head, folder, flags, stage.get("override", {}))
    return list(heads)


def devs_of(out: Path, plan: TaskPlan) -> dict[str, list[float | None]]:
    """Return the dev values of every candidate, one per variant, from the states of their jobs."""
    found: dict[str, list[float | None]] = {}
    for candidate in plan.candidates:
        states = [
            run_folder.read_state(out, _name(plan, variant, candidate.name))
            for variant in plan.variants
        ]
        found[candidate.name] = [state.get("result", {}).get("dev") for state in states]
    return found


def _new(setting: Setting, plan: TaskPlan, expdir: Path, changes: Mapping[str, Any]) -> list[str]:
    """Options of an experiment that does not begin with a stored head."""
    argv = ["--task", plan.code, "--upstream", setting.upstream, "--root", str(plan.root)]
    argv += ["--upstream_ckpt", setting.ckpt] if setting.ckpt else []
    argv += ["--seed", str(setting.seed), "--expdir", str(expdir)]
    return argv + _override(changes)


def _evaluate_layer(
    setting: Setting,
    job: Job,
    layer: int | None,
    split: str,
    override: Mapping[str, Any],
    expdir: Path,
    stage: str | None = None,
) -> None:
    changes = {**job.plan.overrides, **dict(job.variant.override), **override}
    argv = ["--mode", "evaluate", "--upstream_layer_selection", str(layer)]
    argv += ["--stage", stage] if stage else ["--evaluate_split", split]
    _launch(setting, argv + _new(setting, job.plan, expdir, changes))


def _evaluate(
    setting: Setting, head: Any, folder: Path, flags: list[str], override: Mapping[str, Any]
) -> None:
    """Evaluate a stored head, with its files in ``folder``."""
    argv = ["--mode", "evaluate", "--past_exp", str(head), "--expdir", str(folder)]
    argv += ["--upstream_ckpt", setting.ckpt] if setting.ckpt else []
    _launch(setting, argv + flags + _override(override))


def _launch(setting: Setting, argv: list[str]) -> None:
    from upstream import command, runner

    argv += ["--device", setting.device] if setting.device else []
    argv += ["--reuse-features", str(setting.reuse_features)]
    runner.launch(command.resolve(argv))


def _override(changes: Mapping[str, Any]) -> list[str]:
    from upstream import overrides

    return ["--override", overrides.render(dict(changes))] if changes else []


def _evaluated(folder: Path, stage: Mapping[str, Any], head: Any) -> bool:
    """Whether this head was evaluated so before, by a session that was interrupted later."""
    from upstream import results

    return any(
        (record["stage"], record["split"], record["head"])
        == (stage["name"], stage["split"], str(head))
        for record in results.read(folder)
    )


def _dev_recorded(folders: Sequence[Path], dev: protocol.Dev) -> float | None:
    """Return the best dev value of evaluations of their own."""
    from upstream import results

    values = [
        record["value"]
        for folder in folders
        for record in results.read(folder)
        if (record["split"], record["metric"]) == (dev.split, dev.metric)
    ]
    return protocol.best(values, dev.direction)


_KEPT = ("task", "metric", "value", "unit", "direction", "split", "stage", "step", "seconds")


def _short(record: Mapping[str, Any]) -> dict[str, Any]:
    return {key: record[key] for key in (*_KEPT, "device", "s3prl", "torch", "folder")}
