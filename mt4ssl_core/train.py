"""The pre-training loop: data -> frames -> masks -> context -> targets -> sum -> update.

Everything random is a function of (seed, epoch, utterance) or (seed, update, rank), so a resumed
run continues exactly where its checkpoint was written.
"""

import hashlib
import math
import time
from collections.abc import Generator
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from mt4ssl_core import checkpoint, config, convert, distributed
from mt4ssl_core.config import Config
from mt4ssl_core.data import Batch, Manifest, PretrainLoader, open_manifest, split_valid
from mt4ssl_core.distributed import World
from mt4ssl_core.encoder import frame_count
from mt4ssl_core.faults import report_nan, stop_requests
from mt4ssl_core.files import write_text
from mt4ssl_core.labels import LabelStore
from mt4ssl_core.log import Journal, Meter
from mt4ssl_core.masking import span_mask
from mt4ssl_core.model import MT4SSL
from mt4ssl_core.state import Progress, Training


def pretrain(cfg: Config) -> Path:
    """Pre-train as ``cfg`` says, resuming when ``run.out`` holds a checkpoint.

    Returns:
        The path of the last checkpoint.

    Raises:
        ValueError: bad input, a run of another model in ``run.out``, NaN, or a collapsed teacher.
    """
    world = distributed.start(cfg.run.device)
    try:
        return _pretrain(cfg, world)
    finally:
        distributed.stop()


def _pretrain(cfg: Config, world: World) -> Path:
    out = Path(cfg.run.out)
    last = out / "last.pt"
    training = Training(cfg, world)
    model, progress = training.model, training.progress
    notes = []
    if last.exists():
        changed = training.resume(last)
        progress = training.progress
        notes = [f"resumed from {last} at update {progress.update}", *changed]
    elif cfg.run.init_from is not None:
        origin = Path(cfg.run.init_from)
        training.load_weights(convert.load_any(origin), origin)
        notes = [f"started from the weights of {origin}"]
    train, valid, amounts = open_data(cfg, model, world)
    if world.is_main:
        write_text(out / "config.yaml", config.to_yaml(cfg))
    journal = Journal(out, world, progress.update, cfg.optim.max_updates)
    if progress.update == 0:
        journal.line({"update": 0, **amounts})
    notes.append(f"{amounts['train_hours']:.2f} h used, {amounts['held_out_hours']:.2f} h held out")
    notes += amounts["not_looked_at"]
    skipped: list[str] = list(amounts["left_out"]) if world.is_main else []
    for note in notes:
        journal.say(note)
    wrapped: nn.Module = model
    if world.size > 1:
        wrapped = DistributedDataParallel(
            model,
            device_ids=[world.device.index] if world.device.type == "cuda" else None,
            broadcast_buffers=False,
            find_unused_parameters=True,  # LayerDrop
        )
    model.train()
    meter = Meter(world.device)
    batches = endless(train, progress)
    try:
        with stop_requests() as requested:
            while progress.update < cfg.optim.max_updates:
                started = time.perf_counter()
                micro = [next(batches) for _ in range(cfg.optim.accumulate)]
                stopping = update(training, wrapped, micro, meter, requested)
                progress.update += 1
                progress.epoch, progress.batches = micro[-1][0].epoch, micro[-1][1]
                skipped += [file for batch, _ in micro for file in batch.skipped]
                progress.wall_hours += (time.perf_counter() - started) / 3600
                finished = progress.update == cfg.optim.max_updates
                done = finished or stopping
                if progress.update % cfg.run.log_every == 0 or done:
                    _log(training, journal, meter)
                every = cfg.run.validate_every
                if valid is not None and every and (progress.update % every == 0 or finished):
                    with meter.paused():
                        skipped += _validate(training, valid, journal)
                keep = cfg.run.keep_every > 0 and progress.update % cfg.run.keep_every == 0
                if keep or progress.update % cfg.run.save_every == 0 or done:
                    _save(training, out, keep)
                journal.advance()
                if stopping:
                    journal.say(f"stopped by a signal; {last} holds update {progress.update}")
                    raise SystemExit(128 + requested[0] if requested else 143)
    finally:
        batches.close()
        journal.close()
        if skipped:  # each process met other files
            unique = sorted(set(skipped))
            print(f"{len(unique)} file(s) could not be used:\n  " + "\n  ".join(unique))
    return last


def open_data(
    cfg: Config, model: MT4SSL, world: World
) -> tuple[PretrainLoader, PretrainLoader | None, dict[str, Any]]:
    """Loaders of the training and held-out audio, and how much of it there is."""
    data = cfg.data
    listed = partial(
        open_manifest,
        min_seconds=data.min_seconds,
        strict=data.strict,
        max_skipped=data.max_skipped,
    )
    manifest = listed(data.train)
    needs_labels = any(target.needs_labels for target in model.each_target())
    classes = 0
    if cfg.offline is not None:
        classes = cfg.offline.num_classes - cfg.offline.label_offset

    def open_labels(path: str | None, audio: str) -> LabelStore | None:
        if not needs_labels or not path:
            return None
        return LabelStore.open(path, classes, label_rate=data.label_rate, audio=audio)

    labels = open_labels(data.labels, data.train)
    if data.valid is not None:
        held_out = listed(data.valid)
        valid_labels = open_labels(data.valid_labels, data.valid)
    else:
        manifest, held_out = split_valid(manifest, data.valid_share)
        valid_labels = labels

    def loader(manifest: Manifest, labels: LabelStore | None) -> PretrainLoader:
        return PretrainLoader(
            manifest,
            labels,
            data,
            normalize=cfg.encoder.normalize,
            normalize_eps=cfg.encoder.normalize_eps,
            frame_lengths=partial(frame_count, conv_layers=cfg.encoder.conv_layers),
            seed=cfg.run.seed,
            rank=world.rank,
            world_size=world.size,
        )

    amounts = {
        "train_hours": round(manifest.hours, 4),
        "held_out_hours": round(held_out.hours, 4),
        "left_out": [f"{path}: {reason}" for path, reason in manifest.skipped],
        "not_looked_at": manifest.notes + held_out.notes,
    }
    has_valid = held_out.hours > 0
    valid = loader(held_out, valid_labels) if has_valid else None
    return loader(manifest, labels), valid, amounts


def endless(loader: PretrainLoader, progress: Progress) -> Generator[tuple[Batch, int]]:
    """Batches from where ``progress`` is on, each with how many of its epoch are then consumed."""
    epoch, start = progress.epoch, progress.batches
    while True:
        count = start
        for count, batch in enumerate(loader.batches(epoch, start), start + 1):
            yield batch, count
        if count == 0:
            raise ValueError("no batch could be made of data.train; is data.min_seconds too high?")
        epoch, start = epoch + 1, 0


def update(
    training: Training,
    wrapped: nn.Module,
    micro: list[tuple[Batch, int]],
    meter: Meter,
    requested: list[int],
) -> bool:
    """One update from this process's micro-batches; True when any process was asked to stop."""
    cfg, world, model = training.cfg, training.world, training.model
    step = training.progress.update
    seed_dropout(cfg.run.seed, step, world.rank)
    masks = [hide(training, batch) for batch, _ in micro]
    hidden = torch.tensor([float(mask.sum()) for mask in masks]).sum().to(world.device)
    count = world.sum(hidden).clamp(min=1)  # masked frames of all micro-batches of all processes
    rate = training.optimizer.prepare(step)
    training.optimizer.zero_grad()
    summed = torch.zeros((), device=world.device)
    for i, ((batch, _), mask) in enumerate(zip(micro, masks, strict=True)):
        for target in model.each_target():
            target.before_micro_batch(model.encoder, step, first=i == 0)
        with (
            micro_batch_context(wrapped, last=i == len(micro) - 1),
            autocast(cfg, world),
        ):
            batch = batch.to(world.device)
            losses = wrapped(batch.waves, batch.lengths, mask.to(world.device), batch.labels, step)
            total = torch.stack([loss.total for loss in losses]).sum()
            training.scaler.scale(total * (world.size / count)).backward()
        summed += total.detach()
        meter.add_losses(losses)
        if batch.ids:
            padded, frames = batch.padded_seconds, int(batch.lengths.sum()) / config.HOP
            meter.add("padding", 1 - batch.seconds / padded, padded)
            meter.add("masked_share", mask.sum() / frames, frames)
    training.scaler.unscale_(training.optimizer)
    parameters = [p for p in model.parameters() if p.requires_grad]
    limit = cfg.optim.clip_norm or float("inf")
    norm = nn.utils.clip_grad_norm_(parameters, limit)
    own = [sum(batch.seconds for batch, _ in micro), float(len(requested))]
    facts = torch.cat([torch.stack([summed / count, norm / world.size]), summed.new_tensor(own)])
    loss, grad_norm, seconds, stop = world.sum(facts).tolist()
    finite = math.isfinite(loss) and math.isfinite(grad_norm)
    if cfg.run.precision == "fp16":  # such gradients lower the loss scale, unless it is at its end
        finite |= math.isfinite(loss) and training.scaler.get_scale() > 2**-14
    if not finite:
        report_nan(training, micro, losses, loss, grad_norm, rate)
    training.scaler.step(training.optimizer)
    training.scaler.update()
    meter.add("loss", loss)
    meter.add("grad_norm", grad_norm)
    meter.add("lr", rate)
    meter.add("audio_seconds", seconds)
    training.progress.audio_hours += seconds / 3600
    return stop > 0


def hide(training: Training, batch: Batch) -> Tensor:
    """Which frames of a batch are hidden from the encoder: (B, T) bool."""
    cfg, lengths = training.cfg, training.model.encoder.frame_lengths(batch.lengths).tolist()
    return span_mask(lengths, batch.ids, cfg.masking, seed=cfg.run.seed, epoch=batch.epoch)


def seed_dropout(seed: int, update: int, rank: int) -> None:
    """Make dropout and LayerDrop of an update a function of these three numbers."""
    digest = hashlib.blake2b(f"{seed}/{update}/{rank}".encode(), digest_size=7).digest()
    torch.manual_seed(int.from_bytes(digest, "little"))


def micro_batch_context(wrapped: nn.Module, last: bool) -> Any:
    """Gradients are exchanged between processes at the last micro-batch only."""
    if isinstance(wrapped, DistributedDataParallel) and not last:
        return wrapped.no_sync()
    return nullcontext()


def autocast(cfg: Config, world: World) -> torch.autocast:
    """Reduced precision for matrix products; weights, sums and losses stay float32."""
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(cfg.run.precision)
    return torch.autocast(world.device.type, dtype=dtype, enabled=dtype is not None)


def _log(training: Training, journal: Journal, meter: Meter) -> None:
    progress, world = training.progress, training.world
    values = meter.read(world, list(training.model.each_target()), _STEP_METRICS)
    elapsed = time.perf_counter() - meter.start
    updates = meter.sums["lr weight"].item()
    values["audio_seconds_per_s"] = values.pop("audio_seconds") * updates / elapsed
    values["updates_per_s"] = updates / elapsed
    where = {"update": progress.update, "epoch": progress.epoch}
    spent = {"audio_hours": progress.audio_hours, "wall_hours": progress.wall_hours}
    journal.line({**where, **spent, **values})
    meter.reset()
    for target in training.model.each_target():
        problem = target.check(values, progress.update)
        if problem:
            raise ValueError(f"stopped at update {progress.update}: {problem}")


_STEP_METRICS = ["loss", "grad_norm", "lr", "padding", "masked_share", "audio_seconds"]


@torch.no_grad()
def _validate(training: Training, loader: PretrainLoader, journal: Journal) -> list[str]:
    """Losses on held-out audio with masks and crops that never change; keeps the best checkpoint.

    The best is that of the first target in the config: a teacher's answers change as it learns,
    so its losses of different updates cannot be compared. Returns files that could not be read.
    """
    cfg, world, model, progress = (
        training.cfg,
        training.world,
        training.model,
        training.progress,
    )
    model.eval()
    meter, skipped = Meter(world.device), []
    for batch in loader.batches(epoch=0):
        skipped += batch.skipped
        mask = hide(training, batch)
        batch = batch.to(world.device)
        with autocast(cfg, world):
            losses = model(
                batch.waves,
                batch.lengths,
                mask.to(world.device),
                batch.labels,
                progress.update,
            )
        meter.add_losses(losses)
    model.train()
    values = meter.read(world, list(model.each_target()), [])
    weights = {target.name: target.cfg.weight for target in model.each_target()}
    total = sum(weights[name] * values.get(f"{name}/loss", 0.0) for name in weights)
    journal.line(
        {"update": progress.update, "valid/loss": total}
        | {f"valid/{key}": value for key, value in values.items()}
    )
    first = values.get(f"{next(iter(weights))}/loss", float("nan"))
    if not math.isnan(first) and (progress.best is None or first < progress.best):
        progress.best = first
        if world.is_main:
            checkpoint.save(Path(cfg.run.out) / "best.pt", training.state_dict())
    return skipped


def _save(training: Training, out: Path, keep: bool) -> None:
    if training.world.is_main:
        state = training.state_dict()
        if keep:
            checkpoint.save(out / f"update_{training.progress.update}.pt", state)
        checkpoint.save(out / "last.pt", state)
    training.world.barrier()
