"""s3prl's experiments with machine-readable results, started from Python or a command line.

Importing this module patches and imports s3prl, which takes some seconds.
"""

import os
import shutil
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mt4ssl_core import bars, distributed
from upstream import compat
from upstream.door import overrides, processes, s3prl_names, tasks
from upstream.door.stand_in import StandIn
from upstream.heads import command, experiment, results, states
from upstream.heads.s3prl_runner import Runner  # first: it patches s3prl
from upstream.heads.task_request import NONE, SEED, TaskRequest
from upstream.store.options import StoreOptions

from s3prl import run_downstream as s3prl_command  # isort: skip

s3prl_get_args = s3prl_command.get_downstream_args


def run(
    task: str,
    upstream: str,
    expdir: str | Path,
    *,
    ckpt: str | Path | None = None,
    root: str | Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    seed: int = SEED,
    device: str | None = None,
    resume: bool = False,
    store: StoreOptions | None = None,
    stages: Iterable[str] | None = None,
    feature_transform: str | None = None,
) -> list[dict[str, Any]]:
    """Train a task's head on an upstream, test the best head, and return the result records.

    Args:
        task: a name in downstream_configs, such as "ks".
        upstream: a name on s3prl's hub, such as "mt4ssl" or "fbank".
        expdir: folder of the experiment; results.json is written there.
        ckpt: the upstream's checkpoint (-k).
        root: the folder that holds the corpus.
        overrides: dotted config keys and their values, such as ``{"runner.total_steps": 100}``.
        seed: of the head's weights and the data order.
        device: "cpu" or "cuda"; the GPU if there is one.
        store: which features of a frozen upstream are kept, and where; None: as by default.
        resume: go on from the newest checkpoint in ``expdir``, if any, exactly where it was.
        stages: names of the evaluations to do afterwards; None for all of the task that are not
            optional.
        feature_transform: "standardize" or "whiten" the layers (see `feature_transform`); None: as
            the head has it that is gone on with.

    Raises:
        ValueError: as the command line's errors.
    """
    named = None if stages is None else list(stages)
    request = TaskRequest(
        mode="train",
        task=task,
        root=None if root is None else str(root),
        upstream=upstream,
        upstream_ckpt=None if ckpt is None else str(ckpt),
        expdir=str(expdir),
        auto_resume=resume,
        seed=seed,
        device=device,
        changes=overrides or {},
        then_test=named is None or bool(named),
        stages=named or None,
        store=store or StoreOptions(),
        feature_transform=feature_transform,
    )
    return launch(command.settle(request))


def launch(asked: command.Command) -> list[dict[str, Any]]:
    """Do what a resolved command line asks; return the records of what was evaluated.

    Raises:
        ValueError: as the command line's errors.
    """
    if not processes.is_first() and asked.mode != "train":
        return []
    started = time.time()
    with distributed.leaving(str(asked.expdir or "this experiment")):
        runner = _s3prl(asked)
        processes.part(runner.all_entries)
    if not asked.then_test or not processes.is_first():
        return runner.records
    fresh = None if runner.init_ckpt else started
    best = states.best_checkpoint(runner.args.expdir, newer_than=fresh)
    records: list[dict[str, Any]] = []
    for stage in tasks.stages(runner.config.get("superb") or {}, asked.stages):
        argv = ["--mode", "evaluate", "--past_exp", str(best), "--device", str(runner.args.device)]
        argv += ["--evaluate_split", stage["split"]]
        argv += ["--override", overrides.render(stage["override"])] if stage.get("override") else []
        named = command.Command(argv, store=asked.store, stage=stage["name"])
        records += _s3prl(named).records
    for record in records:
        record["train_seconds"] = round(runner.train_seconds or 0.0, 3)
    results.write(runner.args.expdir, records)
    return records


def build_runner(asked: command.Command) -> Runner:
    """Return the runner of a resolved ``-m evaluate``, which has not evaluated anything.

    Raises:
        ValueError: as the command line's errors.
    """
    return _s3prl(asked, act=False)


def _s3prl(asked: command.Command, act: bool = True) -> Runner:
    """Call s3prl's own command with our runner, our -o and our checks; return its runner."""
    made: list[Runner] = []
    existed = asked.expdir is None or asked.expdir.exists()
    found: dict[str, Any] = {}  # by the check, for what comes after it

    def check() -> tuple[Any, dict[str, Any], list[str]]:
        args, config, backup_files = _checked_args()
        if not args.past_exp:
            args.feature_transform = asked.feature_transform or NONE
        found["identity"] = experiment.check(args, config)
        found["local_rank"] = processes.join(args.device) if args.mode == "train" else None
        return args, config, backup_files

    def make(args: Any, config: dict[str, Any]) -> Runner:
        args.local_rank = found["local_rank"]
        made.append(Runner(args, config, asked.store, asked.stage))
        if not act:
            setattr(made[0], args.mode, lambda: None)
        experiment.record(args, found["identity"])
        return made[0]

    ours = {"Runner": make, "override": overrides.override, "get_downstream_args": check}
    before, argv = {name: getattr(s3prl_command, name) for name in ours}, sys.argv
    try:
        vars(s3prl_command).update(ours)
        sys.argv = ["run_downstream.py", *asked.argv]
        with bars.printing():
            s3prl_command.main()
    except BaseException:
        if not made and not existed and asked.expdir is not None:
            _remove_empty(asked.expdir)
        raise
    finally:
        vars(s3prl_command).update(before)
        sys.argv = argv
    return made[0]


def _checked_args() -> tuple[Any, dict[str, Any], list[str]]:
    """s3prl's arguments and config, once we know that the experiment can be done."""
    made = s3prl_command.os
    s3prl_command.os = StandIn(os, makedirs=_not_yet)
    try:
        args, config, backup_files = s3prl_get_args()
    finally:
        s3prl_command.os = made
    s3prl_names.check(args, config)
    args.expdir = str(Path(args.expdir).absolute())
    command.resolve_upstream(args)
    tasks.check_corpus(config)
    steps = config["runner"]
    if args.mode == "train":
        tasks.check_steps(config)
    if args.mode == "train" and steps["total_steps"] < (
        first := min(steps["eval_step"], steps["save_step"])
    ):
        raise ValueError(
            f"runner.total_steps is {steps['total_steps']}, but the first checkpoint is written at "
            f"step {first}; "
            "lower runner.eval_step and runner.save_step"
        )
    compat.install_for(args.downstream)
    Path(args.expdir).mkdir(parents=True, exist_ok=True)
    return args, config, backup_files


def _not_yet(path: str, exist_ok: bool = False) -> None:
    """In place of os.makedirs: s3prl would make the folder that a stored head names, too."""


def _remove_empty(expdir: Path) -> None:
    """Remove the folder that s3prl made for an experiment that never began."""
    if all(path.name.startswith(("args_", "config_")) for path in expdir.glob("*")):
        shutil.rmtree(expdir, ignore_errors=True)
