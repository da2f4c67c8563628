"""Pieces of an update, which validation shares."""

import hashlib
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from mt4ssl_core.config import Config
from mt4ssl_core.data.batch import Batch
from mt4ssl_core.data.masking import span_mask
from mt4ssl_core.distributed import World
from mt4ssl_core.model.mt4ssl import MT4SSL
from mt4ssl_core.training.state import Training


def wrap(model: MT4SSL, world: World) -> nn.Module:
    """The model as all processes train it together; itself if there is one."""
    if world.size == 1:
        return model
    return DistributedDataParallel(
        model,
        device_ids=[world.device.index] if world.device.type == "cuda" else None,
        broadcast_buffers=False,
        find_unused_parameters=True,  # LayerDrop
    )


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
