"""What of a padded batch is no padding, and statistics of that alone."""

import torch
from torch import Tensor


def padding_mask(lengths: Tensor, size: int, device: torch.device | None = None) -> Tensor | None:
    """(B, size) bool on ``device``, True at padding; None when there is no padding at all.

    ``lengths`` (B,) on the CPU are looked at without waiting for a GPU.
    """
    if not bool((lengths < size).any()):
        return None
    device = device or lengths.device
    return torch.arange(size, device=device) >= lengths.to(device, non_blocking=True)[:, None]


def moments(x: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
    """Mean and biased variance (B, 1, C) of (B, T, C) over the first ``lengths`` (B,) frames, or
    over all.
    """
    if lengths is None:
        mean = x.mean(1, keepdim=True)
        return mean, (x - mean).square().mean(1, keepdim=True)  # a third of the time of x.var(1)
    lengths = lengths.to(x.device, non_blocking=True)
    valid = (torch.arange(x.shape[1], device=x.device) < lengths[:, None])[..., None]
    count = lengths.clamp(min=1)[:, None, None]
    mean = (x * valid).sum(1, keepdim=True) / count
    return mean, ((x - mean).square() * valid).sum(1, keepdim=True) / count
