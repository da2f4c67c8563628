"""How far one recording of a sentence is from another: mel-cepstral distortion and F0 error.

The recipe is that of s3prl's voice conversion task (its vc_evaluate.py), with two replacements:
its pysptk, which does not build here, by `mel_cepstrum`, and fastdtw, which approximates, by exact
dynamic time warping with the same steps.
"""

import functools
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.signal import firwin, lfilter
from scipy.spatial.distance import cdist

from upstream.compat import pyworld_version

ORDER, ALPHA = 39, 0.466  # of the mel-cepstrum at 24 kHz
FRAME_MS, FFT = 5.0, 1024
LOW_CUT_HZ, LOW_CUT_TAPS = 70, 255
SILENCE_DB = -20.0  # frames this far below the mean power are left out
DB = 10.0 / np.log(10.0)


@dataclass(frozen=True)
class Features:
    """What WORLD's analysis gives, every 5 ms."""

    cepstrum: np.ndarray  # (T, ORDER + 1)
    f0: np.ndarray  # (T,) Hz, 0 where unvoiced
    power_db: np.ndarray  # (T,) against the mean over the recording


@dataclass(frozen=True)
class Distance:
    """Of two recordings: ``f0_rmse`` is NaN when one of them has no voiced frame."""

    mcd: float  # dB
    f0_rmse: float  # Hz


def features(wave: np.ndarray, rate: int, f0_range: tuple[float, float]) -> Features:
    """Analyse a recording (N,) in [-1, 1]; F0 is looked for in ``f0_range`` (Hz)."""
    pyworld = _pyworld()
    taps = firwin(LOW_CUT_TAPS, LOW_CUT_HZ / (rate // 2), pass_zero=False)
    wave = lfilter(taps, 1, wave.astype(np.float64) * 32767)  # 16-bit scale: WORLD's safeguards
    low, high = f0_range
    f0, times = pyworld.harvest(wave, rate, f0_floor=low, f0_ceil=high, frame_period=FRAME_MS)
    spectrum = pyworld.cheaptrick(wave, f0, times, rate, fft_size=FFT)  # (T, FFT / 2 + 1) power
    edges = spectrum[:, 0] + spectrum[:, -1]
    power = (edges + 2 * spectrum[:, 1:-1].sum(1)) / FFT
    return Features(mel_cepstrum(spectrum), f0, 10 * np.log10(power / power.mean()))


def mel_cepstrum(power: np.ndarray, order: int = ORDER, alpha: float = ALPHA) -> np.ndarray:
    """Return the mel-cepstrum (T, order + 1) of power spectra (T, F), as SPTK's sp2mc does.

    It holds the c of log |X(w)| = sum_m c_m cos(m w'), where w' is the frequency that the all-pass
    of ``alpha`` turns w into.
    """
    bins = power.shape[1]
    cepstrum = np.fft.irfft(np.log(power), axis=1)[:, :bins]  # of log |X|^2: even, so half is all
    cepstrum[:, 0] /= 2
    cepstrum[:, -1] /= 2  # the last one stands for itself, the others for two
    return cepstrum @ _warping(bins, order, alpha)


@functools.cache
def _warping(size: int, order: int, alpha: float) -> np.ndarray:
    """Return (size, order + 1): row n is z^-n as a power series in the warped z'^-1.

    z^-1 is (z'^-1 + alpha) / (1 + alpha z'^-1) there, so every row is the one above it filtered.
    """
    rows = np.zeros((size, order + 1))
    rows[0, 0] = 1.0
    for n in range(1, size):
        rows[n] = lfilter([alpha, 1.0], [1.0, alpha], rows[n - 1])
    return rows


def distance(converted: Features, target: Features) -> Distance:
    """Compare two recordings of one sentence, aligned by their mel-cepstra."""
    loud = [f.cepstrum[f.power_db > SILENCE_DB] for f in (converted, target)]
    i, j = align(*loud)
    voiced = [f.f0 > 0 for f in (converted, target)]
    f0_rmse = float("nan")
    if voiced[0].any() and voiced[1].any():
        k, m = align(converted.cepstrum[voiced[0]], target.cepstrum[voiced[1]])
        error = converted.f0[voiced[0]][k] - target.f0[voiced[1]][m]
        f0_rmse = float(np.sqrt(np.mean(error**2)))
    return Distance(distortion(loud[0][i], loud[1][j]), f0_rmse)


def distortion(a: np.ndarray, b: np.ndarray) -> float:
    """Return the mean mel-cepstral distortion in dB of aligned mel-cepstra (T, D).

    10 / ln 10 * sqrt(2 * sum over all coefficients, the 0th too, of the squared difference).
    """
    return float(np.mean(DB * np.sqrt(2 * np.sum((a - b) ** 2, axis=1))))


def align(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return indices into ``a`` (T, D) and ``b`` (U, D) along the cheapest monotone path.

    Euclidean cost; every step goes one on in ``a``, in ``b`` or in both, at the same weight.
    """
    cost = cdist(a, b)
    rows, columns = cost.shape
    total = np.full((rows + 1, columns + 1), np.inf)
    total[0, 0] = 0.0
    for diagonal in range(rows + columns - 1):
        i = np.arange(max(0, diagonal - columns + 1), min(rows, diagonal + 1))
        j = diagonal - i
        before = np.minimum(np.minimum(total[i, j + 1], total[i + 1, j]), total[i, j])
        total[i + 1, j + 1] = cost[i, j] + before
    path = [(rows - 1, columns - 1)]
    while path[-1] != (0, 0):
        i, j = path[-1]
        steps = {
            (i - 1, j - 1): total[i, j],
            (i - 1, j): total[i, j + 1],
            (i, j - 1): total[i + 1, j],
        }
        path.append(min(steps, key=steps.__getitem__))
    first, second = np.array(path[::-1]).T
    return first, second


def _pyworld() -> Any:
    pyworld_version.install()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it imports the deprecated pkg_resources
        import pyworld
    return pyworld
