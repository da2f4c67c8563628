"""The pre-training loop: data -> frames -> masks -> context -> targets -> sum -> update.

Everything random is a function of (seed, epoch, utterance) or (seed, update, rank), so a resumed
run continues exactly where its checkpoint was written.
"""

import time
from functools import partial
from pathlib import Path

import torch

from mt4ssl_core import distributed
from mt4ssl_core.config import Config
from mt4ssl_core.distributed import World
from mt4ssl_core.lines import say
from mt4ssl_core.memory import tuned
from mt4ssl_core.model import compiling
from mt4ssl_core.settings.checks import held_out_notes
from mt4ssl_core.training import loggers
from mt4ssl_core.training.journal import Meter
from mt4ssl_core.training.loaders import Numbered, endless, next_batches, open_data
from mt4ssl_core.training.online_probe import OnlineProbe
from mt4ssl_core.training.run import (
    STEP_METRICS,
    Run,
    after_update,
    closing_records,
    open_records,
    survey,
    validate_and_save,
    validation_is_due,
)
from mt4ssl_core.training.starting import begin, sole_run
from mt4ssl_core.training.state import Training
from mt4ssl_core.training.step import (
    add_padding,
    descend,
    losses_of,
    micro_batch_context,
    seed_dropout,
    wrap,
)
from mt4ssl_core.training.stopping import stop_requests
from mt4ssl_core.training.validation import validate

NOTHING = "no frame was hidden; raise masking.prob, or data.min_seconds"
ALONE = (
    "run.parallel=fsdp: one process has nobody to share the model with, so it keeps all of it; "
    "start several with torchrun --nproc-per-node"
)
UNSEEN = (
    "run.parallel=fsdp: validations measure losses alone; no process can look at the model by "
    "itself, so effective rank, uniformity and how classes stand apart are not logged"
)


def pretrain(cfg: Config, resume_from: str | None = None) -> Path:
    """Pre-train as ``cfg`` says, resuming when ``run.out`` holds a checkpoint.

    ``resume_from`` names the checkpoint in ``run.out`` to go on from, instead of last.pt.

    Returns:
        The path of the last checkpoint.

    Raises:
        ValueError: bad input, a run of another model in ``run.out``, one that is going on there, or
            other files; a damaged checkpoint, too much audio that cannot be used, NaN, or a
            collapsed teacher.
        OSError: a file cannot be written, or another process of this run cannot be reached.
    """
    loggers.check(cfg.run.loggers)
    run, out = cfg.run, Path(cfg.run.out)
    together = distributed.joined(run.device, run.out, run.timeout)
    with together as world, sole_run(out, world), tuned(world.device):
        return _pretrain(cfg, world, resume_from)


def _pretrain(cfg: Config, world: World, resume_from: str | None) -> Path:
    out, training = Path(cfg.run.out), Training(cfg, world)
    saver, notes = begin(training, out, resume_from)
    if compiling.wanted(cfg.run.compile, world.device):
        compiling.compile_blocks(training.model)
    if cfg.run.parallel == "fsdp":
        if world.size > 1:
            training.shard()
        notes.append(UNSEEN if world.size > 1 else ALONE)
    train, valid, amounts, left_out = open_data(cfg, training.model, world)
    progress = training.progress
    notes += training.meet_data(train.fingerprint, valid.fingerprint if valid else None)
    notes.append(f"{amounts['train_hours']:.2f} h used, {amounts['held_out_hours']:.2f} h held out")
    notes += [*amounts["not_looked_at"], *held_out_notes(cfg.data.train, cfg.data.valid)]
    probe = OnlineProbe(cfg.run.probe, say) if cfg.run.probe else None
    journal, skips = open_records(training, train.seconds, amounts, left_out, notes)
    saver.check = journal.check
    training.model.train()
    batches = endless(train, progress)
    with stop_requests() as requested, closing_records(batches, skips, journal, saver):
        _train(
            Run(
                training,
                wrap(training.model, world),
                batches,
                valid,
                journal,
                Meter(world.device),
                saver,
                skips,
                requested,
                partial(validate, probe=probe),
                STEP_METRICS,
                NOTHING,
                list(training.model.each_target()),
            )
        )
    return saver.last


def _train(run: Run) -> None:
    """Updates until there are enough, or a signal or an error stops them."""
    training, progress = run.training, run.training.progress
    cfg = training.cfg
    if progress.validated != progress.update and validation_is_due(run):  # killed meanwhile
        validate_and_save(run)
    started = time.perf_counter()
    while progress.update < cfg.optim.max_updates:
        micro, error = next_batches(run.batches, cfg.optim.accumulate)
        places = [batch.places for batch, _ in micro if batch.places]
        hidden = survey(run, micro, float(sum(len(found.hidden) for found in places)), error)
        if hidden is None:
            continue
        stopping = update(run, micro, hidden)
        progress.update += 1
        progress.consume(micro[-1][0].epoch, micro[-1][1])
        run.skips.keep(progress)
        progress.wall_hours += (time.perf_counter() - started) / 3600
        after_update(run, stopping)
        started = time.perf_counter()


def update(run: Run, micro: list[Numbered], count: float) -> bool:
    """One update from this process's micro-batches; True when any process was asked to stop.

    ``count``: hidden frames of all micro-batches of all processes.
    """
    training, wrapped, meter = run.training, run.wrapped, run.meter
    cfg, world, model = training.cfg, training.world, training.model
    step = training.progress.update
    seed_dropout(cfg.run.seed, step, world.rank)
    rates = training.optimizer.prepare(step)
    training.optimizer.zero_grad()
    summed = torch.zeros((), device=world.device)
    for i, (batch, _) in enumerate(micro):
        for target in model.each_target():
            target.before_micro_batch(model.encoder, step, first=i == 0)
        with micro_batch_context(wrapped, last=i == len(micro) - 1):
            losses = losses_of(wrapped, batch.to(world.device), cfg, world, step)
            total = torch.stack([loss.total for loss in losses]).sum()
            training.scaler.scale(total * (world.size / count)).backward()
        summed += total.detach()
        meter.add_losses(losses)
        if batch.mask is not None:
            add_padding(run, batch, batch.mask)
    parts = {item.name: item.total for item in losses}
    return descend(run, micro, summed, count, rates, parts)
