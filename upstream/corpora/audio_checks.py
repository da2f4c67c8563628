"""Looking at a sample of a corpus's audio files: their sample rate, how long they are."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import soundfile

LOOKED_AT = 20  # files of every split
Item = TypeVar("Item")


def evenly(items: Sequence[Item], count: int = LOOKED_AT) -> list[Item]:
    """Return ``count`` items, evenly spread over all of them; all when there are fewer."""
    step = max(1, len(items) / count)
    return [items[int(k * step)] for k in range(min(count, len(items)))]


def sample_headers(files: Sequence[Path], rate: int, remedy: str) -> tuple[list[str], float]:
    """Read the headers of some of ``files``.

    Returns what is wrong with them (unreadable, or not at ``rate`` Hz), each with ``remedy``, and
    how long all ``files`` are in hours, as far as those headers tell.
    """
    problems, seconds = [], []
    for path in evenly(files):
        try:
            header = soundfile.info(path)
        except (soundfile.SoundFileError, OSError) as error:
            problems.append(f"{path}: not readable as audio ({error}); {remedy}")
            continue
        seconds.append(header.frames / header.samplerate)
        if header.samplerate != rate:
            problems.append(f"{path}: {header.samplerate} Hz, the corpus has {rate} Hz; {remedy}")
    mean = sum(seconds) / len(seconds) if seconds else 0.0
    return problems, mean * len(files) / 3600


def inner(root: Path, *names: str) -> Path:
    """Return the first of the folders ``names`` that ``root`` holds; ``root`` if it holds none."""
    return next((root / name for name in names if (root / name).is_dir()), root)


def name_some(items: Sequence[object], count: int = 3) -> str:
    """Return the first few of ``items`` and how many more there are, for a message."""
    shown = ", ".join(map(str, items[:count]))
    return shown if len(items) <= count else f"{shown} and {len(items) - count} more"
