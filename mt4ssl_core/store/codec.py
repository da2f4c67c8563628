"""Features (L, T, D) as bytes, in one of three precisions.

int8 is symmetric: each layer's channel is divided by its largest absolute value over time / 127.
"""

import torch
from torch import Tensor

from mt4ssl_core.settings.precisions import BYTES

_TYPES = {"fp32": torch.float32, "fp16": torch.float16, "int8": torch.int8}


def encoded_size(shape: tuple[int, int, int], precision: str) -> int:
    """Return the bytes of features (L, T, D); fp16 that would overflow takes twice as many."""
    layers, frames, dim = shape
    scales = 4 * layers * dim if precision == "int8" else 0
    return layers * frames * dim * BYTES[precision] + scales


def encode(features: Tensor, precision: str) -> tuple[bytes, str]:
    """Return the bytes of finite features and their precision: fp32 where fp16 would overflow.

    They are converted where they are, and leave a GPU in the precision that is stored.
    """
    features = features.detach().float().contiguous()
    if precision == "int8":
        scales, steps = _quantize(features)
        return scales.cpu().numpy().tobytes() + steps.cpu().numpy().tobytes(), precision
    if precision == "fp16" and not _fits_half(features):
        precision = "fp32"
    return features.to(_TYPES[precision]).cpu().numpy().tobytes(), precision


def decode(data: memoryview, shape: tuple[int, int, int], precision: str) -> Tensor:
    """Return features (L, T, D): float32, or for fp16 float16; a view of ``data`` but for int8."""
    layers, _, dim = shape
    if precision != "int8":
        return _view(data, _TYPES[precision]).view(shape)
    scales = _view(data[: 4 * layers * dim], torch.float32).view(layers, 1, dim)
    return _view(data[4 * layers * dim :], torch.int8).view(shape) * scales


def roundtrip(features: Tensor, precision: str) -> Tensor:
    """Return what `decode` gives of encoded features, as float32."""
    features = features.float()
    if precision == "int8":
        scales, steps = _quantize(features)
        return steps * scales
    if precision == "fp16" and _fits_half(features):
        return features.half().float()
    return features


def _fits_half(features: Tensor) -> bool:
    return not features.numel() or float(features.abs().max()) <= torch.finfo(torch.float16).max


def _quantize(features: Tensor) -> tuple[Tensor, Tensor]:
    """Return scales (L, 1, D) and steps (L, T, D) int8."""
    largest = features.abs().amax(1, keepdim=True) if features.shape[1] else features.sum(1, True)
    scales = largest / 127
    return scales, (features / scales.clamp_min(1e-30)).round().clamp(-127, 127).to(torch.int8)


def _view(data: memoryview, type: torch.dtype) -> Tensor:
    return torch.frombuffer(data, dtype=type) if len(data) else torch.empty(0, dtype=type)
