"""What ABX compares: stretches of speech with their phone, context and speaker.

From aligned speech, triphones: a phone with the ones before and after it, as in ZeroSpeech. Or from
an .item file, a line per stretch: file, onset, offset (s), phone, phone before, phone after,
speaker.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from analysis.labelled_speech import alignments
from analysis.labelled_speech.alignments import PHONES, SILENCE, unstressed
from analysis.labelled_speech.speech import LabelledUtterance
from mt4ssl_core.data.audio import MAX_HOURS
from mt4ssl_core.files import reading

RATE = 50  # frames per second
_COLUMNS = ("#file", "onset", "offset", "#phone", "prev-phone", "next-phone", "speaker")
_ROUNDING = 1e-6  # of a frame


class Stretch(NamedTuple):
    """Frames [first, stop) of an utterance, and what is said in them."""

    first: int
    stop: int
    phone: str
    context: tuple[str, str]
    speaker: str


@dataclass(frozen=True)
class ItemFile:
    """An .item file: id of a file -> its stretches."""

    path: Path
    stretches: Mapping[str, list[Stretch]]


def frames_between(onset: float, offset: float) -> tuple[int, int]:
    """Frames [first, stop) whose centre, (i + 0.5) / 50 s, is in a stretch.

    As in ABXpy and fastabx. Libri-Light's own code leaves the last of them out.
    """
    first = math.ceil(onset * RATE - 0.5 - _ROUNDING)
    return max(0, first), math.floor(offset * RATE - 0.5 + _ROUNDING) + 1


def triphones(item: LabelledUtterance) -> list[Stretch]:
    """Every phone of an aligned utterance between two others, from the start of the one before to
    the end of the one after; none where there is silence or a gap between them.
    """
    if item.alignment is None or item.speaker is None or PHONES not in item.alignment.tiers:
        return []
    said, found = item.alignment.tier(PHONES), []
    for before, phone, after in zip(said, said[1:], said[2:], strict=False):
        near = phone.start - before.end, after.start - phone.end
        if max(map(abs, near)) > alignments.LENGTH or {before.label, phone.label, after.label} & {
            *SILENCE
        }:
            continue
        first, stop = frames_between(before.start, after.end)
        context = unstressed(before.label), unstressed(after.label)
        found.append(Stretch(first, stop, unstressed(phone.label), context, item.speaker))
    return found


def read_items(path: Path) -> ItemFile:
    """Read an .item file.

    Raises:
        ValueError: not such a file; names the line.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file; give another with --items")
    with reading(path):
        lines = path.read_text(encoding="utf-8").splitlines()
    if not lines or tuple(lines[0].split()) != _COLUMNS:
        raise ValueError(
            f"{path}: no .item file; expected a first line '{' '.join(_COLUMNS)}', as ZeroSpeech's "
            "have; give another with --items"
        )
    found: dict[str, list[Stretch]] = {}
    for number, line in enumerate(lines[1:], 2):
        if words := line.split():
            name, stretch = _stretch(words, f"{path}, line {number}")
            found.setdefault(name, []).append(stretch)
    if not found:
        raise ValueError(f"{path}: no line below the first; give another with --items")
    return ItemFile(path, found)


def _stretch(words: Sequence[str], where: str) -> tuple[str, Stretch]:
    try:
        name, onset, offset, phone, before, after, speaker = words
        times = float(onset), float(offset)
    except ValueError:
        times = math.nan, math.nan
    if not 0 <= times[0] < times[1] <= 3600 * MAX_HOURS:
        raise ValueError(
            f"{where}: {' '.join(words)!r:.200}; expected file, onset < offset in seconds, three "
            "phones and a speaker; correct it"
        )
    first, stop = frames_between(*times)
    if stop <= first:
        raise ValueError(f"{where}: {onset} to {offset} s has no frame of 20 ms; leave it out")
    return name, Stretch(first, stop, phone, (before, after), speaker)
