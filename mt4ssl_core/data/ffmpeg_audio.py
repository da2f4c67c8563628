"""Audio that libsndfile cannot decode (m4a, webm, wma, ...), through torchcodec if it is there."""

import importlib
from functools import cache
from pathlib import Path

import numpy as np

SUFFIXES = {".m4a", ".m4b", ".aac", ".mp4", ".m4v", ".mov", ".3gp", ".3g2", ".webm", ".mka", ".mkv"}
SUFFIXES |= {".wma", ".asf", ".wmv", ".amr", ".awb", ".ac3", ".eac3", ".dts", ".ape", ".wv", ".tta"}
SUFFIXES |= {".tak", ".mpc", ".ra", ".rm", ".spx", ".avi", ".flv", ".mpg", ".mpeg", ".ogv"}
REMEDY = "install torchcodec and FFmpeg, or convert with `ffmpeg -i IN OUT.flac`"


@cache
def available() -> bool:
    """Whether torchcodec can be used: it is installed, and finds FFmpeg's libraries."""
    try:
        importlib.import_module("torchcodec.decoders")
    except Exception:  # it raises RuntimeError where FFmpeg is missing
        return False
    return True


def needed(path: str | Path) -> bool:
    """Whether the suffix of ``path`` is one of these.

    Raises ValueError if it is, and torchcodec cannot be used.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        return False
    if not available():
        raise ValueError(f"libsndfile does not decode {suffix}: {REMEDY}")
    return True


def decode_audio(path: str | Path, seconds: float) -> tuple[np.ndarray, int]:
    """Return the samples (C, N) float32 of at most a little more than ``seconds``, and their rate.

    Raises ValueError when there are more.
    """
    decoder = importlib.import_module("torchcodec.decoders").AudioDecoder(str(path))
    claimed = decoder.metadata.duration_seconds_from_header or 0
    if claimed > seconds:
        raise ValueError(f"{claimed / 3600:.4g} h long, at most {seconds / 3600:g} h can be used")
    samples = decoder.get_all_samples()
    return samples.data.numpy(), int(samples.sample_rate)
