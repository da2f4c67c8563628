"""What is made of recorded clips: mixtures with each other and with noise, other sample rates."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import soundfile
import soxr

from mini_superb.clip import SAMPLE_RATE
from mini_superb.sound import NOISES

_CEILING = 0.95  # no sample is louder


def read(path: Path, dtype: str = "float64") -> np.ndarray:
    """Return a clip at 16 kHz as (N,) floats."""
    wave, rate = soundfile.read(path, dtype=dtype)
    assert rate == SAMPLE_RATE, f"{path}: {rate} Hz"
    return np.asarray(wave)


def write(path: Path, wave: np.ndarray, rate: int = SAMPLE_RATE) -> None:
    """Write (N,) floats as 16-bit WAV, or in the format of the suffix; ValueError if it fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        soundfile.write(path, wave, rate)
    except soundfile.SoundFileError as error:
        raise ValueError(f"cannot write {path}: {error}; is there room on the disk?") from error


def convert(clips: Iterable[Path], rate: int, suffix: str = ".wav") -> None:
    """Bring WAV clips from 16 kHz to ``rate`` Hz, and with ``suffix`` ".mp3" to that format."""

    def one(clip: Path) -> None:
        wave = soxr.resample(read(clip, "float32"), SAMPLE_RATE, rate)
        target = clip.with_suffix(suffix)
        write(target, np.clip(wave, -1, 1), rate)
        if target != clip:
            clip.unlink()

    with ThreadPoolExecutor() as pool:
        list(pool.map(one, clips))


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
