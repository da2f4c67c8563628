"""``torchaudio.sox_effects``, for the effects that s3prl's tasks ask for.

What: ``from torchaudio.sox_effects import apply_effects_file`` fails; s3prl does it while
    ``s3prl.hub`` is imported and in the datasets of KS, QbE and ASV, which mix down, resample and
    lower the level by 3 dB with it; ASV also cuts silence out.
Why: torchaudio dropped its SoX binding.
Since: torchaudio 2.9.
Here: ``channels``, ``rate``, ``gain`` and ``silence`` in numpy and scipy. Beside the SoX program,
    lengths are equal and samples within 1e-7 at 16 kHz, within 1e-5 from 8 kHz. From 44.1 kHz the
    first two samples of a file that starts in the middle of a sound differ by more (2e-3 was seen),
    and one file in 150 lost its silence a sample later. Any other effect is an error that names it:
    add its function to ``EFFECTS``.
Delete when: s3prl no longer imports torchaudio.sox_effects.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torchaudio
from scipy.signal import upfirdn

from upstream.compat._modules import is_there, put

Audio = tuple[np.ndarray, int]  # (C, T) float64 in steps of 2^-31, as SoX counts; sample rate
_STEPS = 2.0**31
_CUT_OFF = 0.956813  # of the resampling filter, in Nyquist frequencies of the lower rate
# whole ratio of the rates (else 0) -> Kaiser's beta, half width in samples of the lower rate
_WINDOWS = {0: (13.7756, 102.0), 2: (13.04009, 97.25), 3: (13.01789, 96.75)}
_WINDOWS_PER_SECOND = 50  # of which the loudness is taken for `silence`


def install() -> bool:
    """Put a module of this name into torchaudio, unless it has one."""
    if is_there("torchaudio.sox_effects"):
        return False
    put(
        "torchaudio.sox_effects",
        apply_effects_file=apply_effects_file,
        apply_effects_tensor=apply_effects_tensor,
        effect_names=lambda: sorted(EFFECTS),
    )
    return True


def apply_effects_file(
    path: Any,
    effects: list[list[str]],
    normalize: bool = True,
    channels_first: bool = True,
    format: str | None = None,
) -> tuple[torch.Tensor, int]:
    """Read a file and apply ``effects``, in order; return float32 (C, T) and its sample rate."""
    audio, rate = torchaudio.load(path)
    return apply_effects_tensor(audio, rate, effects, channels_first)


def apply_effects_tensor(
    tensor: torch.Tensor, sample_rate: int, effects: list[list[str]], channels_first: bool = True
) -> tuple[torch.Tensor, int]:
    """Apply ``effects``, such as ``[["rate", "16000"], ["gain", "-3"]]``, in order to (C, T) audio.

    Raises:
        ValueError: an effect is not among ours, or its arguments are not understood.
    """
    audio = tensor.numpy().astype(np.float64)  # (C, T)
    for name, *arguments in effects:
        if name not in EFFECTS:
            raise ValueError(
                f"SoX effect {name!r} is not offered here (offered: {', '.join(sorted(EFFECTS))}); "
                f"add it to {__name__}"
            )
        try:
            audio, sample_rate = EFFECTS[name]((audio, sample_rate), *arguments)
        except (TypeError, ValueError) as error:
            raise ValueError(f"SoX effect {name} {' '.join(arguments)}: {error}") from error
    result = torch.from_numpy(np.ascontiguousarray(audio, np.float32))
    return (result if channels_first else result.T), sample_rate


def _whole(samples: np.ndarray) -> np.ndarray:
    """Round to SoX's 32-bit samples and clip, as SoX does after each effect."""
    return np.clip(np.floor(samples * _STEPS + 0.5), -_STEPS, _STEPS - 1) / _STEPS


def _channels(audio: Audio, count: str) -> Audio:
    """Mix down by the mean, or copy one channel to many."""
    samples, rate = audio
    wanted, given = int(count), len(samples)
    if wanted == given:
        return audio
    if wanted == 1:
        return _whole(samples.mean(0, keepdims=True)), rate
    if given == 1:
        return np.repeat(samples, wanted, 0), rate
    raise ValueError(f"{given} channels to {wanted} is not offered; give mono or ask for 1 channel")


def _rate(audio: Audio, *arguments: str) -> Audio:
    """Resample as SoX does in its default quality; the length is rounded to the nearest sample."""
    samples, rate = audio
    wanted = int(float(arguments[-1]))
    if wanted == rate or not samples.size:
        return samples, wanted
    up, down = wanted // math.gcd(rate, wanted), rate // math.gcd(rate, wanted)
    taps = _low_pass(up, down)
    length = math.floor(samples.shape[1] * wanted / rate + 0.5)
    skip = len(taps) // 2  # what the filter delays, at the common rate
    taps = np.pad(taps, (-skip % down, 0))
    result = upfirdn(taps, samples, up, down, axis=1)[:, (skip + -skip % down) // down :]
    result = np.pad(result, ((0, 0), (0, max(0, length - result.shape[1]))))
    return _whole(result[:, :length]), wanted


@functools.cache
def _low_pass(up: int, down: int) -> np.ndarray:
    """Return the filter of a rate change at the common rate, ``up`` times the old one.

    A sinc under a Kaiser window, whose numbers were measured: they give the SoX 14.4.2 program's
    answer to an impulse to within 3e-6 for any two rates, and 3e-7 where one is 2 or 3 times the
    other.
    """
    steps = max(up, down)  # of the common rate in a sample of the lower one
    beta, half_width = _WINDOWS.get(steps if min(up, down) == 1 else 0, _WINDOWS[0])
    half = int(half_width * steps)
    time = np.arange(-half, half + 1) / steps
    window = np.i0(beta * np.sqrt(1 - (time / half_width) ** 2)) / np.i0(beta)
    return up / steps * _CUT_OFF * np.sinc(_CUT_OFF * time) * window


def _gain(audio: Audio, decibel: str) -> Audio:
    """Scale by decibels; what would leave [-1, 1] is clipped."""
    samples, rate = audio
    return _whole(samples * 10 ** (float(decibel) / 20)), rate


def _silence(audio: Audio, *arguments: str) -> Audio:
    """Cut silence out: ``1 0.1 0.1% -1 0.1 0.1%``, the first three for where sound begins.

    Sound begins once its loudness has stayed above the threshold for the first duration, which is
    kept; it ends where the loudness then stays at or below the threshold for the second duration,
    which is cut, and so on until the end. A last silence that is shorter is kept. Loudness is the
    root mean square of the last 20 ms; before the first sample, and before the place where an
    earlier sound has ended, counts as silent.
    """
    samples, rate = audio
    if len(arguments) != 6 or (arguments[0], arguments[3]) != ("1", "-1"):
        raise ValueError("offered is: 1 SECONDS THRESHOLD% -1 SECONDS THRESHOLD%")
    if len(samples) != 1:
        raise ValueError(f"{len(samples)} channels; put channels 1 before it")
    wave = samples[0]  # (T,)
    begin, end = (round(float(arguments[k]) * rate) for k in (1, 4))
    loud, ending = (_Loudness(wave, rate, arguments[k]) for k in (2, 5))
    kept, position = [], 0
    while (start := _run_end(loud.above(position, position), begin)) is not None:
        first = position + start - begin
        stop = _run_end(~ending.above(position, position + start), end)
        last = len(wave) if stop is None else position + start + stop
        kept.append(wave[first : last if stop is None else last - end])
        position = last
        if stop is None:
            break
    return np.concatenate([wave[:0], *kept])[None], rate


class _Loudness:
    """Where a wave (T,) is louder than a threshold such as ``0.1%`` of full scale."""

    def __init__(self, wave: np.ndarray, rate: int, threshold: str) -> None:
        if not threshold.endswith("%"):
            raise ValueError(f"threshold {threshold} is not offered; give per cent, such as 0.1%")
        self.size = rate // _WINDOWS_PER_SECOND
        self.limit = float(threshold[:-1]) / 100
        self.energy = np.concatenate([[0.0], np.cumsum(np.square(wave))])  # (T + 1,)

    def above(self, silent_before: int, start: int) -> np.ndarray:
        """Tell for each sample from ``start`` on, (T - start,), whether it is above."""
        last = np.arange(start + 1, len(self.energy))
        first = np.maximum(last - self.size, silent_before)
        mean = np.maximum(self.energy[last] - self.energy[first], 0.0) / self.size
        return np.floor(np.sqrt(mean) * _STEPS) / (_STEPS - 1) > self.limit


def _run_end(mask: np.ndarray, length: int) -> int | None:
    """Return the place after the first ``length`` true values in a row, if there are so many."""
    false = np.flatnonzero(~np.concatenate([[False], mask, [False]]))  # one before and one after
    long = np.flatnonzero(np.diff(false) > max(length, 1))
    return int(false[long[0]]) + max(length, 1) if len(long) else None


EFFECTS: dict[str, Callable[..., Audio]] = {
    "channels": _channels,
    "rate": _rate,
    "gain": _gain,
    "silence": _silence,
}
