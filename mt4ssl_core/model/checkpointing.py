"""Activation checkpointing: of a block its inputs alone are kept for backward."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def run(block: nn.Module, *inputs: Tensor | None, checkpointed: bool) -> Any:
    """``block(*inputs)``. Where it is ``checkpointed``, backward runs it once more instead of
    keeping what it computed, with torch's random numbers, and so the dropout, of the first time.
    """
    if checkpointed and torch.is_grad_enabled():
        return checkpoint(block, *inputs, use_reentrant=False)
    return block(*inputs)
