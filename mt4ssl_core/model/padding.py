"""What of a padded batch is no padding, and statistics of that alone."""

import torch
from torch import Tensor


def moments(x: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
    """Mean and biased variance (B, 1, C) of (B, T, C) over the first ``lengths`` (B,) frames, or
    over all.
    """
    if lengths is None:
        return x.mean(1, keepdim=True), x.var(1, unbiased=False, keepdim=True)
    valid = (torch.arange(x.shape[1], device=x.device) < lengths[:, None])[..., None]
    count = lengths.clamp(min=1)[:, None, None]
    mean = (x * valid).sum(1, keepdim=True) / count
    return mean, ((x - mean).square() * valid).sum(1, keepdim=True) / count
