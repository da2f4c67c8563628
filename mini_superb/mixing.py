"""Mixtures of recorded clips: levels, noise, and the files they are kept in."""

from pathlib import Path

import numpy as np
import soundfile

from mini_superb.clip import SAMPLE_RATE
from mini_superb.sound import NOISES

_CEILING = 0.95  # no sample is louder


def read(path: Path) -> np.ndarray:
    """Return a clip at 16 kHz as (N,) floats."""
    wave, rate = soundfile.read(path, dtype="float64")
    assert rate == SAMPLE_RATE, f"{path}: {rate} Hz"
    return np.asarray(wave)


def write(path: Path, wave: np.ndarray) -> None:
    """Write (N,) floats as 16-bit audio at 16 kHz; ValueError when that fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        soundfile.write(path, wave, SAMPLE_RATE, subtype="PCM_16")
    except soundfile.SoundFileError as error:
        raise ValueError(f"cannot write {path}: {error}; is there room on the disk?") from error


def rms(wave: np.ndarray) -> float:
    """Root mean square."""
    return float(np.sqrt(np.mean(np.square(wave))))


def noise_at(speech: np.ndarray, snr_db: float, kind: str, rng: np.random.Generator) -> np.ndarray:
    """Noise as long as ``speech``, quieter by ``snr_db``."""
    noise = NOISES[kind](len(speech), rng)
    return noise * (rms(speech) / rms(noise) * 10 ** (-snr_db / 20))


def quieter(*waves: np.ndarray) -> list[np.ndarray]:
    """Scale all by one factor so that the loudest sample of any keeps below full scale."""
    loudest = max(float(np.abs(wave).max(initial=0.0)) for wave in waves)
    return [wave * min(1.0, _CEILING / max(loudest, 1e-9)) for wave in waves]
