"""Samples in memory, as waveforms like those of files: mono, 16 kHz, float32, not normalised."""

import numpy as np

from mt4ssl_core.data.audio import MAX_CHANNELS, RATES, resample


def from_samples(samples: np.ndarray, rate: float, name: str) -> np.ndarray:
    """Return samples, (N,) or of C channels (N, C) or (C, N), as a waveform (N,) at 16 kHz.

    Channels are the shorter side, and are averaged. Whole numbers are divided by the largest of
    their type, as in files. ``name`` is what messages call them.

    Raises:
        ValueError: not numbers, of another shape, NaN, or at a rate that is none of speech.
    """
    samples, rate = np.asarray(samples), _checked(rate, name)
    if samples.dtype.kind == "i":
        samples = samples / -float(np.iinfo(samples.dtype).min)
    elif samples.dtype.kind != "f":
        raise ValueError(f"{name}: of {samples.dtype}; give float samples, or integers as in files")
    if samples.ndim == 2 and samples.size:
        samples = samples.mean(int(np.argmin(samples.shape))) if _stereo(samples) else samples
    if samples.ndim != 1 or not samples.size:
        raise ValueError(
            f"{name}: of shape {samples.shape}; give samples (N,), or (channels, N) with at most "
            f"{MAX_CHANNELS} channels"
        )
    if not np.isfinite(samples).all():
        raise ValueError(f"{name}: has NaN or infinite samples; replace or remove it")
    return np.ascontiguousarray(resample(samples.astype(np.float32), rate))


def _checked(rate: float, name: str) -> int:
    if not RATES[0] <= rate <= RATES[1] or int(rate) != rate:
        raise ValueError(
            f"{name}: a sampling rate of {rate:,} Hz; expected {RATES[0]:,} to {RATES[1]:,}"
        )
    return int(rate)


def _stereo(samples: np.ndarray) -> bool:
    return min(samples.shape) <= MAX_CHANNELS
