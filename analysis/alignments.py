"""When each phone and word was said: TextGrid, CTM, TIMIT and mini_superb files, as frame labels.

Every reader gives the same record. Its intervals become one label per encoder frame: frame i covers
samples [320 i, 320 i + 400) at 16 kHz, and has the label said at its centre, sample 320 i + 200.
"""

import codecs
import difflib
import json
import math
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from mt4ssl_core.audio import SUFFIXES
from mt4ssl_core.config import HOP, SAMPLE_RATE, WINDOW
from mt4ssl_core.mfcc import num_frames

PHONES, WORDS = "phones", "words"  # tiers of CTM, TIMIT and mini_superb; a TextGrid names its own
UNLABELLED = ""  # of a frame where nothing is said, as in a TextGrid
OVERLAP = 0.01  # seconds that neighbours may overlap: times are often rounded to 10 ms
LENGTH = 0.04  # seconds that an alignment may be longer or shorter than its audio: two frames

Row = tuple[float, float, str]  # start, end, label


class Interval(NamedTuple):
    """A label and when it is said, in seconds."""

    start: float
    end: float
    label: str


@dataclass(frozen=True)
class Alignment:
    """What was said when in one utterance: tier -> intervals, ascending, with gaps between them.

    ``duration``: seconds of the audio, where the file says so. ``source``: the file, for messages.

    Raises:
        ValueError: intervals that end before they begin, overlap, or lie outside the audio.
    """

    id: str
    tiers: Mapping[str, tuple[Interval, ...]]
    duration: float | None
    source: str

    def __post_init__(self) -> None:
        """Check every interval."""
        for name, intervals in self.tiers.items():
            where = f"{self.source}: {self.id}: tier {name}"
            last = Interval(0.0, 0.0, "the start of the audio")
            for item in intervals:
                if not 0 <= item.start < item.end < math.inf:
                    raise ValueError(
                        f"{where}: {_told(item)}, expected 0 <= start < end; correct the file"
                    )
                if item.start < last.end:
                    raise ValueError(
                        f"{where}: {_told(last)} and {_told(item)} overlap by "
                        f"{last.end - item.start:.3f} s, expected one label at a time; correct the "
                        "file, or read it with a larger overlap="
                    )
                last = item
            if self.duration is not None and last.end > self.duration + LENGTH:
                raise ValueError(
                    f"{where}: {_told(last)}, but the file says {self.duration:.3f} s of audio; "
                    "align it again"
                )

    def tier(self, name: str) -> tuple[Interval, ...]:
        """Return the intervals of a tier.

        Raises:
            ValueError: there is none of that name; lists those there are.
        """
        if name not in self.tiers:
            near = difflib.get_close_matches(name, self.tiers, 1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            there = ", ".join(map(repr, self.tiers)) or "none with intervals"
            raise ValueError(
                f"{self.source}: {self.id}: no tier {name!r}; {hint}choose from {there}"
            )
        return self.tiers[name]


def _told(item: Interval) -> str:
    return f"{item.label!r} ({item.start:.3f} to {item.end:.3f} s)"


def _intervals(rows: Iterable[Row], overlap: float) -> tuple[Interval, ...]:
    """Rows in order, without empty ones; where two overlap by up to ``overlap`` the first is cut.

    What is wrong beyond that is left for :class:`Alignment` to refuse.
    """
    kept = [Interval(start, end, label) for start, end, label in rows if label and start != end]
    for i, after in enumerate(kept[1:]):
        if 0 < kept[i].end - after.start <= overlap + 1e-9:
            kept[i] = kept[i]._replace(end=after.start)
    return tuple(item for item in kept if item.start != item.end)


# --- Frames -------------------------------------------------------------------------------------


def frame_centres(num_samples: int) -> np.ndarray:
    """The time (s) of the centre of each frame of N samples at 16 kHz: (T,), 50 per second."""
    return (np.arange(num_frames(num_samples)) * HOP + WINDOW // 2) / SAMPLE_RATE


def segments(
    alignment: Alignment, tier: str, num_samples: int, tolerance: float = LENGTH
) -> list[tuple[str, int, int]]:
    """Frames of every interval of a tier, as (label, first, stop): centres in [start, end).

    An interval between two centres has none: first == stop. Features (T, D) of a word are
    ``features[first:stop]``.

    Raises:
        ValueError: there is no such tier, or the alignment is not of audio of N samples (16 kHz).
    """
    intervals = alignment.tier(tier)
    seconds = num_samples / SAMPLE_RATE
    end = intervals[-1].end if intervals else 0.0
    said = alignment.duration
    if (said is not None and abs(said - seconds) > tolerance) or end > seconds + tolerance:
        length = f"ends at {end:.3f} s" if said is None else f"is of {said:.3f} s of audio"
        raise ValueError(
            f"{alignment.source}: {alignment.id}: {length}, but the audio has {seconds:.3f} s "
            f"({num_samples} samples at 16 kHz; up to {tolerance:g} s may differ); give the audio "
            "that was aligned, or align this"
        )
    centres = frame_centres(num_samples)
    first = np.searchsorted(centres, [item.start for item in intervals])
    stop = np.searchsorted(centres, [item.end for item in intervals])
    labels = [item.label for item in intervals]
    return list(zip(labels, first.tolist(), stop.tolist(), strict=True))


def frame_labels(
    alignment: Alignment,
    tier: str,
    num_samples: int,
    leave_out: Collection[str] = (),
    tolerance: float = LENGTH,
) -> np.ndarray:
    """One label per frame: (T,) of str, ``UNLABELLED`` in gaps and where it is in ``leave_out``.

    Files differ in how they write silence: TIMIT labels it (h#, pau, epi), a TextGrid leaves it
    empty, mini_superb has "_" for pauses and nothing before and after the speech.

    Raises:
        ValueError: as :func:`segments`.
    """
    labels = np.full(num_frames(num_samples), UNLABELLED, dtype=object)  # (T,)
    for label, first, stop in segments(alignment, tier, num_samples, tolerance):
        if label not in leave_out:
            labels[first:stop] = label
    return labels.astype(str)


def label_ids(labels: Sequence[str] | np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Number labels by their place in ``names``: (T,) int64, -1 for ``UNLABELLED``.

    Raises:
        ValueError: a label that is not in ``names``.
    """
    places = {name: place for place, name in enumerate(names)} | {UNLABELLED: -1}
    unknown = sorted({str(label) for label in labels} - places.keys())
    if unknown:
        raise ValueError(
            f"labels {', '.join(map(repr, unknown[:5]))} are not among the {len(names)} names; "
            "take the names from all utterances, or leave these labels out"
        )
    return np.array([places[str(label)] for label in labels], dtype=np.int64)


def unstressed(label: str) -> str:
    """Drop the stress of an IPA phone (ˈæ) or an ARPAbet vowel (AE1)."""
    bare = re.sub("[\u02c8\u02cc]", "", label) or label
    return bare[:2] if re.fullmatch("[A-Z]{2}[0-2]", bare) else bare


# --- Files --------------------------------------------------------------------------------------


def read(path: str | Path, overlap: float = OVERLAP) -> dict[str, Alignment]:
    """Read one alignment file, or all in a folder and its subfolders: id -> alignment.

    By suffix: .TextGrid, .phn and .wrd (one utterance; its id is the path without the suffix,
    relative to the folder), .ctm and mini_superb's .jsonl (many). ``overlap``: seconds.

    Raises:
        ValueError: nothing to read, a broken file, an id twice.
    """
    path = Path(path)
    if not path.is_dir():
        return _file(path, path.stem, overlap)
    found: dict[str, Alignment] = {}
    files = sorted(
        item for item in path.rglob("*") if item.suffix.lower() in _READERS and item.is_file()
    )
    if not files:
        raise ValueError(f"{path}: no alignments (looked for {_kinds()}); give another folder")
    for file in files:
        if file.suffix.lower() == ".wrd" and _sibling(file, ".phn"):
            continue  # read with its phones
        name = file.relative_to(path).with_suffix("").as_posix()
        for id, alignment in _file(file, name, overlap).items():
            if id in found:
                raise ValueError(
                    f"{id} is in {found[id].source} and in {file}; keep one of the two"
                )
            found[id] = alignment
    return found


def _kinds() -> str:
    return ", ".join(_READERS)


def _file(path: Path, id: str, overlap: float) -> dict[str, Alignment]:
    if path.suffix.lower() not in _READERS:
        raise ValueError(f"{path}: unknown kind of alignment; give one of {_kinds()}")
    return _READERS[path.suffix.lower()](path, id, overlap)


def match(alignments: Mapping[str, Alignment], ids: Iterable[str]) -> dict[str, Alignment]:
    """Find the alignment of each utterance: utterance id -> alignment.

    Ids agree when one is the end of the other, by whole folders and without the suffix of audio:
    "dev/84/84-1.flac" has "84-1" (a CTM), "84/84-1" (a folder of TextGrids) or "pr/dev/84/84-1".

    Raises:
        ValueError: an utterance with no alignment, or with several.
    """
    by_name: dict[str, list[str]] = {}
    for id in alignments:
        by_name.setdefault(_parts(id)[-1], []).append(id)
    found = {}
    for id in ids:
        parts = _parts(id)
        near = by_name.get(parts[-1], [])
        fits = [key for key in near if _ends_alike(parts, _parts(key))]
        exact = [key for key in fits if _parts(key) == parts]
        if len(exact or fits) != 1:
            what = f"{len(fits)} alignments ({', '.join(fits[:3])})" if fits else "no alignment"
            some = ", ".join(near[:3] or list(alignments)[:3])
            raise ValueError(
                f"{id}: {what} among {len(alignments)} such as {some}; name alignments as the "
                "audio, or leave the utterance out"
            )
        found[id] = alignments[(exact or fits)[0]]
    return found


def _parts(id: str) -> tuple[str, ...]:
    path = PurePosixPath(id)
    return (path.with_suffix("") if path.suffix.lower() in SUFFIXES else path).parts or (id,)


def _ends_alike(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    size = min(len(one), len(other))
    return one[-size:] == other[-size:]


def _text(path: Path) -> str:
    """A text file in UTF-8 or UTF-16, with or without byte order mark."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}; give an alignment file") from error
    encoding = "utf-8-sig"
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    elif b"\0" in data[:2]:
        encoding = "utf-16-be" if data[0] == 0 else "utf-16-le"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path}: byte {error.start} is not {encoding}, expected UTF-8 or UTF-16; save the "
            "file as UTF-8"
        ) from error


# Praat reads strings, numbers and <flags> that stand alone, and takes all else for comments: long
# and short files are the same to it.
_TOKENS = re.compile(
    r'"((?:[^"]|"")*)"|<(exists|absent)>|(?<!\S)([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)(?!\S)'
    r"|(?<!\S)!.*"
)


def read_textgrid(path: str | Path, id: str | None = None, overlap: float = OVERLAP) -> Alignment:
    """Read all interval tiers of a Praat TextGrid (long or short form, UTF-8 or UTF-16).

    Empty intervals are gaps; tiers of points are left out.

    Raises:
        ValueError: not a TextGrid, or one with something missing.
    """
    path = Path(path)
    tokens = _tokens(_text(path))
    if [next(tokens, None), next(tokens, None)][1] != "TextGrid":
        raise ValueError(f"{path}: not a TextGrid in text form; save it in Praat as a text file")
    try:
        begin, end = _number(next(tokens)), _number(next(tokens))
        tiers: dict[str, tuple[Interval, ...]] = {}
        for _ in range(_tier_count(tokens)):
            kind, name = _string(next(tokens)), _string(next(tokens))
            _, _, size = next(tokens), next(tokens), int(_number(next(tokens)))
            if kind == "IntervalTier":
                rows = [_row(tokens) for _ in range(size)]
                if name in tiers:
                    raise ValueError(f"{path}: two tiers are named {name!r}; rename one")
                tiers[name] = _intervals(rows, overlap)
            else:
                for _ in range(2 * size):  # time and mark
                    next(tokens)
    except (StopIteration, TypeError, OverflowError) as error:
        raise ValueError(
            f"{path}: breaks off, or has text where a number belongs "
            f"({str(error) or 'end of file'}); save it in Praat again"
        ) from error
    if abs(begin) > 1e-6:
        raise ValueError(
            f"{path}: begins at {begin:g} s, expected 0; shift its times to 0 in Praat"
        )
    return Alignment(id or path.stem, tiers, end, str(path))


def _tokens(text: str) -> Iterator[str | float]:
    """Strings (flags as <exists>) and numbers."""
    for found in _TOKENS.finditer(text):
        string, flag, number = found.groups()
        if string is not None:
            yield string.replace('""', '"')
        elif flag is not None:
            yield f"<{flag}>"
        elif number is not None:
            yield float(number)


def _tier_count(tokens: Iterator[str | float]) -> int:
    return int(_number(next(tokens))) if next(tokens) == "<exists>" else 0


def _number(token: str | float) -> float:
    if isinstance(token, str):
        raise TypeError(repr(token))
    return token


def _string(token: str | float) -> str:
    if not isinstance(token, str):
        raise TypeError(f"{token:g}")
    return token


def _row(tokens: Iterator[str | float]) -> Row:
    start, end, label = _number(next(tokens)), _number(next(tokens)), _string(next(tokens))
    return 0.0 if abs(start) < 1e-6 else start, end, " ".join(label.split())


def read_ctm(
    path: str | Path, tier: str = WORDS, channel: str | None = None, overlap: float = OVERLAP
) -> dict[str, Alignment]:
    """Read a CTM: lines of utterance, channel, start, duration, label; id -> alignment.

    ``channel`` chooses one of several. Comments (;;) and labels of no duration are left out, what
    follows the label is ignored.

    Raises:
        ValueError: a line that is none, two channels of an utterance and none chosen.
    """
    path = Path(path)
    rows: dict[str, list[Row]] = {}
    channels: dict[str, str] = {}
    for number, line in enumerate(_text(path).splitlines(), 1):
        fields = line.split()
        if not fields or line.startswith(";;"):
            continue
        try:
            id, side, start, seconds, label = fields[:5]
            row = (float(start), float(start) + float(seconds), label)
        except ValueError as error:
            raise ValueError(
                f"{path}, line {number}: {line.strip()!r}, expected utterance, channel, start, "
                "duration and label; correct it"
            ) from error
        if channel not in (None, side):
            continue
        if channels.setdefault(id, side) != side:
            raise ValueError(
                f"{path}, line {number}: {id} has channels {channels[id]} and {side}; choose one "
                "with channel="
            )
        rows.setdefault(id, []).append(row)
    if not rows:
        which = "" if channel is None else f" of channel {channel}"
        raise ValueError(f"{path}: no line{which}; give another file or channel")
    return {
        id: Alignment(id, {tier: _intervals(sorted(found), overlap)}, None, str(path))
        for id, found in rows.items()
    }


def read_timit(path: str | Path, id: str | None = None, overlap: float = OVERLAP) -> Alignment:
    """Read TIMIT's .phn and .wrd (start, end in samples at 16 kHz, label) of one utterance.

    ``path`` is one of the two; the other is read when it is there.

    Raises:
        ValueError: a line that is none.
    """
    path = Path(path)
    tiers = {}
    for tier, suffix in ((PHONES, ".phn"), (WORDS, ".wrd")):
        file = path if path.suffix.lower() == suffix else _sibling(path, suffix)
        if file:
            tiers[tier] = _intervals(_timit_rows(file), overlap)
    return Alignment(id or path.stem, tiers, None, str(path))


def _sibling(path: Path, suffix: str) -> Path | None:
    """The file of the same name with another suffix, in small or capital letters, if any."""
    files = (path.with_suffix(kind) for kind in (suffix, suffix.upper()))
    return next((file for file in files if file.is_file()), None)


def _timit_rows(path: Path) -> list[Row]:
    rows = []
    for number, line in enumerate(_text(path).splitlines(), 1):
        if not line.strip():
            continue
        try:
            start, end, label = line.split()
            rows.append((int(start) / SAMPLE_RATE, int(end) / SAMPLE_RATE, label))
        except ValueError as error:
            raise ValueError(
                f"{path}, line {number}: {line.strip()!r}, expected first sample, last sample and "
                "label; correct it"
            ) from error
    return rows


def read_mini_superb(path: str | Path) -> dict[str, Alignment]:
    """Read a file of mini_superb's ``alignments``: path of the audio without suffix -> alignment.

    It has phones alone. Each lasts until the next, the last until the end of the speech.

    Raises:
        ValueError: a line that is none.
    """
    path = Path(path)
    found = {}
    for number, line in enumerate(_text(path).split("\n"), 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            id = "/".join(_parts(entry["path"]))
            phones = [(float(start), str(label)) for start, label in entry["phones"]]
            ends = [start for start, _ in phones[1:]] + [float(entry["end"])]
            duration = entry["samples"] / SAMPLE_RATE
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{path}, line {number}: expected path, samples, phones and end as `python -m "
                f"mini_superb` writes them ({error!r}); make the corpus again"
            ) from error
        rows = [(start, end, label) for (start, label), end in zip(phones, ends, strict=False)]
        found[id] = Alignment(id, {PHONES: _intervals(rows, 0.0)}, duration, str(path))
    return found


_READERS: dict[str, Callable[[Path, str, float], dict[str, Alignment]]] = {
    ".textgrid": lambda path, id, overlap: {id: read_textgrid(path, id, overlap)},
    ".ctm": lambda path, id, overlap: read_ctm(path, overlap=overlap),
    ".phn": lambda path, id, overlap: {id: read_timit(path, id, overlap)},
    ".wrd": lambda path, id, overlap: {id: read_timit(path, id, overlap)},
    ".jsonl": lambda path, id, overlap: read_mini_superb(path),
}
