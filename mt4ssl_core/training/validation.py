"""Losses on held-out audio, with masks and crops that never change."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from mt4ssl_core.bars import Bar
from mt4ssl_core.data.batch import Batch, Skipped
from mt4ssl_core.data.loader import PretrainLoader
from mt4ssl_core.distributed import World
from mt4ssl_core.training.journal import Meter
from mt4ssl_core.training.loaders import stop_all
from mt4ssl_core.training.monitors import Monitors
from mt4ssl_core.training.online_probe import OnlineProbe
from mt4ssl_core.training.resuming import Resumable
from mt4ssl_core.training.run import Run
from mt4ssl_core.training.skipping import named
from mt4ssl_core.training.step import autocast, losses_of


@dataclass
class Measured:
    """What a pass over the held-out audio gave; alike on all processes.

    values: means of what targets report. skipped: what could not be used. read: seconds that could.
    monitors: of a sample with nothing hidden (`Monitors`), and of `run.probe`; on the first process
        alone, which cannot look at a sharded model.
    """

    values: dict[str, float]
    skipped: list[Skipped]
    read: float
    monitors: dict[str, float]


def validate(run: Run, probe: OnlineProbe | None = None) -> bool | None:
    """Measure, log, and say whether the model is the best so far; None when a signal came first.

    The best is that of the first target in the config: a teacher's answers change as it learns,
    so its losses of different updates cannot be compared. Of audio that cannot be used as usual
    (see data.max_skipped) it is never the best.
    """
    training, loader, journal, files = run.training, run.valid, run.journal, run.skips.files
    assert loader is not None
    model, progress = training.model, training.progress
    model.eval()
    try:
        measured = _measure(training, loader, run.requested)
        if measured is not None and probe is not None and training.world.is_main:
            measured.monitors |= probe.measure(model.encoder)
    finally:
        model.train()
    if measured is None:
        return None
    progress.validated = progress.update
    files.add(named(measured.skipped), progress.update)
    share = lost_share(measured.skipped, measured.read)
    weights = {target.name: target.cfg.weight for target in run.targets}
    values = measured.values if measured.read else {}
    losses = {name: values.get(f"{name}/loss") for name in weights}
    line = {f"valid/{key}": value for key, value in (values | measured.monitors).items()}
    if None not in losses.values():
        total = sum(weight * (losses[name] or 0.0) for name, weight in weights.items())
        line = {"valid/loss": total} | line
    line |= {"valid/skipped": len(measured.skipped), "valid/skipped_share": share}
    journal.line({"update": progress.update, **line})
    return is_best(run, losses[next(iter(weights))], measured.skipped, share)


def lost_share(skipped: list[Skipped], read: float) -> float:
    """Return the share of the held-out audio that could not be used."""
    lost = sum(item.seconds for item in skipped)
    return lost / (lost + read) if skipped else 0.0


def is_best(
    run: Run, value: float | None, skipped: list[Skipped], share: float, second: float = 0.0
) -> bool:
    """Whether ``value`` is the lowest so far, which it then becomes; ``second`` decides between
    equals. Never where there is none or where more than one utterance and data.max_skipped of the
    audio could not be used.
    """
    progress, count = run.training.progress, len(skipped)
    if value is None or (count > 1 and share > run.training.cfg.data.max_skipped):
        assert run.valid is not None
        named_first = f", first {skipped[0].name}: {skipped[0].reason}" if skipped else ""
        run.journal.say(
            f"update {progress.update}: {count} of {len(run.valid.cuts)} held-out utterances could "
            f"not be used ({share:.1%} of their audio{named_first}); best.pt is left as it is. All "
            f"are named in {run.skips.files.path}"
        )
        return False
    older = -math.inf if progress.second is None else progress.second  # of files without it
    if progress.best is not None and (value, second) >= (progress.best, older):
        return False
    progress.best, progress.second = value, second
    return True


def held_out_batches(
    world: World, loader: PretrainLoader, requested: list[int]
) -> Iterator[Batch | None]:
    """Yield this process's held-out batches; None, and no more, when any was asked to stop.

    Raises:
        ValueError: a process met an error; on all of them.
    """
    batches, number = loader.batches(epoch=0), loader.num_batches(0)
    for _ in Bar("validation batch", number, show=world.is_main).over(range(number)):
        error, batch = None, None
        try:
            batch = next(batches)
        except Exception as problem:  # the others have to hear of it first
            error = problem
        signs = torch.tensor([float(error is not None), float(len(requested))])
        failed, stop = world.sum(signs).tolist()
        if failed:
            stop_all(world, error)
        yield None if stop else batch
        if stop:
            return  # and `batches` ends its workers


@torch.no_grad()
def _measure(training: Resumable, loader: PretrainLoader, requested: list[int]) -> Measured | None:
    """One pass over the held-out audio; None when any process was asked to stop."""
    cfg, world, model = training.cfg, training.world, training.model
    meter, skipped, read, monitors = Meter(world.device), [], 0.0, Monitors()
    for batch in held_out_batches(world, loader, requested):
        if batch is None:
            return None
        skipped += batch.skipped
        read += batch.seconds
        batch = batch.to(world.device)
        losses = losses_of(model, batch, cfg, world, training.progress.update)
        with autocast(cfg, world):
            if world.is_main and monitors.lacking and batch.ids and not training.sharded:
                monitors.add(model.encoder(batch.waves, batch.lengths), model.each_target())
        meter.add_losses(losses)
    values = meter.read(world, list(model.each_target()), [])
    met = world.gather((skipped, read))
    everything = [item for part, _ in met for item in part]
    return Measured(values, everything, sum(seconds for _, seconds in met), monitors.read())
