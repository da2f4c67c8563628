"""The random phases that the VC task's Griffin-Lim starts from.

What: two evaluations of one checkpoint give different recordings, and different scores.
Why: s3prl seeds numpy's global generator and leaves the choice of phases to librosa, which draws
    them from a generator of its own.
Since: librosa 0.10.
Here: the expert's ``griffin_lim`` starts every utterance from the same seed.
Delete when: s3prl's a2o-vc-vcc2020/utils.py passes a ``random_state``.
"""

import importlib
from typing import Any

import numpy as np

SEED = 0


def install() -> bool:
    """Replace the function in s3prl's VC expert."""
    expert: Any = importlib.import_module("s3prl.downstream.a2o-vc-vcc2020.expert")
    if expert.griffin_lim is griffin_lim:
        return False
    expert.griffin_lim = griffin_lim
    return True


def griffin_lim(
    spc: np.ndarray,
    n_fft: int,
    n_shift: int,
    win_length: int | None,
    window: str = "hann",
    n_iters: int = 100,
) -> np.ndarray:
    """Return a waveform (N,) with the magnitude spectra ``spc`` (T, n_fft / 2 + 1)."""
    import librosa

    assert spc.shape[1] == n_fft // 2 + 1
    wave: Any = librosa.griffinlim(
        np.abs(spc.T),
        n_iter=n_iters,
        hop_length=n_shift,
        win_length=win_length,
        window=window,
        random_state=SEED,
    )
    return np.asarray(wave)
