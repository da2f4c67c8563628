"""How something is said: pitch, energy and tempo of an utterance, and a linear probe of numbers.

pitch: the median over voiced frames of log2 of the fundamental frequency (Hz); energy: dB of the
mean square of the samples; tempo: phones per second.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mt4ssl_core.data.audio import SAMPLE_RATE

LOWEST, HIGHEST = 60.0, 400.0  # Hz of a voice
_FRAME, _HOP, _FFT = 640, 320, 2048  # samples
_VOICED = 0.5  # share of a frame's energy that comes again after a period
_LEAST = 5  # voiced frames
PENALTIES = (1e-1, 1e-2, 1e-3, 1e-4)  # of the squared weights, per training utterance


def energy(wave: np.ndarray) -> float:
    """The energy (dB) of samples (N,); NaN of digital silence."""
    mean = float(np.mean(wave.astype(np.float64) ** 2))
    return 10 * math.log10(mean) if mean > 0 else math.nan


def pitch(wave: np.ndarray) -> float:
    """The pitch (log2 of Hz) of samples (N,) at 16 kHz, by autocorrelation; NaN without a voice."""
    if len(wave) < _FRAME:
        return math.nan
    frames = np.lib.stride_tricks.sliding_window_view(wave.astype(np.float64), _FRAME)[::_HOP]
    window = np.hanning(_FRAME)
    frames = (frames - frames.mean(1, keepdims=True)) * window  # (T, 640)
    alike = _autocorrelation(frames) / np.maximum(_autocorrelation(window[None]), 1e-12)
    low, high = math.ceil(SAMPLE_RATE / HIGHEST), math.floor(SAMPLE_RATE / LOWEST) + 1
    shares = alike[:, low:high] / np.maximum(alike[:, :1], 1e-12)
    voiced = (shares.max(1) > _VOICED) & (alike[:, 0] > 1e-3 * alike[:, 0].max())
    if voiced.sum() < _LEAST:
        return math.nan
    return float(np.median(np.log2(SAMPLE_RATE / (low + _first_peak(shares[voiced])))))


def _autocorrelation(frames: np.ndarray) -> np.ndarray:
    """Of (T, N) at the lags 0 .. 319, (T, 320)."""
    power = np.abs(np.fft.rfft(frames, _FFT)) ** 2
    return np.fft.irfft(power, _FFT)[:, : _FRAME // 2]


def _first_peak(shares: np.ndarray) -> np.ndarray:
    """The first lag of each row (T, L) that is nearly its highest: two periods are alike, too."""
    middle = shares[:, 1:-1]
    peaks = (middle >= shares[:, :-2]) & (middle >= shares[:, 2:])
    near = peaks & (middle > 0.9 * shares.max(1, keepdims=True))
    return np.where(near.any(1), near.argmax(1) + 1, shares.argmax(1))


@dataclass(frozen=True)
class Regression:
    """Numbers are (x - mean) / scale @ weight + bias."""

    mean: np.ndarray  # (D,)
    scale: np.ndarray  # (D,)
    weight: np.ndarray  # (D,)
    bias: float

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Return a number for each row, (N, D) -> (N,)."""
        answer: np.ndarray = (x - self.mean) / self.scale @ self.weight + self.bias
        return answer


def fit(x: np.ndarray, y: np.ndarray, penalty: float) -> Regression:
    """Ridge regression of (N,) numbers on (N, D) features brought to mean 0, variance 1: the mean
    squared error plus penalty times the squared weights is least.
    """
    x, y = x.astype(np.float64), y.astype(np.float64)
    mean, scale, bias = x.mean(0), np.maximum(x.std(0), 1e-6), float(y.mean())
    z = (x - mean) / scale
    square = z.T @ z / len(z) + penalty * np.eye(z.shape[1])
    return Regression(mean, scale, np.linalg.solve(square, z.T @ (y - bias) / len(z)), bias)


def fit_best(x: np.ndarray, y: np.ndarray, held_out: np.ndarray) -> tuple[Regression, float]:
    """Fit all rows with the penalty that is best on ``held_out``, (N,) bool; and its R2 there."""
    inside = ~held_out
    found = [
        (r2(y[held_out], fit(x[inside], y[inside], p).predict(x[held_out])), p) for p in PENALTIES
    ]
    best, penalty = max(found)
    return fit(x, y, penalty), best


def r2(wanted: np.ndarray, predicted: np.ndarray) -> float:
    """The share of the variance that is explained: 1 at the best, 0 of the mean, less if worse."""
    spread = float(np.sum((wanted - wanted.mean()) ** 2))
    return 1 - float(np.sum((wanted - predicted) ** 2)) / spread if spread else math.nan


def tempo(phones: Sequence[str], samples: int) -> float:
    """Phones per second."""
    return len(phones) * SAMPLE_RATE / samples
