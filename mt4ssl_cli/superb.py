"""``mt4ssl superb ...``: all SUPERB tasks of a checkpoint."""

from pathlib import Path
from typing import Annotated

from mt4ssl_cli import options as o
from mt4ssl_cli.framework import command, group
from upstream.store.options import StoreOptions
from upstream.suite import executors, recipe
from upstream.suite.suite_request import OFFICIAL, SuiteRequest

superb = group("superb", help="Score checkpoints on SUPERB.")


@command(superb, "mt4ssl superb prepare --tasks ks,pr --roots roots.yaml", resumes=True)
def prepare(
    tasks: o.Tasks = SuiteRequest.tasks,
    root: o.Root = None,
    roots: o.MaybeRoots = None,
    allow_partial: o.AllowPartial = False,
) -> None:
    """Check the corpora of SUPERB tasks and make what s3prl needs from them."""
    from upstream.suite import preparation

    preparation.prepare_some(tasks, root, roots, allow_partial)


@command(
    superb, "mt4ssl superb run -k last.pt --tasks ks,pr --roots corpora --out runs/a", resumes=True
)
def run(
    roots: o.Roots,
    out: Annotated[str, o.path("DIR", "folder for results.jsonl and all else")],
    ckpt: o.MaybeCkpt = None,
    upstream: o.Upstream = None,
    tasks: o.Tasks = SuiteRequest.tasks,
    smoke: Annotated[bool, o.flag("--smoke", "a few steps per stage, to try it out")] = False,
    executor: Annotated[str, o.choice(executors.NAMES, "where jobs run")] = SuiteRequest.executor,
    rates: Annotated[
        list[str] | None, o.word("RATES ...", "learning rates: 1e-3,1e-4, or ks=1e-3 for one task")
    ] = None,
    stages: Annotated[list[str] | None, o.word("NAME ...", "optional evaluations, too")] = None,
    set: o.Changes = None,
    seed: o.HeadSeed = SuiteRequest.seed,
    seeds: o.HeadSeeds = SuiteRequest.seeds,
    heads: Annotated[
        list[str] | None, o.word("KIND,KIND", "of heads: official,deep (deep is off protocol)")
    ] = None,
    device: o.Device = SuiteRequest.device,
    jobs: Annotated[int | None, o.number(o.JOBS, "at a time", default="one per GPU")] = None,
    slurm: Annotated[list[str] | None, o.word("KEY=VALUE ...", "for submitit")] = None,
    allow_partial: o.AllowPartial = False,
    store: o.StoreMode = StoreOptions.mode,
    store_dir: o.StoreDir = None,
    store_gb: o.StoreGb = StoreOptions.gigabytes,
    store_precision: o.StorePrecision = StoreOptions.precision,
    store_crops: o.StoreCrops = StoreOptions.crops,
    store_alone: o.StoreAlone = False,
    feature_transform: o.FeatureTransform = SuiteRequest.feature_transform,
    protocol: Annotated[str, o.choice(recipe.NAMES, "mini: MiniSUPERB's recipe of asr and sid")] = (
        SuiteRequest.protocol
    ),
) -> int:
    """Train and test an upstream on SUPERB tasks."""
    from upstream.suite import suite

    kept = StoreOptions(store, store_dir, store_gb, store_precision, store_crops, store_alone)
    return suite.run(
        SuiteRequest(
            Path(out), roots, ckpt=ckpt, upstream=upstream, tasks=tasks, smoke=smoke,
            executor=executor, rates=rates or (), stages=stages or (), set=set or (), seed=seed,
            seeds=seeds, heads=heads or (OFFICIAL,), device=device, jobs=jobs, slurm=slurm or (),
            allow_partial=allow_partial, store=kept, feature_transform=feature_transform,
            protocol=protocol,
        )
    )  # fmt: skip


@command(superb, "mt4ssl superb doctor -k last.pt --roots roots.yaml")
def doctor(
    roots: o.Roots,
    ckpt: o.MaybeCkpt = None,
    upstream: o.Upstream = None,
    tasks: o.Tasks = SuiteRequest.tasks,
    device: o.Device = SuiteRequest.device,
    allow_partial: o.AllowPartial = False,
) -> int:
    """Say what is installed, which corpora are complete, and what the tasks will take."""
    from upstream.suite import doctor

    return doctor.doctor(roots, ckpt, upstream, tasks, device, allow_partial)


@command(superb, "mt4ssl superb submit runs/first/superb")
def submit(
    run_folder: o.RunFolder,
    tasks: o.Tasks = SuiteRequest.tasks,
    out: Annotated[str | None, o.path("FILE", "zip to write", default="RUN/predict.zip")] = None,
    force: Annotated[bool, o.flag("--force", "also what is no result of SUPERB")] = False,
) -> None:
    """Write the zip that SUPERB's leaderboard takes."""
    from upstream.suite import submission

    print(f"written: {submission.submit(run_folder, tasks, out, force)}")


@command(superb, "mt4ssl superb compare runs/a runs/b --out runs/a_or_b")
def compare(
    first: Annotated[str, o.argument("RUN", "what --out of `superb run` was")],
    second: Annotated[str, o.argument("OTHER", "likewise, of another model")],
    tasks: o.Tasks = SuiteRequest.tasks,
    out: Annotated[str | None, o.path("DIR", "write compare.json and compare.md there")] = None,
    force: Annotated[bool, o.flag("--force", "also smoke runs")] = False,
    name: o.Name = None,
) -> None:
    """Say in which scores two models differ, and by how much."""
    from analysis.comparing import comparison, telling
    from mt4ssl_core.files import check_out

    check_out(out)
    telling.tell(comparison.compare(first, second, tasks, force, name or ()), out)
