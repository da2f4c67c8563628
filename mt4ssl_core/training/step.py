"""Pieces of an update, which validation shares."""

import hashlib
import math
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from mt4ssl_core.data.batch import Batch
from mt4ssl_core.data.masking import span_mask
from mt4ssl_core.distributed import World
from mt4ssl_core.settings.frames import HOP
from mt4ssl_core.training.loaders import Numbered
from mt4ssl_core.training.resuming import Resumable
from mt4ssl_core.training.run import Run
from mt4ssl_core.training.stopping import report_nan


def wrap(model: nn.Module, world: World) -> nn.Module:
    """The model as all processes train it together; itself if there is one."""
    if world.size == 1:
        return model
    return DistributedDataParallel(
        model,
        device_ids=[world.device.index] if world.device.type == "cuda" else None,
        broadcast_buffers=False,
        find_unused_parameters=True,  # LayerDrop
    )


def hide(training: Resumable, batch: Batch) -> Tensor:
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


def autocast(cfg: Any, world: World) -> torch.autocast:
    """Reduced precision for matrix products; weights, sums and losses stay float32."""
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(cfg.run.precision)
    return torch.autocast(world.device.type, dtype=dtype, enabled=dtype is not None)


def descend(
    run: Run,
    micro: list[Numbered],
    summed: Tensor,
    count: Tensor,
    rate: float,
    parts: Mapping[str, Tensor],
) -> bool:
    """Change the weights by the gradients that ``backward`` left; True when any process was asked
    to stop.

    summed: the loss of this process's micro-batches, of which ``count`` in all processes is the
    number that it is a mean over. parts: of the last micro-batch's loss, for a report of NaN.

    Raises:
        ValueError: the loss or its gradient is not finite.
    """
    training, meter, cfg, world = run.training, run.meter, run.training.cfg, run.training.world
    training.scaler.unscale_(training.optimizer)
    parameters = [p for p in training.model.parameters() if p.requires_grad]
    norm = nn.utils.clip_grad_norm_(parameters, cfg.optim.clip_norm or float("inf"))
    own = [sum(batch.seconds for batch, _ in micro), float(len(run.requested))]
    facts = torch.cat([torch.stack([summed / count, norm / world.size]), summed.new_tensor(own)])
    loss, grad_norm, seconds, stop = world.sum(facts).tolist()
    overflow = not math.isfinite(grad_norm)
    good = math.isfinite(loss) and not overflow
    if cfg.run.precision == "fp16":  # such gradients lower the loss scale, unless it is at its end
        good |= math.isfinite(loss) and training.scaler.get_scale() > 2**-14
    if not good:
        report_nan(training, micro, parts, loss, grad_norm, rate)
    training.scaler.step(training.optimizer)  # does nothing after an overflow
    training.scaler.update()
    meter.add("loss", loss)
    meter.add("grad_norm", float("nan") if overflow else grad_norm)
    meter.add("overflows", float(overflow))
    meter.add("lr", rate)
    meter.add("audio_seconds", seconds)
    training.progress.audio_hours += seconds / 3600
    return stop > 0


def add_padding(run: Run, batch: Batch, mask: Tensor) -> None:
    """Count how much of a batch is padding, and how many frames ``mask`` hides."""
    if batch.ids:
        padded, frames = batch.padded_seconds, int(batch.lengths.sum()) / HOP
        run.meter.add("padding", 1 - batch.seconds / padded, padded)
        run.meter.add("masked_share", mask.sum() / frames, frames)
