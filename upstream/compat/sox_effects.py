"""``torchaudio.sox_effects``, for the effects that s3prl's tasks ask for.

What: ``from torchaudio.sox_effects import apply_effects_file`` fails; s3prl does it while
    ``s3prl.hub`` is imported and in the KS dataset, which mixes down, resamples and lowers the
    level by 3 dB with it.
Why: torchaudio dropped its SoX binding.
Since: torchaudio 2.9.
Here: ``channels``, ``rate`` and ``gain`` in numpy and soxr (the resampler SoX itself uses). Any
    other effect is an error that names it: add its function to ``EFFECTS``.
Delete when: s3prl no longer imports torchaudio.sox_effects.
"""

import importlib.util
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import soxr
import torch
import torchaudio

Audio = tuple[np.ndarray, int]  # (C, T) float32, sample rate


def install() -> bool:
    """Put a module of this name into torchaudio, unless it has one."""
    name = "torchaudio.sox_effects"
    if name in sys.modules or importlib.util.find_spec(name) is not None:
        return False
    module: Any = ModuleType(name, __doc__)
    module.apply_effects_file = apply_effects_file
    module.apply_effects_tensor = apply_effects_tensor
    module.effect_names = lambda: sorted(EFFECTS)
    sys.modules[name] = module
    torchaudio.sox_effects = module
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
    audio = tensor.numpy().astype(np.float32, copy=False)  # (C, T)
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
    result = torch.from_numpy(np.ascontiguousarray(audio))
    return (result if channels_first else result.T), sample_rate


def _channels(audio: Audio, count: str) -> Audio:
    """Mix down by the mean, or copy one channel to many."""
    samples, rate = audio
    wanted, given = int(count), len(samples)
    if wanted == given:
        return audio
    if wanted == 1:
        return samples.mean(0, keepdims=True), rate
    if given == 1:
        return np.repeat(samples, wanted, 0), rate
    raise ValueError(f"{given} channels to {wanted} is not offered; give mono or ask for 1 channel")


def _rate(audio: Audio, *arguments: str) -> Audio:
    """Resample with soxr in its high quality, SoX's default."""
    samples, rate = audio
    wanted = int(float(arguments[-1]))
    if wanted == rate or not samples.size:
        return samples, wanted
    return soxr.resample(samples.T, rate, wanted, quality="HQ").T, wanted


def _gain(audio: Audio, decibel: str) -> Audio:
    """Scale by decibels; what would leave [-1, 1] is clipped, as SoX does."""
    samples, rate = audio
    scaled = samples * np.float32(10 ** (float(decibel) / 20))
    return (scaled if float(decibel) <= 0 else scaled.clip(-1, 1)), rate


EFFECTS: dict[str, Callable[..., Audio]] = {"channels": _channels, "rate": _rate, "gain": _gain}
