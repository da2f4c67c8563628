"""s3prl's runner, which keeps what a task reports and takes up a training exactly.

Importing this module patches and imports s3prl, which takes some seconds.
"""

import contextlib
import pickle
import re
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

import upstream
from mt4ssl_core import bars
from mt4ssl_core.files import remove_leftovers, writing
from mt4ssl_core.lines import say
from mt4ssl_core.memory import keep_memory
from mt4ssl_core.threads import cores
from upstream import own_task, scores
from upstream.door import processes, tasks
from upstream.heads import (
    blank_share,
    data_order,
    experiment,
    fitted_transform,
    labels,
    results,
    states,
)
from upstream.store import choice, lazy_audio, options, storage
from upstream.store.options import StoreOptions

upstream.register()

from s3prl.downstream import runner as s3prl_runner  # noqa: E402

lazy_audio.let_utterances_pass(s3prl_runner)

# s3prl calls it at every step; it still works
warnings.filterwarnings("ignore", r"`torch\.cuda\.amp\.(autocast|GradScaler)", FutureWarning)
# most of its loaders ask for it, whatever the device
warnings.filterwarnings("ignore", r"'pin_memory' argument is set as true but no accelerator")


class Runner(s3prl_runner.Runner):
    """s3prl's Runner that keeps what its task reports, and takes up a training exactly.

    ``records`` is filled by `evaluate` (``-m evaluate``) and written to the experiment's
    results.json; what is reported while training goes to evaluations.jsonl.
    """

    def __init__(
        self,
        args: Any,
        config: dict[str, Any],
        store: StoreOptions | None = None,
        stage: str = tasks.TEST,
    ) -> None:
        self.records: list[dict[str, Any]] = []
        self.stage = stage
        self._reported: dict[str, float] = {}  # by the evaluation that is under way
        self._blanks: dict[str, float] = {}  # of its head, if that is trained with CTC
        self.storage: storage.Storage | None = None
        self.train_seconds: float | None = None
        self._epoch: data_order.Batches | None = None  # of training
        self._unlogged: dict[str, list[Any]] = {}  # s3prl's records since the last log step
        self._store = store or StoreOptions()
        self._choice: choice.Choice | None = None
        super().__init__(args, config)
        if str(args.device) == "cpu":
            keep_memory()  # a batch of stored frames takes three times as long otherwise
        self.storage = storage.attach(self, self._store)
        if self.storage is not None and self._store.mode == options.AUTO:
            self._choice = choice.kept(experiment.folders(args))
        self.transform = fitted_transform.attach(self)

    def _get_upstream(self) -> Any:
        args = self.args
        what = f"{args.upstream_ckpt or 'its checkpoint'}: not one of -u {args.upstream}"
        with set_up(what, "give another -k"):
            return super()._get_upstream()

    def _get_featurizer(self) -> Any:
        what = f"{self.args.init_ckpt or self.args.upstream}: its layers cannot be summed as asked"
        with set_up(what, "correct -s and -l, or give another head"):
            try:
                entry = super()._get_featurizer()
            except ValueError as error:
                if str(error):
                    raise
                raise self._no_selection() from None
            taken = processes.bare(entry).feature_selection
            if taken != self.args.upstream_feature_selection:  # s3prl takes another one instead
                raise self._no_selection()
            return entry

    def _no_selection(self) -> ValueError:
        """The error about a -s that the upstream does not have."""
        args = self.args
        with torch.no_grad():
            found = self.upstream.model([torch.zeros(16000, device=args.device)])
        names = [key for key in found if not key.startswith("_") and "/" not in key]
        return ValueError(
            f"-s {args.upstream_feature_selection}: -u {args.upstream} has no such features; give "
            f"one of {', '.join(names)}"
        )

    def _get_downstream(self) -> Any:
        stores, args = self._store.mode != options.OFF, self.args
        what = f"{args.init_ckpt or args.config}: {args.downstream} does not begin with this config"
        own_task.register(args.downstream)
        remedy = "compare it with downstream_configs/, and check the corpus: mt4ssl superb prepare"
        with (
            set_up(what, remedy),
            lazy_audio.preloading() if stores else contextlib.nullcontext(),
        ):
            entry = super()._get_downstream()
        report, load = entry.model.log_records, entry.model.get_dataloader
        blanks = blank_share.BlankShare.of(processes.bare(entry))

        def log_records(
            split: str, records: Any, logger: Any, global_step: int, **kwargs: Any
        ) -> Any:
            scalars = results.Scalars(logger, split)
            saved = report(
                split, records=records, logger=scalars, global_step=global_step, **kwargs
            )
            shares = blanks.take(records) if blanks else {}
            if self.args.mode == "evaluate":
                self._reported |= scalars.values
                self._blanks = shares
            else:
                results.log(self.args.expdir, split, global_step, scalars.values | shares)
                bars.measured(self._shown(split, scalars.values | shares))
            if blank_share.only_blanks(shares):
                step = global_step or self.init_ckpt.get("Step")
                say(blank_share.advice(split, shares, step), sys.stderr)
            if records is self._unlogged:
                self._unlogged = {}
            return saved

        def get_dataloader(split: str, epoch: int | None = None) -> Any:
            if epoch is None:  # s3prl does not give it when it evaluates
                loader, seed = load(split), self.args.seed
                return data_order.Batches(loader, seed, training=False, reading=self._reading)
            return self._batches(load, split, epoch)

        for model in {entry.model, processes.bare(entry)}:
            model.log_records, model.get_dataloader = log_records, get_dataloader
        entry.model.register_forward_pre_hook(self._watch, with_kwargs=True)
        return entry

    def _shown(self, split: str, values: dict[str, float]) -> dict[str, str]:
        """Return what a progress bar shows of what was reported: the loss, the task's metric."""
        if split == self.config["runner"].get("train_dataloader", "train"):
            return {key: f"{values[key]:.3g}" for key in ("loss",) if key in values}
        metrics = (self.config.get("superb") or {}).get("metrics", [])
        keys = [metric["key"] for metric in metrics[:1] if metric["key"] in values]
        shown = {f"{split} {key}": values[key] for key in keys or list(values)[:1]}
        if blank_share.BLANKS in values:
            shown["blanks"] = values[blank_share.BLANKS]
        return {key: f"{value:.3g}" for key, value in shown.items()}

    def _batches(self, load: Any, split: str, epoch: int) -> data_order.Batches:
        """Return the batches of an epoch, of the first one those not yet seen."""
        start = 0 if self._epoch is not None else self.init_ckpt.get(states.POSITION, 0)
        first = self._epoch is None
        if first:
            self._choose(load, split, epoch)
        self._epoch = data_order.train_loader(
            load, split, self.args.seed, epoch, start, self._reading
        )
        if first and self.storage is not None and self._reading is not None:
            self.storage.announce(self._epoch.loader)
        return self._epoch

    def _choose(self, load: Any, split: str, epoch: int) -> None:
        """Measure whether the store pays, in a training that is long enough and left the choice."""
        runs = self.config["runner"]
        total = runs["total_steps"] * runs.get("gradient_accumulate_steps", 1)
        storage, automatic = self.storage, self._store.mode == options.AUTO
        if storage is None or self._choice or not automatic or total < choice.LEAST:
            return
        trial = data_order.train_loader(load, split, self.args.seed, epoch, 0, storage.reading)
        workers = min(getattr(trial.loader, "num_workers", 0), cores())
        self._choice = processes.from_first(
            lambda: choice.measured(storage.features, trial, total, len(trial), workers)
        )
        if self._choice is not None and processes.is_first():
            choice.keep(self._choice, Path(self.args.expdir))
            say(str(self._choice), sys.stderr)

    @property
    def _reading(self) -> lazy_audio.Reading | None:
        if self.storage is None or (self._choice is not None and not self._choice.used):
            return None
        return self.storage.reading

    def _watch(self, model: Any, inputs: Any, named: dict[str, Any]) -> None:
        """Keep hold of s3prl's records, and put back those of the run that is gone on with."""
        if model.training:
            self._unlogged = named["records"]
            for key, values in self.init_ckpt.pop(states.RECORDS, {}).items():
                self._unlogged[key] += values

    def _place(self) -> dict[str, Any]:
        """Return what a checkpoint has to hold beside s3prl's own entries, to go on and for use."""
        position = self._epoch.position if self._epoch is not None else 0
        return {
            states.POSITION: position,
            states.RECORDS: states.plain_records(self._unlogged),
            states.FINGERPRINT: (experiment.read(self.args.expdir) or {}).get("fingerprint"),
            labels.KEY: labels.of_expert(self.args.downstream, self.downstream.model),
        }

    def _get_optimizer(self, models: Any) -> Any:
        optimizer = super()._get_optimizer(models)
        steps = self.config["runner"]["total_steps"] - self.init_ckpt.get("Step", 0)
        processes.end_after(optimizer, steps)
        return optimizer

    def train(self) -> None:
        """Train the head (and with -f the upstream), as s3prl does."""
        started = time.perf_counter()
        if processes.rank() == 0:
            remove_leftovers(self.args.expdir)
            results.forget_after(self.args.expdir, self.init_ckpt.get("Step", 0))
        with (
            self._named(),
            states.whole_checkpoints(self._place),
            contextlib.suppress(processes.Ended),
        ):
            super().train()
        self.train_seconds = time.perf_counter() - started

    def evaluate(self, split: str | None = None, logger: Any = None, global_step: int = 0) -> Any:
        """Evaluate a split; outside training, also write results.json."""
        started = time.perf_counter()
        with (
            self._named(),
            _without_cuda(str(self.args.device)),
            processes.alone(self.all_entries),
        ):
            saved = super().evaluate(split, logger, global_step)
        if self.args.mode == "evaluate":
            self._keep_results(started)
        return saved

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        """Name the folder that cannot be written, and say when a loader's process was killed."""
        try:
            with writing(self.args.expdir):
                yield
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            raise ChildProcessError(
                f"{self.args.expdir}: a process that reads audio was killed ({error}); perhaps the "
                "memory was full: give fewer (num_workers) with -o, and -a to go on from the last "
                "checkpoint"
            ) from error

    def _keep_results(self, started: float) -> None:
        args, config, split = self.args, self.config, self.args.evaluate_split
        code = (config.get("superb") or {}).get("code", args.downstream)
        values = scores.score(code, args.expdir, config, split, self._reported)
        step = self.init_ckpt.get("Step")
        self.records = results.records(args, config, split, step, values, self.stage)
        for record in self.records:
            record |= self._blanks
            if self.transform is not None:
                record["feature_transform"] = self.transform.describe()
            record["store"] = None if self.storage is None else self.storage.describe()
            record["seconds"] = round(time.perf_counter() - started, 3)
            record["train_seconds"] = None
        results.write(args.expdir, self.records)


@contextlib.contextmanager
def set_up(what: str, remedy: str) -> Iterator[None]:
    """Make what s3prl stumbles over in a foreign checkpoint or config an error that names it.

    Raises ValueError. What says by itself what is wrong (a file, a value, a package) is left.
    """
    try:
        yield
    except (OSError, ValueError, ImportError, MemoryError):
        raise
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        if isinstance(error, pickle.UnpicklingError) and "Weights only" in reason:
            named = re.search(r"GLOBAL (\S+)", str(error))
            reason = (
                f"its pickle names {named[1]}, which could run code; nothing was executed"
                if named
                else "not as torch.save writes it"
            )
        raise ValueError(f"{what} ({reason}); {remedy}") from error


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
