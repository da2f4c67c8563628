"""Readers of alignments: TextGrid, CTM, TIMIT and mini_superb files."""

import codecs
import json
import os
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from analysis.labelled_speech import alignments, textgrid
from analysis.labelled_speech.alignments import PHONES, WORDS, Alignment, Interval, Row, parts
from mt4ssl_core.config import SAMPLE_RATE

_LIMIT = 1 << 31  # bytes of a file: alignments of 2,000 hours in a CTM
OVERLAP = 0.01  # seconds that neighbours may overlap: times are often rounded to 10 ms


def read(path: str | Path, overlap: float = OVERLAP) -> dict[str, Alignment]:
    """Read one alignment file, or all in a folder and its subfolders: id -> alignment.

    By suffix: .TextGrid, .phn and .wrd (one utterance; its id is the path without the suffix,
    relative to the folder), .ctm (of phones if its name has "phone" in it, else of words) and
    mini_superb's .jsonl (many). ``overlap``: seconds.

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
        if file.suffix.lower() == ".wrd" and sibling(file, ".phn"):
            continue  # read with its phones
        name = file.relative_to(path).with_suffix("").as_posix()
        for id, alignment in _lenient(file, name, overlap).items():
            found[id] = _both(found[id], alignment) if id in found else alignment
    if not any(alignment.tiers for alignment in found.values()):
        first = next(iter(found.values()))
        raise ValueError(next(iter(first.broken.values()), f"{path}: alignments without tiers"))
    return found


def _lenient(path: Path, id: str, overlap: float) -> dict[str, Alignment]:
    """What a file holds; of one utterance that cannot be read, why."""
    try:
        return _file(path, id, overlap)
    except ValueError as error:
        if path.suffix.lower() in _OF_MANY:
            raise
        return {id: Alignment(id, {}, None, str(path), {"": str(error)})}


def _both(one: Alignment, other: Alignment) -> Alignment:
    """Tiers of two files, such as CTMs of phones and of words."""
    if {*one.tiers, *one.broken} & {*other.tiers, *other.broken}:
        raise ValueError(f"{one.id} is in {one.source} and in {other.source}; keep one of the two")
    duration = other.duration if one.duration is None else one.duration
    source, broken = f"{one.source}, {other.source}", {**one.broken, **other.broken}
    return Alignment(one.id, {**one.tiers, **other.tiers}, duration, source, broken)


def _kinds() -> str:
    return ", ".join(_READERS)


def _file(path: Path, id: str, overlap: float) -> dict[str, Alignment]:
    if path.suffix.lower() not in _READERS:
        raise ValueError(f"{path}: unknown kind of alignment; give one of {_kinds()}")
    return _READERS[path.suffix.lower()](path, id, overlap)


def _text(path: Path) -> str:
    """A text file in UTF-8 or UTF-16, with or without byte order mark."""
    if path.exists() and not path.is_file():
        raise ValueError(f"{path}: not a file; give an alignment file")
    try:
        if path.stat().st_size > _LIMIT:
            raise ValueError(f"{path}: larger than {_LIMIT:,} bytes; split it")
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


def read_textgrid(path: str | Path, id: str | None = None, overlap: float = OVERLAP) -> Alignment:
    """Read all interval tiers of a Praat TextGrid (long or short form, UTF-8 or UTF-16).

    Empty intervals are gaps; tiers of points are left out.

    Raises:
        ValueError: not a TextGrid, or one with something missing.
    """
    path = Path(path)
    tiers, end = textgrid.parse(_text(path), path)
    return _alignment(id or path.stem, tiers, end, str(path), overlap)


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
        id: _alignment(id, {tier: found}, None, str(path), overlap) for id, found in rows.items()
    }


def read_timit(path: str | Path, id: str | None = None, overlap: float = OVERLAP) -> Alignment:
    """Read TIMIT's .phn and .wrd (start, end in samples at 16 kHz, label) of one utterance.

    ``path`` is one of the two; the other is read when it is there. One that cannot be read is in
    ``broken``, and does not cost the other.
    """
    path = Path(path)
    found = []
    for tier, suffix in ((PHONES, ".phn"), (WORDS, ".wrd")):
        file = path if path.suffix.lower() == suffix else sibling(path, suffix)
        if file:
            found.append(_timit_tier(file, tier, id or path.stem, overlap))
    return found[0] if len(found) == 1 else _both(*found)


def _timit_tier(path: Path, tier: str, id: str, overlap: float) -> Alignment:
    try:
        return _alignment(id, {tier: _timit_rows(path)}, None, str(path), overlap)
    except ValueError as error:
        return Alignment(id, {}, None, str(path), {tier: str(error)})


def sibling(path: Path, suffix: str) -> Path | None:
    """The file of the same name with another suffix, in small or capital letters, if any."""
    wanted = path.with_suffix(suffix)
    if wanted.is_file():
        return wanted
    there = _by_lower_name(path.parent, path.parent.stat().st_mtime_ns)
    return there.get(wanted.name.lower())


@lru_cache(maxsize=4)
def _by_lower_name(folder: Path, changed: int) -> dict[str, Path]:
    """The files of a folder by their names in small letters, as long as it does not change."""
    return {entry.name.lower(): Path(entry) for entry in os.scandir(folder) if entry.is_file()}


def _timit_rows(path: Path) -> list[Row]:
    rows = []
    for number, line in enumerate(_text(path).splitlines(), 1):
        if not line.strip():
            continue
        try:
            start, end, label = line.split()
            rows.append((int(start) / SAMPLE_RATE, int(end) / SAMPLE_RATE, label))
        except (ValueError, OverflowError) as error:
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
            id = "/".join(parts(entry["path"]))
            phones = [(float(start), str(label)) for start, label in entry["phones"]]
            ends = [start for start, _ in phones[1:]] + [float(entry["end"])]
            duration = entry["samples"] / SAMPLE_RATE
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            raise ValueError(
                f"{path}, line {number}: expected path, samples, phones and end as `python -m "
                f"mini_superb` writes them ({error!r}); make the corpus again"
            ) from error
        rows = [(start, end, label) for (start, label), end in zip(phones, ends, strict=False)]
        found[id] = _alignment(id, {PHONES: rows}, duration, str(path), 0.0)
    return found


_READERS: dict[str, Callable[[Path, str, float], dict[str, Alignment]]] = {
    ".textgrid": lambda path, id, overlap: {id: read_textgrid(path, id, overlap)},
    ".ctm": lambda path, id, overlap: read_ctm(path, _ctm_tier(path), overlap=overlap),
    ".phn": lambda path, id, overlap: {id: read_timit(path, id, overlap)},
    ".wrd": lambda path, id, overlap: {id: read_timit(path, id, overlap)},
    ".jsonl": lambda path, id, overlap: read_mini_superb(path),
}


_OF_MANY = (".ctm", ".jsonl")  # utterances


def _ctm_tier(path: Path) -> str:
    """A CTM does not say what it is of, but for its name: phones.ctm, train_phone.ctm."""
    return PHONES if "phone" in path.stem.lower() else WORDS


def _alignment(
    id: str,
    tiers: Mapping[str, Sequence[Row]],
    duration: float | None,
    source: str,
    overlap: float,
) -> Alignment:
    """The tiers that are as an `Alignment` has them; of the others, what is wrong."""
    kept, wrong = {}, {}
    for name, rows in tiers.items():
        intervals = _intervals(rows, overlap)
        try:
            alignments.check(intervals, duration, f"{source}: {id}: tier {name}")
            kept[name] = intervals
        except ValueError as error:
            wrong[name] = str(error)
    return Alignment(id, kept, duration, source, wrong)


def _intervals(rows: Sequence[Row], overlap: float) -> tuple[Interval, ...]:
    """Rows by their start, without empty ones; where two overlap by up to ``overlap`` the first is
    cut.
    """
    some = sorted((row for row in rows if row[2] and row[0] != row[1]), key=lambda row: row[0])
    kept = [Interval(*row) for row in some]
    for i, after in enumerate(kept[1:]):
        if 0 < kept[i].end - after.start <= overlap + 1e-9:
            kept[i] = kept[i]._replace(end=after.start)
    return tuple(item for item in kept if item.start != item.end)
