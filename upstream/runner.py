"""s3prl's runner with machine-readable results, started from Python or a command line.

Importing this module patches and imports s3prl, which takes some seconds.
"""

import contextlib
import shutil
import sys
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

import upstream
from upstream import (
    command,
    compat,
    data_order,
    experiment,
    memory,
    overrides,
    processes,
    results,
    scores,
    states,
    tasks,
)
from upstream.states import best_checkpoint

upstream.register()

from s3prl import run_downstream as s3prl_command  # noqa: E402
from s3prl.downstream import runner as s3prl_runner  # noqa: E402

# s3prl calls it at every step; it still works
warnings.filterwarnings("ignore", r"`torch\.cuda\.amp\.(autocast|GradScaler)", FutureWarning)

s3prl_get_args = s3prl_command.get_downstream_args


class Runner(s3prl_runner.Runner):
    """s3prl's Runner that keeps what its task reports, and takes up a training exactly.

    ``records`` is filled by `evaluate` (``-m evaluate``) and written to the experiment's
    results.json; what is reported while training goes to evaluations.jsonl.
    """

    def __init__(
        self,
        args: Any,
        config: dict[str, Any],
        reuse_features: float = 0.0,
        stage: str = tasks.TEST,
    ) -> None:
        self.records: list[dict[str, Any]] = []
        self.stage = stage
        self._reported: dict[str, float] = {}  # by the evaluation that is under way
        memory.SHARED.limit = int(reuse_features * 2**30)
        self.train_seconds: float | None = None
        self._epoch: data_order.Batches | None = None  # of training
        self._unlogged: dict[str, list[Any]] = {}  # s3prl's records since the last log step
        super().__init__(args, config)

    def _get_upstream(self) -> Any:
        entry = super()._get_upstream()
        if memory.SHARED.limit and entry.trainable:
            raise ValueError("--reuse-features is for a frozen upstream; leave it or -f out")
        if memory.SHARED.limit:
            entry.model = memory.Remembering(entry.model, self._identity())
        return entry

    def _identity(self) -> str:
        """Everything that decides an utterance's features, the upstream's name first."""
        args, fingerprint = self.args, results.fingerprint_of
        config = args.upstream_model_config  # -g: a file, for some a name
        parts = [args.upstream, fingerprint(args.upstream_ckpt), config, fingerprint(config)]
        return " ".join(map(str, [*parts, args.upstream_feature_selection]))

    def _get_downstream(self) -> Any:
        entry = super()._get_downstream()
        report, load = entry.model.log_records, entry.model.get_dataloader

        def log_records(
            split: str, records: Any, logger: Any, global_step: int, **kwargs: Any
        ) -> Any:
            scalars = results.Scalars(logger, split)
            saved = report(
                split, records=records, logger=scalars, global_step=global_step, **kwargs
            )
            if self.args.mode == "evaluate":
                self._reported |= scalars.values
            else:
                results.log(self.args.expdir, split, global_step, scalars.values)
            if records is self._unlogged:
                self._unlogged = {}
            return saved

        def get_dataloader(split: str, epoch: int | None = None) -> Any:
            if epoch is None:  # s3prl does not give it when it evaluates
                return data_order.Batches(load(split), self.args.seed, training=False)
            return self._batches(load, split, epoch)

        for model in {entry.model, getattr(entry.model, "module", entry.model)}:
            model.log_records, model.get_dataloader = log_records, get_dataloader
        entry.model.register_forward_pre_hook(self._watch, with_kwargs=True)
        return entry

    def _batches(self, load: Any, split: str, epoch: int) -> data_order.Batches:
        """Return the batches of an epoch, of the first one those not yet seen."""
        start = 0 if self._epoch is not None else self.init_ckpt.get(states.POSITION, 0)
        self._epoch = data_order.train_loader(load, split, self.args.seed, epoch, start)
        return self._epoch

    def _watch(self, model: Any, inputs: Any, named: dict[str, Any]) -> None:
        """Keep hold of s3prl's records, and put back those of the run that is gone on with."""
        if model.training:
            self._unlogged = named["records"]
            for key, values in self.init_ckpt.pop(states.RECORDS, {}).items():
                self._unlogged[key] += values

    def _place(self) -> dict[str, Any]:
        """Return what a checkpoint has to hold beside s3prl's own entries."""
        position = self._epoch.position if self._epoch is not None else 0
        return {states.POSITION: position, states.RECORDS: states.plain(self._unlogged)}

    def _get_optimizer(self, models: Any) -> Any:
        optimizer = super()._get_optimizer(models)
        steps = self.config["runner"]["total_steps"] - self.init_ckpt.get("Step", 0)
        processes.end_after(optimizer, steps)
        return optimizer

    def train(self) -> None:
        """Train the head (and with -f the upstream), as s3prl does."""
        started = time.perf_counter()
        if processes.rank() == 0:
            states.remove_halves(self.args.expdir)
            results.forget_after(self.args.expdir, self.init_ckpt.get("Step", 0))
        with states.whole(self._place), contextlib.suppress(processes.Ended):
            super().train()
        self.train_seconds = time.perf_counter() - started

    def evaluate(self, split: str | None = None, logger: Any = None, global_step: int = 0) -> Any:
        """Evaluate a split; outside training, also write results.json."""
        started = time.perf_counter()
        with _without_cuda(str(self.args.device)), processes.alone(self.all_entries):
            saved = super().evaluate(split, logger, global_step)
        if self.args.mode == "evaluate":
            self._keep_results(started)
        return saved

    def _keep_results(self, started: float) -> None:
        args, config, split = self.args, self.config, self.args.evaluate_split
        code = (config.get("superb") or {}).get("code", args.downstream)
        values = scores.score(code, args.expdir, config, split, self._reported)
        step = self.init_ckpt.get("Step")
        self.records = results.records(args, config, split, step, values, self.stage)
        for record in self.records:
            record["seconds"] = round(time.perf_counter() - started, 3)
            record["train_seconds"] = None
        results.write(args.expdir, self.records)


@contextlib.contextmanager
def _without_cuda(device: str) -> Iterator[None]:
    """Hide the GPU from s3prl's evaluation on a CPU: it would ask CUDA for the device "cpu"."""
    seen = torch.cuda.is_available
    if not device.startswith("cuda"):
        torch.cuda.is_available = lambda: False
    try:
        yield
    finally:
        torch.cuda.is_available = seen


def run(
    task: str,
    upstream: str,
    expdir: str | Path,
    *,
    ckpt: str | Path | None = None,
    root: str | Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    seed: int = 1337,
    device: str | None = None,
    resume: bool = False,
    reuse_features: float = 0.0,
    stages: Iterable[str] | None = None,
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
        reuse_features: GB of memory for the features of a frozen upstream (see `memory`).
        resume: go on from the newest checkpoint in ``expdir``, if any, exactly where it was.
        stages: names of the evaluations to do afterwards; None for all of the task that are not
            optional.

    Raises:
        ValueError: as the command line's errors.
    """
    argv = ["--mode", "train", "--task", task, "--upstream", upstream]
    argv += ["--expdir", str(expdir), "--seed", str(seed)]
    for flag, value in (("--upstream_ckpt", ckpt), ("--root", root), ("--device", device)):
        argv += [flag, str(value)] if value is not None else []
    argv += ["--reuse-features", str(reuse_features)]
    argv += ["--override", _render(overrides)] if overrides else []
    named = None if stages is None else ",".join(stages)
    argv += [] if named == "" else ["--then-test"]
    argv += ["--stages", named] if named else []
    return launch(command.resolve(argv + (["--auto_resume"] if resume else [])))


def launch(asked: command.Command) -> list[dict[str, Any]]:
    """Do what a resolved command line asks; return the records of what was evaluated.

    Raises:
        ValueError: as the command line's errors.
    """
    if not processes.is_first() and asked.mode != "train":
        return []
    started = time.time()
    runner = _s3prl(asked)
    processes.part()
    if not asked.then_test or not processes.is_first():
        return runner.records
    fresh = None if runner.init_ckpt else started
    best = best_checkpoint(runner.args.expdir, newer_than=fresh)
    records: list[dict[str, Any]] = []
    for stage in tasks.stages(runner.config.get("superb") or {}, asked.stages):
        argv = ["--mode", "evaluate", "--past_exp", str(best), "--device", str(runner.args.device)]
        argv += ["--evaluate_split", stage["split"]]
        argv += ["--override", _render(stage["override"])] if stage.get("override") else []
        named = command.Command(argv, reuse_features=asked.reuse_features, stage=stage["name"])
        records += _s3prl(named).records
    for record in records:
        record["train_seconds"] = round(runner.train_seconds or 0.0, 3)
    results.write(runner.args.expdir, records)
    return records


def _s3prl(asked: command.Command) -> Runner:
    """Call s3prl's own command with our runner, our -o and our checks; return its runner."""
    made: list[Runner] = []
    existed = asked.expdir is None or asked.expdir.exists()
    found: dict[str, Any] = {}  # by the check, for what comes after it

    def check() -> tuple[Any, dict[str, Any], list[str]]:
        args, config, backup_files = _checked_args()
        found["identity"] = experiment.check(args, config)
        found["local_rank"] = processes.join(args.device) if args.mode == "train" else None
        return args, config, backup_files

    def make(args: Any, config: dict[str, Any]) -> Runner:
        args.local_rank = found["local_rank"]
        made.append(Runner(args, config, asked.reuse_features, asked.stage))
        experiment.record(args, found["identity"])
        return made[0]

    ours = {"Runner": make, "override": overrides.override, "get_downstream_args": check}
    before, argv = {name: getattr(s3prl_command, name) for name in ours}, sys.argv
    try:
        vars(s3prl_command).update(ours)
        sys.argv = ["run_downstream.py", *asked.argv]
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
    args, config, backup_files = s3prl_get_args()
    args.expdir = str(Path(args.expdir).absolute())
    command.check_upstream(args)
    tasks.check_corpus(config)
    steps = config["runner"]
    if args.mode == "train" and steps["total_steps"] < (
        first := min(steps["eval_step"], steps["save_step"])
    ):
        raise ValueError(
            f"runner.total_steps is {steps['total_steps']}, but the first checkpoint is written at "
            f"step {first}; "
            "lower runner.eval_step and runner.save_step"
        )
    compat.install_for(args.downstream)
    return args, config, backup_files


def _remove_empty(expdir: Path) -> None:
    """Remove the folder that s3prl made for an experiment that never began."""
    if all(path.name.startswith(("args_", "config_")) for path in expdir.glob("*")):
        shutil.rmtree(expdir, ignore_errors=True)


def _render(changes: Mapping[str, Any]) -> str:
    return overrides.render(dict(changes))
