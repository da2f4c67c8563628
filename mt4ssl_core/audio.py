"""One utterance in, one waveform out: decoding, mixing down, resampling, normalising."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import lhotse
import numpy as np
import soundfile
import soxr
from lhotse.cut import Cut, MonoCut, MultiCut

from mt4ssl_core.config import HOP, SAMPLE_RATE, WINDOW

MIN_SAMPLES = WINDOW  # of which the encoder makes one frame
SUFFIXES = {".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".aif", ".aifc", ".aiff", ".au"}
SUFFIXES |= {".caf", ".nist", ".rf64", ".sph", ".w64"}
SPAN = "shar_span"  # custom field of a cut: [offset, size] of its encoded audio in the tar file

T = TypeVar("T")


def probe(path: str | Path) -> tuple[int, int, int]:
    """Return (sampling rate, channels, samples per channel) from a file's header.

    Raises ValueError naming the file when it cannot be read or holds no samples.
    """
    info = _reading(str(path), lambda: soundfile.info(str(path)))
    if info.frames <= 0:
        raise ValueError(f"{path}: holds no samples; replace or remove it")
    return info.samplerate, info.channels, info.frames


def load_wave(source: str | Path | Cut) -> np.ndarray:
    """Return the whole utterance as (N,) float32, mono at 16 kHz, not normalised.

    ``source`` is a file or a lhotse cut. Channels are averaged (of a cut: those it names); other
    rates are resampled with soxr HQ. Cuts of plain files and of Shar folders are decoded here,
    everything else that lhotse can describe (mixes, pipes, transforms) by lhotse.

    Raises ValueError naming the file: missing, unreadable, truncated, without samples, NaN or
    infinite samples, or more than one frame longer or shorter than the cut says.
    """
    name = audio_name(source)
    decode = _decode_cut if isinstance(source, Cut) else _decode_file
    audio, rate = _reading(name, lambda: decode(source))  # (N, C)
    wave = audio[:, 0] if audio.shape[1] == 1 else audio.mean(axis=1)  # (N,)
    if not wave.size:
        raise ValueError(f"{name}: holds no samples; replace or remove it")
    if not np.isfinite(wave).all():
        raise ValueError(f"{name}: has NaN or infinite samples; replace or remove it")
    if rate != SAMPLE_RATE:
        wave = soxr.resample(wave, rate, SAMPLE_RATE, quality="HQ")
    if isinstance(source, Cut) and abs(len(wave) - num_samples(source)) > HOP:
        raise ValueError(
            f"{name}: has {len(wave)} samples at 16 kHz, but its manifest says "
            f"{num_samples(source)}; make the manifest again"
        )
    return np.ascontiguousarray(wave, dtype=np.float32)


def normalize(wave: np.ndarray) -> np.ndarray:
    """Bring a waveform (N,) to zero mean and unit variance: (x - mean) / sqrt(var + 1e-5)."""
    mean, variance = wave.mean(dtype=np.float64), wave.var(dtype=np.float64)
    return ((wave - mean) / np.sqrt(variance + 1e-5)).astype(np.float32)


def num_samples(cut: Cut) -> int:
    """Return how long a cut is according to its manifest, in samples at 16 kHz."""
    return round(cut.duration * SAMPLE_RATE)


def audio_name(source: str | Path | Cut) -> str:
    """Return what a message calls this audio: its file if it has just one, else the cut's id."""
    if not isinstance(source, Cut):
        return str(source)
    path = _plain_file(source)
    if path is None:
        return f"cut {source.id}"
    whole = source.start == 0 and source.duration == source.recording.duration
    return path if whole and not _span(source) else f"{path} (cut {source.id})"


def _reading(name: str, read: Callable[[], T]) -> T:
    """Return what ``read`` returns; whatever goes wrong in it is a ValueError naming the audio."""
    try:
        return read()
    except FileNotFoundError:
        raise ValueError(f"{name}: no such file; correct the manifest or the path") from None
    except Exception as error:  # decoders raise all sorts of things over broken files
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise ValueError(f"{name}: cannot be read ({reason}); replace or remove it") from error


def _decode_file(file: str | Path | io.BytesIO, start: float = 0.0, duration: float | None = None):
    """Return the audio (N, C) float32 from ``start`` on, in seconds, and its sampling rate."""
    if isinstance(file, str | Path) and not Path(file).exists():
        raise FileNotFoundError(file)
    with soundfile.SoundFile(file if isinstance(file, io.BytesIO) else str(file)) as audio:
        rate, first = audio.samplerate, round(start * audio.samplerate)
        count = audio.frames - first if duration is None else round(duration * rate)
        if first:
            audio.seek(first)
        samples = audio.read(count, dtype="float32", always_2d=True)  # (N, C)
    if count - len(samples) > HOP * rate // SAMPLE_RATE:
        raise ValueError(f"truncated: {len(samples)} of {count} samples could be decoded")
    return samples, rate


def _decode_cut(cut: Cut):
    """Return the audio (N, C) float32 of a cut and its sampling rate."""
    path = _plain_file(cut)
    if path is None:
        return np.atleast_2d(cut.load_audio()).T, cut.sampling_rate
    whole = cut.start == 0 and cut.duration == cut.recording.duration
    file: str | io.BytesIO = path
    if span := _span(cut):
        with open(path, "rb") as archive:
            archive.seek(span[0])
            file = io.BytesIO(archive.read(span[1]))
    samples, rate = _decode_file(file, cut.start, None if whole else cut.duration)
    stored = cut.recording.sources[0].channels
    wanted = [cut.channel] if isinstance(cut.channel, int) else list(cut.channel)
    if set(wanted) != set(stored):
        samples = samples[:, [stored.index(channel) for channel in wanted]]
    return samples, rate


def _plain_file(cut: Cut) -> str | None:
    """Return the one file that holds the cut's audio as it is; None if there is no such file."""
    if not isinstance(cut, MonoCut | MultiCut) or not cut.has_recording:
        return None
    recording: lhotse.Recording = cut.recording
    sources = recording.sources
    if recording.transforms or len(sources) != 1 or sources[0].type != "file":
        return None
    return str(sources[0].source)


def _span(cut: Cut) -> tuple[int, int] | None:
    return (cut.custom or {}).get(SPAN)
