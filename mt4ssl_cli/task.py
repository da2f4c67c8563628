"""``mt4ssl task ...``: tasks of one's own."""

from pathlib import Path
from typing import Annotated

from mt4ssl_cli import options as o
from mt4ssl_cli.framework import command, group
from upstream.door import tasks
from upstream.store.options import StoreOptions
from upstream.suite import executors
from upstream.suite.own_task_request import OwnTaskRequest

task = group("task", help="Train SUPERB's heads on clips of your own.")


@command(task, "mt4ssl task train data.csv --kind classify -k last.pt --out runs/a", resumes=True)
def train(
    csv: Annotated[str, o.argument("CSV", "path, label (or text, or speaker), split per clip")],
    kind: Annotated[str, o.choice(tuple(tasks.own_names()), "what is learned of a clip")],
    out: Annotated[str, o.path("DIR", "folder for results.jsonl and all else")],
    ckpt: o.MaybeCkpt = None,
    upstream: o.Upstream = None,
    trials: Annotated[str | None, o.path("CSV", "enrol, test, target per pair, to verify")] = None,
    steps: Annotated[int | None, o.number(o.COUNT, "of training", default="10000")] = None,
    smoke: Annotated[bool, o.flag("--smoke", "a few steps per stage, to try it out")] = False,
    executor: Annotated[str, o.choice(executors.NAMES, "where jobs run")] = OwnTaskRequest.executor,
    rates: Annotated[list[str] | None, o.word("RATES", "learning rates: 1e-3,1e-4")] = None,
    set: Annotated[
        list[str] | None, o.word("KEY=VALUE ...", "change the config, e.g. runner.eval_step=50")
    ] = None,
    seed: o.HeadSeed = OwnTaskRequest.seed,
    seeds: o.HeadSeeds = OwnTaskRequest.seeds,
    device: o.Device = OwnTaskRequest.device,
    jobs: Annotated[int | None, o.number(o.JOBS, "at a time", default="one per GPU")] = None,
    slurm: Annotated[list[str] | None, o.word("KEY=VALUE ...", "for submitit")] = None,
    store: o.StoreMode = StoreOptions.mode,
    store_dir: o.StoreDir = None,
    store_gb: o.StoreGb = StoreOptions.gigabytes,
    store_precision: o.StorePrecision = StoreOptions.precision,
    store_crops: o.StoreCrops = StoreOptions.crops,
    store_alone: o.StoreAlone = False,
    feature_transform: o.FeatureTransform = OwnTaskRequest.feature_transform,
) -> int:
    """Train a head on the clips of a CSV, choose its learning rate on dev, and test it."""
    from upstream.suite import own_task

    kept = StoreOptions(store, store_dir, store_gb, store_precision, store_crops, store_alone)
    return own_task.run(
        OwnTaskRequest(
            Path(out), csv, ckpt=ckpt, upstream=upstream, kind=kind, trials=trials, steps=steps,
            smoke=smoke, executor=executor, rates=rates or (), set=set or (), seed=seed,
            seeds=seeds, device=device, jobs=jobs, slurm=slurm or (), store=kept,
            feature_transform=feature_transform,
        )
    )  # fmt: skip
