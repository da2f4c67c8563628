"""One utterance in, one waveform out: decoding, mixing down, resampling, normalising."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import lhotse
import numpy as np
import soundfile
import soxr
from lhotse.cut import Cut, MonoCut, MultiCut

from mt4ssl_core.config import HOP, SAMPLE_RATE, WINDOW
from mt4ssl_core.data import ffmpeg_audio
from mt4ssl_core.data.containers import check_regular, claimed_and_present, finished
from mt4ssl_core.data.cut_sources import check_shell, file_sources
from mt4ssl_core.data.shards.tar_members import read_member

MIN_SAMPLES = WINDOW  # of which the encoder makes one frame
SUFFIXES = {".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".aif", ".aifc", ".aiff", ".au"}
SUFFIXES |= {".caf", ".nist", ".rf64", ".sph", ".w64", ".wave", ".bwf", ".wavex", ".snd"}
SUFFIXES |= {".mp1", ".mp2", ".mpga", ".ircam", ".paf", ".pvf", ".svx", ".8svx", ".voc"}
RATES = (4_000, 768_000)  # Hz: what can hold speech, up to what recorders do
MAX_CHANNELS = 128
MAX_HOURS = 4  # of one utterance: all of it has to be in memory
SPAN = "shar_span"  # custom field of a cut: [offset, size] of its encoded audio in the tar file
_UNKNOWN = 1 << 62  # libsndfile's frame count where a header has none
_BLOCK = 1 << 24  # samples, of all channels, that are decoded at once

T = TypeVar("T")


def read_header(path: str | Path) -> tuple[int, int, int]:
    """Return (sampling rate, channels, samples per channel) of a file.

    Only its header is read, unless that leaves the length open: then all of it is decoded.

    Raises ValueError naming the file: unreadable, cut short, without samples, longer than
    `MAX_HOURS`, or of a rate or channel count that is none of speech.
    """
    rate, channels, frames = reading_audio(str(path), lambda: _header(path))
    if frames <= 0:
        raise ValueError(f"{path}: holds no samples; replace or remove it")
    return rate, channels, frames


def load_wave(source: str | Path | Cut) -> np.ndarray:
    """Return the whole utterance as (N,) float32, mono at 16 kHz, not normalised.

    ``source`` is a file or a lhotse cut. Channels are averaged (of a cut: those it names); other
    rates are resampled with soxr HQ. Cuts of plain files and of Shar folders are decoded here,
    everything else that lhotse can describe in files (mixes, transforms) by lhotse.

    Raises ValueError naming the file: what `read_header` refuses, missing, truncated, NaN or
    infinite samples, too large for the memory, or more than one frame longer or shorter than the
    cut says.
    """
    name = audio_name(source)
    wave, decoded, rate = reading_audio(name, lambda: _resampled(source))
    if not wave.size:
        raise ValueError(f"{name}: holds no samples; replace or remove it")
    if not np.isfinite(wave).all():
        raise ValueError(f"{name}: has NaN or infinite samples; replace or remove it")
    if isinstance(source, Cut) and abs(len(wave) - num_samples(source)) > HOP:
        raise ValueError(
            f"{name}: has {len(wave)} samples at 16 kHz, but its manifest says "
            f"{num_samples(source)}{own_rate(num_samples(source), decoded, rate)}; "
            "make the manifest again"
        )
    return np.ascontiguousarray(wave, dtype=np.float32)


def resample(wave: np.ndarray, rate: int) -> np.ndarray:
    """Bring a waveform (N,) from ``rate`` to 16 kHz, with soxr HQ."""
    if rate == SAMPLE_RATE or not wave.size:
        return wave
    return soxr.resample(wave, rate, SAMPLE_RATE, quality="HQ")


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


def length_problem(seconds: float) -> str:
    """Return what is wrong with the length of one utterance, "" if nothing is."""
    if 0 <= seconds <= MAX_HOURS * 3600:
        return ""
    return (
        f"{seconds / 3600:.4g} h are claimed, and one utterance may have {MAX_HOURS} h; cut it "
        "into pieces or correct its length"
    )


def reading_audio(name: str, read: Callable[[], T]) -> T:
    """Return what ``read`` returns; whatever goes wrong in it is a ValueError naming the audio."""
    try:
        return read()
    except FileNotFoundError:
        link = " (a link to nothing)" if Path(name).is_symlink() else ""
        raise ValueError(f"{name}: no such file{link}; correct the manifest or the path") from None
    except MemoryError:
        raise ValueError(f"{name}: cannot be read (out of memory); cut it into pieces") from None
    except Exception as error:  # decoders raise all sorts of things over broken files
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise ValueError(f"{name}: cannot be read ({reason}); replace or remove it") from error


def own_rate(listed: int, frames: int, rate: int) -> str:
    """Return a hint if ``listed`` samples of a manifest are ``frames`` at the file's own rate."""
    if rate == SAMPLE_RATE or abs(listed - frames) > 0.001 * frames:
        return ""
    return f", which is its length at its own {rate} Hz (lengths are in samples at 16 kHz)"


def _resampled(source: str | Path | Cut) -> tuple[np.ndarray, int, int]:
    """Return the utterance (N,) at 16 kHz, and the length and rate that it had before."""
    wave, rate = _decode_cut(source) if isinstance(source, Cut) else _decode_file(source)
    decoded = len(wave)
    return resample(wave, rate), decoded, rate


def _header(path: str | Path) -> tuple[int, int, int]:
    """Return rate, channels and samples per channel."""
    check_regular(path)
    if ffmpeg_audio.needed(path):
        samples, rate = ffmpeg_audio.decode_audio(path, MAX_HOURS * 3600)
        _check_format(rate, len(samples))
        return rate, len(samples), samples.shape[1]
    with soundfile.SoundFile(finished(path)) as audio:
        rate, channels, frames = audio.samplerate, audio.channels, audio.frames
        _check_format(rate, channels)
    if frames >= _UNKNOWN:
        return rate, channels, len(_decode_file(path)[0])
    _check_length(frames, rate)
    _check_complete(path, frames, rate)
    return rate, channels, frames


def _check_format(rate: int, channels: int) -> None:
    if not RATES[0] <= rate <= RATES[1]:
        raise ValueError(f"a sampling rate of {rate:,} Hz; expected {RATES[0]:,} to {RATES[1]:,}")
    if not 1 <= channels <= MAX_CHANNELS:
        raise ValueError(f"{channels} channels; expected at most {MAX_CHANNELS}")


def _check_length(frames: int, rate: int) -> None:
    if problem := length_problem(frames / rate):
        raise ValueError(problem)


def _check_complete(file: str | Path | io.BytesIO, frames: int, rate: int) -> None:
    """Raise ValueError when more than a frame (20 ms) of what the header claims is not there."""
    if isinstance(file, io.BytesIO):
        found = claimed_and_present(file)
    else:
        with open(file, "rb") as opened:
            found = claimed_and_present(opened)
    if found is None or found[0] <= found[1]:
        return
    claimed, present = found
    if not present or (claimed - present) / present * frames / rate > HOP / SAMPLE_RATE:
        raise ValueError(f"truncated: {present:,} of {claimed:,} bytes of audio are there")


def _decode_file(
    file: str | Path | io.BytesIO,
    start: float = 0.0,
    duration: float | None = None,
    columns: list[int] | None = None,
) -> tuple[np.ndarray, int]:
    """Return the mean of some channels (N,) float32 from ``start`` on, in s, and the rate."""
    if isinstance(file, str | Path):
        check_regular(file)
        if ffmpeg_audio.needed(file):
            return _decode_with_ffmpeg(file, start, duration, columns)
    opened = file if isinstance(file, io.BytesIO) else finished(file)
    with soundfile.SoundFile(opened) as audio:
        rate, known = audio.samplerate, audio.frames < _UNKNOWN
        _check_format(rate, audio.channels)
        first, longest = round(start * rate), MAX_HOURS * 3600 * rate
        count = longest + 1  # until one knows
        if known or duration is not None:
            count = audio.frames - first if duration is None else round(duration * rate)
            _check_length(count, rate)
        if first:
            audio.seek(first)
        blocks = [_mean(block, columns) for block in _blocks(audio, count, known)]
    samples = np.concatenate(blocks) if blocks else np.zeros(0, np.float32)
    if count > longest:
        _check_length(len(samples), rate)
    elif count - len(samples) > HOP * rate // SAMPLE_RATE:
        raise ValueError(f"truncated: {len(samples)} of {count} samples could be decoded")
    if duration is None:
        _check_complete(file, len(samples), rate)
    return samples, rate


def _blocks(audio: soundfile.SoundFile, count: int, known: bool) -> Iterator[np.ndarray]:
    """Decode up to ``count`` samples per channel, (n, C) float32 at a time."""
    size = max(1, (_BLOCK if known else _BLOCK // 8) // audio.channels)
    while count > 0:
        wanted = min(size, count)
        if known:
            block = audio.read(wanted, dtype="float32", always_2d=True)
        else:
            block = _read_to_the_end(audio, wanted)
        yield block
        count -= wanted
        if len(block) < wanted:
            return


def _read_to_the_end(audio: soundfile.SoundFile, wanted: int) -> np.ndarray:
    """Read where the length is not known: at the end libsndfile fails to seek, after decoding."""
    block = np.full((wanted, audio.channels), np.nan, np.float32)
    try:
        return audio.read(out=block)
    except soundfile.LibsndfileError as error:
        if "seek" not in str(error):
            raise
        empty = np.isnan(block[:, 0])
        return block[: int(empty.argmax()) if empty.any() else wanted]


def _mean(block: np.ndarray, columns: list[int] | None) -> np.ndarray:
    block = block if columns is None else block[:, columns]
    return block[:, 0] if block.shape[1] == 1 else block.mean(axis=1)


def _decode_with_ffmpeg(
    path: str | Path, start: float, duration: float | None, columns: list[int] | None
) -> tuple[np.ndarray, int]:
    samples, rate = ffmpeg_audio.decode_audio(path, MAX_HOURS * 3600)  # (C, N)
    _check_format(rate, len(samples))
    first = round(start * rate)
    end = None if duration is None else first + round(duration * rate)
    return _mean(samples.T[first:end], columns), rate


def _decode_cut(cut: Cut) -> tuple[np.ndarray, int]:
    """Return the samples (N,) float32 of a cut and its sampling rate."""
    path = _plain_file(cut)
    if path is None:
        _check_sources(cut)
        return _mean(np.atleast_2d(cut.load_audio()).T, None), cut.sampling_rate
    whole = cut.start == 0 and cut.duration == cut.recording.duration
    file: str | io.BytesIO = path
    if span := _span(cut):
        file = io.BytesIO(read_member(path, *span))
    stored = cut.recording.sources[0].channels
    wanted = [cut.channel] if isinstance(cut.channel, int) else list(cut.channel)
    columns = [stored.index(channel) for channel in wanted] if set(wanted) != set(stored) else None
    return _decode_file(file, cut.start, None if whole else cut.duration, columns)


def _check_sources(cut: Cut) -> None:
    """Raise unless all that lhotse will open are regular files, without a shell."""
    files = file_sources(cut)
    check_shell(files)
    for file in files:
        check_regular(file)


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
