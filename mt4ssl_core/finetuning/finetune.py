"""The fine-tuning loop: speech -> frames -> masks -> logits -> CTC -> update.

The sister of `mt4ssl_core.training.pretrain`: what both do around an update is shared, and here
too everything random is a function of (seed, epoch, utterance) or (seed, update, rank).
"""

import time
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from mt4ssl_core import distributed
from mt4ssl_core.checkpoints.recognisers import vocabulary_of
from mt4ssl_core.data.batch import Batch
from mt4ssl_core.data.masking import channel_mask, span_mask
from mt4ssl_core.distributed import World
from mt4ssl_core.finetuning.speech import (
    Part,
    amounts,
    choose,
    facts,
    find_vocabulary,
    open_loader,
    read_speech,
)
from mt4ssl_core.finetuning.state import Finetuning, first_encoder
from mt4ssl_core.finetuning.validation import validate
from mt4ssl_core.memory import tuned
from mt4ssl_core.model import compiling
from mt4ssl_core.model.ctc import ctc_losses
from mt4ssl_core.model.padding import padding_mask
from mt4ssl_core.recognition.word_scores import jiwer
from mt4ssl_core.settings.checks import held_out_notes
from mt4ssl_core.settings.finetuning import FinetuneConfig
from mt4ssl_core.training import loggers
from mt4ssl_core.training.journal import Meter
from mt4ssl_core.training.loaders import Numbered, endless, next_batches
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
from mt4ssl_core.training.saving import Saver
from mt4ssl_core.training.starting import find_checkpoint, resume, sole_run
from mt4ssl_core.training.step import (
    add_padding,
    autocast,
    descend,
    micro_batch_context,
    seed_dropout,
    wrap,
)
from mt4ssl_core.training.stopping import stop_requests

METRICS = (*STEP_METRICS, "head_lr", "blank_share")
NOTHING = (
    "no utterance could be used; mend the files that skipped.txt names, beside the checkpoints"
)


class Hidden(NamedTuple):
    """What is hidden of a batch: frames (B, T) and channels (B, D), bool; None: nothing is."""

    frames: Tensor | None
    channels: Tensor | None


def finetune(cfg: FinetuneConfig, resume_from: str | None = None) -> Path:
    """Fine-tune as ``cfg`` says, resuming when ``run.out`` holds a checkpoint.

    ``resume_from`` names the checkpoint in ``run.out`` to go on from, instead of last.pt.

    Returns:
        The path of the last checkpoint.

    Raises:
        ValueError: bad input, a run of another model in ``run.out``, one that is going on there, or
            other files; a damaged checkpoint, too much that cannot be used, or NaN.
        OSError: a file cannot be written, or another process of this run cannot be reached.
    """
    loggers.check(cfg.run.loggers)
    jiwer()  # or a run would stop at its first validation
    run, out = cfg.run, Path(cfg.run.out)
    together = distributed.joined(run.device, run.out, run.timeout)
    with together as world, sole_run(out, world), tuned(world.device):
        return _finetune(cfg, world, resume_from)


def _finetune(cfg: FinetuneConfig, world: World, resume_from: str | None) -> Path:
    out = Path(cfg.run.out)
    found = find_checkpoint(Finetuning, out, resume_from)
    parts = read_speech(cfg)
    vocabulary = find_vocabulary(
        cfg, parts, vocabulary_of(found.state, found.path) if found else None
    )
    encoder = first_encoder(cfg, found.state if found else None)
    for part in parts:
        choose(cfg, part, vocabulary, encoder)
    training = Finetuning(cfg, world, encoder, vocabulary)
    if found:
        saver, notes = resume(training, out, found)
    else:
        saver, notes = Saver(training, out), [_origin(cfg)]
    if compiling.wanted(cfg.run.compile, world.device):
        compiling.compile_blocks(training.model)
    loaders = [open_loader(cfg, part, encoder, world) for part in parts]
    names = [part.fingerprint(loader) for part, loader in zip(parts, loaders, strict=True)]
    notes += training.meet_data(names[0], names[1] if len(parts) > 1 else None)
    notes += [*facts(parts, vocabulary), *held_out_notes(parts[0].source, cfg.data.valid)]
    left_out = [pair for part in parts for pair in part.left_out]
    journal, skips = open_records(training, loaders[0].seconds, amounts(parts), left_out, notes)
    saver.check = journal.check
    training.model.train()
    batches = endless(loaders[0], training.progress)
    with stop_requests() as requested, closing_records(batches, skips, journal, saver):
        run = Run(
            training,
            wrap(training.model, world),
            batches,
            loaders[1] if len(parts) > 1 else None,
            journal,
            Meter(world.device),
            saver,
            skips,
            requested,
            lambda run: validate(run, parts[1]),
            METRICS,
            NOTHING,
        )
        _train(run, parts[0])
    return saver.last


def _train(run: Run, train: Part) -> None:
    """Updates until there are enough, or a signal or an error stops them."""
    training, progress = run.training, run.training.progress
    cfg: FinetuneConfig = training.cfg
    if progress.validated != progress.update and validation_is_due(run):  # killed meanwhile
        validate_and_save(run)
    started = time.perf_counter()
    while progress.update < cfg.optim.max_updates:
        micro, error = next_batches(run.batches, cfg.optim.accumulate)
        utterances = survey(run, micro, float(sum(len(batch.ids) for batch, _ in micro)), error)
        if utterances is None:
            continue
        stopping = update(run, micro, train, utterances)
        progress.update += 1
        progress.consume(micro[-1][0].epoch, micro[-1][1])
        run.skips.keep(progress)
        progress.wall_hours += (time.perf_counter() - started) / 3600
        after_update(run, stopping)
        started = time.perf_counter()


def update(run: Run, micro: list[Numbered], train: Part, count: float) -> bool:
    """One update from this process's micro-batches; True when any process was asked to stop.

    ``count``: utterances of all micro-batches of all processes; the loss is the mean over them, as
    with fairseq's ``sentence_avg``.
    """
    training, wrapped = run.training, run.wrapped
    cfg, world, model = training.cfg, training.world, training.model
    step = training.progress.update
    seed_dropout(cfg.run.seed, step, world.rank)
    rates = training.optimizer.prepare(step)
    training.optimizer.zero_grad()
    summed = torch.zeros((), device=world.device)
    for i, (batch, _) in enumerate(micro):
        hidden = hide(run, batch)
        tokens, sizes = train.targets(batch)
        masks = [part if part is None else part.to(world.device) for part in hidden]
        with micro_batch_context(wrapped, last=i == len(micro) - 1):
            batch = batch.to(world.device)
            with autocast(cfg, world):
                logits, frames = wrapped(
                    batch.waves, batch.lengths, *masks, step < cfg.encoder.freeze_updates
                )
            blank = model.vocabulary.blank
            tokens = tokens.to(world.device)
            losses = ctc_losses(logits, frames, tokens, sizes, blank) if batch.ids else logits
            total = losses.sum()
            training.scaler.scale(total * (world.size / count)).backward()
        summed += total.detach()
        if batch.ids:
            padding = padding_mask(frames, logits.shape[1], logits.device)
            blanks = logits.argmax(-1) == blank
            blanks = blanks if padding is None else blanks & ~padding
            count_valid = int(frames.sum())
            run.meter.add("blank_share", blanks.sum() / count_valid, count_valid)
            none = torch.zeros(1)
            add_padding(run, batch, none if hidden.frames is None else hidden.frames)
    return descend(run, micro, summed, count, rates, {"ctc": total.detach()})


def hide(run: Run, batch: Batch) -> Hidden:
    """Which frames and channels of a batch are hidden from the encoder; masks on the CPU."""
    training, masking = run.training, run.training.cfg.masking
    encoder, seed = training.model.encoder, training.cfg.run.seed
    frames = channels = None
    if masking.frames and batch.ids:
        lengths = encoder.frame_lengths(batch.lengths).tolist()
        frames = span_mask(lengths, batch.ids, masking.frames, seed=seed, epoch=batch.epoch)
    if masking.channels and batch.ids:
        size, epoch = encoder.dim, batch.epoch
        channels = channel_mask(batch.ids, size, masking.channels, seed=seed, epoch=epoch)
    return Hidden(frames, channels)


def _origin(cfg: FinetuneConfig) -> str:
    start = cfg.encoder
    if start.init is None:
        return f"started from an untrained encoder as in {start.shape}"
    return f"started from {'an untrained copy' if start.random else 'the encoder'} of {start.init}"
