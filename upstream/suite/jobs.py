"""The jobs of a suite, and how each is done through s3prl: train a head, choose one and test it."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from upstream.door import tasks
from upstream.heads import blank_share, command, results, states
from upstream.heads.task_request import NONE, TaskRequest
from upstream.store.options import StoreOptions
from upstream.suite import protocol, run_folder
from upstream.suite.protocol import Candidate, Variant
from upstream.suite.recipe import Recipe


@dataclass(frozen=True)
class SuiteSetting:
    """What all jobs of a suite share."""

    out: Path
    upstream: str
    ckpt: str | None
    seed: int
    device: str = "auto"
    store: StoreOptions = field(default_factory=StoreOptions)
    feature_transform: str = NONE

    def request(self, expdir: Path, **more: Any) -> TaskRequest:
        """Return what is asked of one task, with what all jobs share."""
        shared: dict[str, Any] = {"device": self.device, "store": self.store}
        shared["feature_transform"] = self.feature_transform
        return TaskRequest(expdir=str(expdir), upstream_ckpt=self.ckpt, **shared, **more)


@dataclass(frozen=True)
class TaskPlan:
    """A task as it is to be done."""

    code: str
    header: Mapping[str, Any]
    root: Path
    candidates: tuple[Candidate, ...]
    variants: tuple[Variant, ...]
    overrides: Mapping[str, Any]  # for all stages: of a smoke run, and of --set
    stages: tuple[Mapping[str, Any], ...]
    identity: Mapping[str, Any]  # whatever else makes a result another one: config, corpus, store
    more_seeds: tuple[int, ...] = ()  # of heads, beside the suite's own
    stored: bool = False  # whether all its jobs read the upstream's features from the store
    recipe: Recipe | None = None  # of another protocol than SUPERB's

    @property
    def chooses(self) -> bool:
        """Whether there is anything to choose."""
        return len(self.candidates) > 1

    @property
    def changes(self) -> dict[str, Any]:
        """Return what is changed of the config, whoever asked for it."""
        return {**(self.recipe.changes if self.recipe else {}), **self.overrides}

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
    seed: int | None = None  # None: the suite's

    @property
    def name(self) -> str:
        """Such as "ks/lr_0.001", "er/fold1/lr_0.001" or "ks/test"."""
        last = self.candidate.name if self.candidate else "test"
        return run_folder.job_name(self.plan.code, self.variant.name, last, self.seed)

    def settings(self) -> dict[str, Any]:
        """What must be the same for a job to count as done."""
        plan = self.plan
        asked = {**plan.identity, "overrides": {**plan.overrides, **dict(self.variant.override)}}
        if self.candidate is None:
            asked["candidates"] = [candidate.name for candidate in plan.candidates]
            asked["stages"] = [dict(stage) for stage in plan.stages]
        plain: dict[str, Any] = json.loads(json.dumps(asked))  # as it is read back
        return plain


def jobs_of(plan: TaskPlan) -> tuple[list[Job], list[Job]]:
    """Return a task's jobs: those that come first, and the tests that need all of these."""
    worth = plan.trains or plan.chooses  # a single layer needs no dev
    seeds = (None, *plan.more_seeds)
    first = [Job(plan, v, c, s) for s in seeds for c in plan.candidates for v in plan.variants]
    tests = [Job(plan, variant, None, seed) for seed in seeds for variant in plan.variants]
    return first if worth else [], tests


def more_seeds(out: Path, header: Mapping[str, Any], first: int, count: int) -> tuple[int, ...]:
    """Return the seeds of a task's heads beside the first: so many, and those there already."""
    if header.get("select") == protocol.LAYER:  # nothing is trained
        return ()
    records = [r for r in run_folder.read_results(out) if r["task"] == header["code"]]
    there = {int(seed) for record in records for seed in record.get("seeds") or {}}
    return tuple(sorted({*range(first, first + count), *there} - {first}))


def perform(setting: SuiteSetting, job: Job) -> dict[str, Any]:
    """Do what a job is, through s3prl; returns its result."""
    import torch

    if threads := os.environ.get("OMP_NUM_THREADS"):
        torch.set_num_threads(int(threads))
    return train_head(setting, job) if job.candidate else test(setting, job)


def train_head(setting: SuiteSetting, job: Job) -> dict[str, Any]:
    """Train a head, or evaluate a layer; returns the dev value."""
    plan, candidate, dev = job.plan, job.candidate, protocol.dev_of(job.plan.header)
    assert candidate is not None
    expdir = setting.out / job.name
    if not plan.trains:
        _evaluate_layer(setting, job, candidate.layer, expdir, split=dev.split)
        values = [
            record["value"]
            for record in results.read(expdir)
            if (record["split"], record["metric"]) == (dev.split, dev.metric)
        ]
        return {"dev": protocol.best(values, dev.direction)}
    changes = {**plan.changes, **dict(job.variant.override)}
    if candidate.rate is not None:
        changes["optimizer.lr"] = candidate.rate
    _launch(_new(setting, job, expdir, changes, mode="train", auto_resume=True))
    return {"dev": protocol.dev_while_training(expdir, dev)}


def test(setting: SuiteSetting, job: Job) -> dict[str, Any]:
    """Choose by dev and do every evaluation of the task once; returns the records.

    Among these are those of optional evaluations that are not asked for any more.
    """
    plan = job.plan
    devs = devs_of(setting.out, plan, job.seed)
    chosen = protocol.best_candidate(devs, protocol.dev_of(plan.header).direction, plan.code)
    candidate = next(c for c in plan.candidates if c.name == chosen)
    folder = setting.out / job.name
    heads: dict[Path, Path | None] = {folder: None}  # what is tested, by the folder of its results
    if plan.trains:
        trained = run_folder.job_name(plan.code, job.variant.name, chosen, job.seed)
        heads = _heads(plan, setting.out / trained)
    for folder, head in heads.items():
        for stage in plan.stages:
            if head is None:
                _evaluate_layer(setting, job, candidate.layer, folder, stage=stage["name"])
            elif not _evaluated(folder, stage, head):
                _launch(
                    setting.request(
                        folder, mode="evaluate", past_exp=str(head), stage=stage["name"]
                    )
                )
    found = [
        {**record, "folder": str(folder.relative_to(setting.out))}
        for folder, head in heads.items()
        for stage in tasks.all_stages(plan.header)
        for record in _evaluated(folder, stage, head)
    ]
    return {"chosen": chosen, "devs": devs, "records": [_short(record) for record in found]}


def _heads(plan: TaskPlan, expdir: Path) -> dict[Path, Path | None]:
    """Return the heads of an experiment to test, the best or each, by where their results go."""
    best = states.best_checkpoint(expdir)  # raises ValueError when there is no head at all
    if plan.header.get("test_on") == "checkpoints":
        return {expdir / "test" / head.stem: head for head in states.newest(expdir)}
    return {expdir: best}


def devs_of(out: Path, plan: TaskPlan, seed: int | None = None) -> dict[str, list[float | None]]:
    """Return the dev values of every candidate, one per variant, from the states of their jobs."""

    def dev(candidate: Candidate, variant: Variant) -> float | None:
        state = run_folder.read_state(out, Job(plan, variant, candidate, seed).name)
        value: float | None = state.get("result", {}).get("dev")
        return value

    return {c.name: [dev(c, variant) for variant in plan.variants] for c in plan.candidates}


def _new(
    setting: SuiteSetting, job: Job, expdir: Path, changes: Mapping[str, Any], **more: Any
) -> TaskRequest:
    """An experiment that does not begin with a stored head."""
    seed = setting.seed if job.seed is None else job.seed
    if (recipe := job.plan.recipe) is not None:
        changes = {**recipe.paths, **changes}
        normalized = {"upstream_feature_normalize": True} if recipe.normalize else {}
        more["others"] = {**normalized, **more.get("others", {})}
    own = {"task": job.plan.code, "root": str(job.plan.root), "changes": changes, "seed": seed}
    return setting.request(expdir, upstream=setting.upstream, **own, **more)


def _evaluate_layer(
    setting: SuiteSetting,
    job: Job,
    layer: int | None,
    expdir: Path,
    split: str | None = None,
    stage: str | None = None,
) -> None:
    changes = {**job.plan.changes, **dict(job.variant.override)}
    others = {"upstream_layer_selection": layer, "evaluate_split": split}
    more = {"mode": "evaluate", "stage": stage, "others": others}
    _launch(_new(setting, job, expdir, changes, **more))


def _launch(request: TaskRequest) -> None:
    from upstream.heads import runner

    runner.launch(command.settle(request))


def _evaluated(folder: Path, stage: Mapping[str, Any], head: Path | None) -> list[dict[str, Any]]:
    """Return what this head's evaluation gave, also in a session that was interrupted later."""
    asked = (stage["name"], stage["split"], head and str(head))
    return [
        record
        for record in results.read(folder)
        if (record["stage"], record["split"], record.get("head")) == asked
    ]


_IF_THERE = ("store", "feature_transform", blank_share.BLANKS, blank_share.EMITTED)
_KEPT = ("task", "metric", "value", "unit", "direction", "split", "stage", "step", "seconds")


def _short(record: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: record[key] for key in (*_KEPT, "device", "s3prl", "torch", "folder")}
    return {**kept, **{key: record[key] for key in _IF_THERE if key in record}}
