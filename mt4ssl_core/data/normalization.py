"""Waveforms of zero mean and unit variance, as most encoders expect them."""

from typing import overload

import numpy as np
import torch
from torch import Tensor


@overload
def normalize(wave: np.ndarray, eps: float = 1e-5) -> np.ndarray: ...
@overload
def normalize(wave: Tensor, eps: float = 1e-5) -> Tensor: ...
def normalize(wave, eps=1e-5):
    """Bring a whole waveform (N,) to zero mean and unit variance: (x - mean) / sqrt(var + eps).

    ``eps`` is the encoder's ``normalize_eps``. A tensor stays on its device; an array is summed in
    double precision and comes back in float32.
    """
    if isinstance(wave, Tensor):
        var, mean = torch.var_mean(wave, unbiased=False)
        return (wave - mean) / torch.sqrt(var + eps)
    centred = wave - wave.mean(dtype=np.float64)  # float64
    scale = np.sqrt(np.square(centred).mean() + eps)
    return np.divide(centred, scale, out=np.empty(len(wave), np.float32), casting="same_kind")
