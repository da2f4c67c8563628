"""What `Encoder.features` listens to: files and samples, as waveforms at 16 kHz."""

import os
from collections.abc import Sequence
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from mt4ssl_core.data.arrays import from_samples
from mt4ssl_core.data.audio import MIN_SAMPLES, load_wave
from mt4ssl_core.files import user_path

Audio = str | Path | np.ndarray | Tensor | tuple[np.ndarray | Tensor, float]


def is_one(audio: Any) -> bool:
    """Tell one utterance from a list of them; samples with their rate are one."""
    if isinstance(audio, tuple) and len(audio) == 2 and isinstance(audio[1], Real):
        return True
    return not isinstance(audio, Sequence) or isinstance(audio, str)


def waves_of(audio: Sequence[Any], rate: float | None) -> list[tuple[str, np.ndarray]]:
    """Return what each utterance is called in messages, and its samples (N,) at 16 kHz.

    Raises:
        ValueError: one that is no audio, or shorter than a frame; names it.
    """
    if not audio:
        raise ValueError("no audio; give a file, samples, or a list of them")
    found = []
    for place, one in enumerate(audio):
        is_file = isinstance(one, str | os.PathLike)
        name = str(one) if is_file else f"audio {place + 1} of {len(audio)}"
        wave = load_wave(user_path(one)) if is_file else _of_samples(one, rate, name)
        if len(wave) < MIN_SAMPLES:
            raise ValueError(f"{name}: shorter than one frame (25 ms); leave it out")
        found.append((name, wave))
    return found


def _of_samples(audio: Any, rate: float | None, name: str) -> np.ndarray:
    if isinstance(audio, tuple) and len(audio) == 2:
        audio, rate = audio
    if isinstance(audio, Tensor):
        audio = audio.detach().cpu().numpy()
    if not isinstance(audio, np.ndarray):
        raise ValueError(
            f"{name}: a {type(audio).__name__}; give a path, or an array or tensor of samples"
        )
    if rate is None:
        raise ValueError(f"{name}: samples of an unknown rate; give it, as in rate=16000")
    return from_samples(audio, rate, name)
