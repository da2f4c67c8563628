"""The audio of an utterance as the bytes of a file, for a shard."""

import io
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
from lhotse.cut import Cut

from mt4ssl_core.config import SAMPLE_RATE
from mt4ssl_core.data.audio import SUFFIXES, audio_name, load_wave
from mt4ssl_core.data.containers import finished

_KINDS = {"flac": ("FLAC", "PCM_16"), "wav": ("WAV", "PCM_16"), "opus": ("OGG", "OPUS")}
_FULL_SCALE = 1 << 15


class Encoded(NamedTuple):
    """The bytes of a file, its suffix, how many samples at 16 kHz it has, and whether some of them
    were louder than 16 bits can hold.
    """

    content: bytes
    suffix: str
    samples: int
    clipped: bool = False


def encoded(cut: Cut, format: str) -> Encoded:
    """Return the audio of a cut as a file of 16 kHz mono.

    ``format``: flac and wav (16 bits: without loss, if the audio has no more), opus, or as-is (the
    file's own bytes, of any rate and number of channels). All is decoded, whatever the format.

    Raises:
        ValueError: naming the file: what `load_wave` refuses; of as-is: a part of a file, or a kind
            that libsndfile does not decode.
    """
    wave = load_wave(cut)
    if format == "as-is":
        content, suffix = _own_bytes(cut)
        return Encoded(content, suffix, len(wave))
    container, subtype = _KINDS[format]
    buffer = io.BytesIO()
    rounded, clipped = _rounded(wave) if subtype == "PCM_16" else (wave, False)
    try:
        soundfile.write(buffer, rounded, SAMPLE_RATE, format=container, subtype=subtype)
    except soundfile.SoundFileError as error:
        raise ValueError(f"{audio_name(cut)}: cannot be written as {format} ({error})") from None
    return Encoded(buffer.getvalue(), format, len(wave), clipped)


def _rounded(wave: np.ndarray) -> tuple[np.ndarray, bool]:
    """Return 16-bit integers, those that a 16-bit file had, and whether some were too loud."""
    whole = np.rint(wave * _FULL_SCALE)
    kept = np.clip(whole, -_FULL_SCALE, _FULL_SCALE - 1)
    return kept.astype(np.int16), bool((np.abs(whole - kept) > 1).any())


def _own_bytes(cut: Cut) -> tuple[bytes, str]:
    name = audio_name(cut)
    suffix = os.path.splitext(name)[1].lower()
    whole = Path(name).is_file()  # of others it is no file's name
    if not whole or suffix not in SUFFIXES or not _all_channels(cut):
        raise ValueError(f"{name}: cannot be kept as it is; give --format flac")
    opened = finished(name)
    if isinstance(opened, io.BytesIO):
        return opened.getvalue(), suffix[1:]
    with open(name, "rb") as file:
        return file.read(), suffix[1:]


def _all_channels(cut: Cut) -> bool:
    wanted = [cut.channel] if isinstance(cut.channel, int) else cut.channel
    return sorted(wanted) == sorted(cut.recording.sources[0].channels)
