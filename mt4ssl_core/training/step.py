"""Pieces of an update, which validation shares."""

import hashlib
import math
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.nn.parallel import DistributedDataParallel

from mt4ssl_core.data.batch import Batch
from mt4ssl_core.data.masking import repeats_of
from mt4ssl_core.distributed import World
from mt4ssl_core.model.targets import TargetLoss
from mt4ssl_core.training.loaders import Numbered
from mt4ssl_core.training.run import Run
from mt4ssl_core.training.sharding import is_sharded, whole
from mt4ssl_core.training.stopping import report_nan


def wrap(model: nn.Module, world: World) -> nn.Module:
    """The model as all processes train it together; itself if there is one, or if it is sharded."""
    if world.size == 1 or is_sharded(model):
        return model
    return DistributedDataParallel(  # without device_ids, which would move lengths to a GPU
        model,
        broadcast_buffers=False,
        find_unused_parameters=True,  # LayerDrop
    )


def seed_dropout(seed: int, update: int, rank: int) -> None:
    """Make dropout and LayerDrop of an update a function of these three numbers."""
    digest = hashlib.blake2b(f"{seed}/{update}/{rank}".encode(), digest_size=7).digest()
    torch.manual_seed(int.from_bytes(digest, "little"))


def micro_batch_context(wrapped: nn.Module, last: bool) -> Any:
    """Gradients are exchanged between processes at the last micro-batch only."""
    if isinstance(wrapped, DistributedDataParallel) and not last:
        return wrapped.no_sync()
    if isinstance(wrapped, FSDPModule):
        wrapped.set_requires_gradient_sync(last)
    return nullcontext()


def autocast(cfg: Any, world: World) -> torch.autocast:
    """Reduced precision for matrix products; weights, sums and losses stay float32."""
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(cfg.run.precision)
    return torch.autocast(world.device.type, dtype=dtype, enabled=dtype is not None)


def losses_of(
    model: nn.Module, batch: Batch, cfg: Any, world: World, step: int
) -> list[TargetLoss]:
    """What the targets say of a batch on the device, after ``step`` updates."""
    assert batch.mask is not None
    with autocast(cfg, world):  # not around backward: it would cast gradients once more
        return model(batch.waves, batch.lengths, batch.mask, batch.labels, step, batch.places)


def read_later(values: Tensor) -> Callable[[], list[float]]:
    """Start to copy ``values`` (N,) to the host; the answer waits for that alone, and not for what
    a GPU is given to do in the meantime.
    """
    if not values.is_cuda:
        return values.tolist
    host = values.to("cpu", non_blocking=True)  # page-locked
    copied = torch.cuda.Event()
    copied.record()

    def read() -> list[float]:
        copied.synchronize()
        return host.tolist()

    return read


def clip(model: nn.Module, limit: float) -> Tensor:
    """Clip the gradients to this norm (0: never); returns the norm before that."""
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    norm = whole(nn.utils.get_total_norm(grads))
    if limit:
        nn.utils.clip_grads_with_norm_(model.parameters(), limit, norm)
    return norm


def descend(
    run: Run,
    micro: list[Numbered],
    summed: Tensor,
    count: float,
    rates: Mapping[str, float],
    parts: Mapping[str, Tensor],
) -> bool:
    """Change the weights by the gradients that ``backward`` left; True when any process was asked
    to stop. A GPU is waited for once, when all but the optimiser's part has been computed.

    summed: the loss of this process's micro-batches, of which ``count`` in all processes is the
    number that it is a mean over. rates: by their names in the log. parts: of the last
    micro-batch's loss, for a report of NaN.

    Raises:
        ValueError: the loss or its gradient is not finite.
    """
    training, meter, world = run.training, run.meter, run.training.world
    training.scaler.unscale_(training.optimizer)
    norm = clip(training.model, training.cfg.optim.clip_norm)
    own = torch.tensor([sum(batch.seconds for batch, _ in micro), float(len(run.requested))])
    facts = torch.stack([summed / count, norm / world.size])
    facts = world.sum(torch.cat([facts, own.to(world.device, non_blocking=True)]))
    reading = read_later(facts)
    stepped = training.step_if_finite(facts[:2])
    loss, grad_norm, seconds, stop = reading()
    if not training.is_good(loss, grad_norm):
        report_nan(training, run.saver, micro, parts, loss, grad_norm, rates)
    if not stepped:
        training.step()
    overflow = not math.isfinite(grad_norm)
    meter.add("loss", loss)
    meter.add("grad_norm", float("nan") if overflow else grad_norm)
    meter.add("overflows", float(overflow))
    for name, rate in rates.items():
        meter.add(name, rate)
    meter.add("audio_seconds", seconds)
    training.progress.audio_hours += seconds / 3600
    return stop > 0


def add_padding(run: Run, batch: Batch, mask: Tensor) -> None:
    """Count how much of a batch is padding, and how many frames ``mask`` (of the CPU) hides."""
    if batch.ids:
        padded, hop = batch.padded_seconds, run.training.model.encoder.hop
        frames = int(batch.lengths.sum()) / hop * repeats_of(mask, batch.lengths)
        run.meter.add("padding", 1 - batch.seconds / padded, padded)
        run.meter.add("masked_share", int(mask.sum()) / frames, frames)
