"""What a run does around its updates: look at batches, log, validate, save, leave."""

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mt4ssl_core import config
from mt4ssl_core.data.loader import PretrainLoader
from mt4ssl_core.files import write_text
from mt4ssl_core.model.targets import Target
from mt4ssl_core.training.journal import Journal, Meter
from mt4ssl_core.training.loaders import Numbered, stop_all
from mt4ssl_core.training.resuming import Resumable
from mt4ssl_core.training.saving import Saver
from mt4ssl_core.training.skipping import BATCHES, SkipList, Skips

_IDLE = 1000
STEP_METRICS = ("loss", "grad_norm", "lr", "padding", "masked_share", "audio_seconds", "overflows")


@dataclass
class Run:
    """What a loop works with; all that is resumed is in ``training``.

    validate: measures held-out audio, logs it, and says whether the model is the best so far; None
    when a signal came first. metrics: that are logged, beside those of the ``targets``. nothing:
    what batches lacked from which there is nothing to learn, and the remedy.
    """

    training: Resumable
    wrapped: nn.Module
    batches: Generator[Numbered]
    valid: PretrainLoader | None
    journal: Journal
    meter: Meter
    saver: Saver
    skips: Skips
    requested: list[int]  # signals to stop
    validate: Callable[["Run"], bool | None]
    metrics: Sequence[str]
    nothing: str
    targets: Sequence[Target] = ()
    idle: int = 0  # batches in a row that had nothing to learn from


def open_records(
    training: Resumable,
    seconds: float,
    amounts: Mapping[str, Any],
    left_out: Sequence[tuple[str, str]],
    notes: Sequence[str],
) -> tuple[Journal, Skips]:
    """Open what a run writes beside its checkpoints: settings, log, what could not be used.

    ``seconds``: of an epoch. ``amounts``: the first line of a log. ``notes``: what to say.
    """
    cfg, world, progress = training.cfg, training.world, training.progress
    out, last = Path(cfg.run.out), cfg.optim.max_updates
    files = SkipList(out, world.is_main)
    world.on_main(lambda: write_text(out / "config.yaml", config.to_yaml(cfg)))
    world.on_main(lambda: files.add(left_out, 0))
    skips = Skips(files, world, cfg.data.max_skipped, seconds)
    skips.go_on(progress)
    journal = Journal(out, world, progress, last, cfg.run.loggers, config.to_dict(cfg))
    if progress.update == 0:
        journal.line({"update": 0, **amounts})
    for note in notes:
        journal.say(note)
    if progress.update >= last:
        journal.say(f"optim.max_updates = {last} is reached; raise it to go on")
    return journal, skips


@contextmanager
def closing_records(
    batches: Generator[Numbered], skips: Skips, journal: Journal, saver: Saver
) -> Iterator[None]:
    """Close all of it when the body ends, however it does, and count what was skipped.

    What is being written is ended first: until then the folder belongs to this run.

    Raises:
        OSError: the last checkpoint cannot be written.
    """

    def end_writing() -> None:
        if saver.is_writing:
            journal.say(f"{saver.last} is being written; this ends when it is there")
        unsaid = saver.close()
        if unsaid:
            journal.say(unsaid)

    def say_skipped() -> None:
        summary = skips.summary()
        if summary:
            journal.say(summary)

    with ExitStack() as ends:  # the last one first, and all of them whatever one raises
        for end in (journal.close, say_skipped, batches.close, end_writing):
            ends.callback(end)
        yield
        saver.wait()


def survey(run: Run, micro: list[Numbered], own: float, error: Exception | None) -> float | None:
    """What there is to learn from in the batches of all processes, ``own`` in this one's; None if
    there is nothing.

    Raises:
        ValueError: too much audio could not be used, or a process met an error.
        OSError: the checkpoint that was begun cannot be written.
    """
    training, skips, world = run.training, run.skips, run.training.world
    batches = [batch for batch, _ in micro]
    skipped, read = skips.meet(batches)
    signs = [own, read, skipped, skips.row >= BATCHES, error is not None, len(run.requested)]
    signs.append(run.saver.is_writing)
    facts = world.sum(torch.tensor(signs, dtype=torch.float64))  # of the CPU: a GPU is busy
    amount, seconds, some, in_a_row, failed, stop, writing = facts.tolist()
    if not writing:
        run.saver.wait()
    if failed:
        run.journal.say(_save_early(run))
        stop_all(world, error)
    skips.count_all(batches, seconds, some > 0, training.progress.update + 1)
    problem = skips.too_much(in_a_row > 0)
    if problem:
        training.progress.skipped_files, training.progress.skipped_seconds = 0, 0.0  # it was said
        raise ValueError(f"stopped: {problem}. {_save_early(run)}")
    if amount or (seconds and any(target.sees_visible for target in run.targets)):
        run.idle = 0
        return max(amount, 1.0)
    run.idle += 1
    if stop:
        _leave(run)
    if run.idle > _IDLE:
        raise ValueError(f"nothing to learn in {_IDLE} batches in a row: {run.nothing}")
    return None


def _save_early(run: Run) -> str:
    """Save what the run has learned before an error ends it; returns where it is."""
    progress = run.training.progress
    if run.skips.line["skipped"]:
        run.journal.line({"update": progress.update, **run.skips.logged()})
    if not progress.update:
        return "No update was made, so there is no checkpoint"
    run.saver.save(at_once=True)
    return f"{run.saver.last} holds update {progress.update}"


def after_update(run: Run, stopping: bool) -> None:
    """Log, save and validate when it is time, save first; leave when ``stopping``."""
    training, cfg = run.training, run.training.cfg.run
    number = training.progress.update
    finished = number == training.cfg.optim.max_updates
    run.journal.advance()
    if number % cfg.log_every == 0 or finished or stopping:
        _log(run, more=not stopping and validation_is_due(run))
    keep = _keeps(run)
    if keep or stopping or finished or number % cfg.save_every == 0:
        run.saver.save(keep)
    if stopping:
        _leave(run)
    if validation_is_due(run):
        with run.meter.paused():
            validate_and_save(run)


def _keeps(run: Run) -> bool:
    every = run.training.cfg.run.keep_every
    return every > 0 and run.training.progress.update % every == 0


def validation_is_due(run: Run) -> bool:
    """Whether held-out audio is measured after the update that was just made."""
    number, cfg = run.training.progress.update, run.training.cfg
    every = cfg.run.validate_every
    if run.valid is None or not every or not number:
        return False
    return number % every == 0 or number == cfg.optim.max_updates


def validate_and_save(run: Run) -> None:
    """Validate, then save what came out; leave when a signal came meanwhile."""
    best = run.validate(run)
    if best is None:
        _leave(run)
    run.saver.save(_keeps(run), bool(best))


def _leave(run: Run) -> None:
    """Save and end the process as its signal asks.

    Raises:
        SystemExit: always.
    """
    run.journal.say(f"stopped by a signal; {_save_early(run)}")
    first = max(part[0] for part in run.training.world.gather(run.requested) if part)
    raise SystemExit(128 + first)


def _log(run: Run, more: bool) -> None:
    training, meter = run.training, run.meter
    progress, world = training.progress, training.world
    values = meter.read(world, run.targets, run.metrics)
    elapsed = time.perf_counter() - meter.start
    updates = meter.total("lr weight")
    values["audio_seconds_per_s"] = values.pop("audio_seconds") * updates / elapsed
    values["updates_per_s"] = updates / elapsed
    overflows = round(values.pop("overflows") * updates)
    if training.scaler.is_enabled():
        values["overflows"] = overflows
    where = {"update": progress.update, "epoch": progress.epoch}
    spent = {"audio_hours": progress.audio_hours, "wall_hours": progress.wall_hours}
    run.journal.line({**where, **spent, **run.skips.logged(), **values}, more)
    meter.reset()
    for target in run.targets:
        problem = target.check(values, progress.update)
        if problem:
            raise ValueError(f"stopped at update {progress.update}: {problem}")
