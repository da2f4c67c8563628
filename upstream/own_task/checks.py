"""What must hold of the clips of a task of one's own before anything is trained on them."""

import itertools
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import soundfile

from mt4ssl_core.bars import Bar
from mt4ssl_core.data.audio import read_header
from upstream.own_task.table import DEV, SPLIT, SPLITS, TEST, TRAIN, VALUES, Problems, Row

_SLACK = 0.01  # seconds that a clip's end may lie behind the end of its file
XVECTOR = 14  # frames that an x-vector's layers take away
_SHOWN = 20  # characters in a message


def check(table: Path, rows: Sequence[Row], kind: str) -> None:
    """See that rows with splits make a task; what is odd about them is said on stderr.

    Raises:
        ValueError: they do not; names the lines.
    """
    problems = Problems(table)
    _repeated(table, rows, problems)
    problems.stop()
    here = {row.split for row in rows}
    if lacking := [split for split in SPLITS if split not in here]:
        enough = "6 speakers" if kind == "verify" else "3 speakers, or 3 files per label,"
        raise ValueError(
            f"{table}: no row is {' or '.join(lacking)}; write train, dev and test into a column "
            f"{SPLIT} (without it, they are made, of {enough} or more)"
        )
    _of_kind[kind](table, rows, problems)
    problems.stop()


def _repeated(table: Path, rows: Sequence[Row], problems: Problems) -> None:
    """Find clips that are there twice, and audio that is tested on and trained on."""
    files = defaultdict[Path, list[Row]](list)
    for row in rows:
        files[row.path.resolve()].append(row)
    chosen_by: list[Row] = []
    for same in files.values():
        same.sort(key=lambda row: (row.start or 0.0, row.line))
        widest = same[0]
        for row in same[1:]:
            if _end(widest) > (row.start or 0.0):
                one, other = sorted((widest, row), key=lambda row: row.line)
                if {one.split, other.split} == {TRAIN, DEV}:
                    chosen_by.append(other)
                else:
                    problems.add(other.line, _twice(one, other))
            widest = max(widest, row, key=_end)
    if chosen_by:
        lines = ", ".join(str(row.line) for row in chosen_by[:_SHOWN])
        print(f"{table}: lines {lines}: trained on, and dev as well", file=sys.stderr)


def _end(row: Row) -> float:
    return float("inf") if row.end is None else row.end


def _twice(one: Row, other: Row) -> str:
    again = f"{other.name} is in line {one.line}, too"
    if one.split != other.split:
        return f"{again}, for {one.split}, here for {other.split}; remove one"
    if one.value != other.value:
        return f"{again}, as {one.value!r:.40}; remove one"
    return f"{again}; remove one"


def _labels(table: Path, rows: Sequence[Row], problems: Problems) -> None:
    trained = {row.value for row in rows if row.split == TRAIN}
    for row in rows:
        if row.value not in trained:
            problems.add(
                row.line,
                f"{VALUES['classify']} {row.value!r} is in {row.split} but not in train; add clips "
                "of it to train, or remove the line",
            )
    problems.stop()
    if len(trained) < 2:
        raise ValueError(
            f"{table}: one label only ({trained.pop()!r}); a classifier needs clips of two or more"
        )


def _texts(table: Path, rows: Sequence[Row], problems: Problems) -> None:
    def units(chosen: Iterable[Row]) -> set[str]:
        return {unit for row in chosen for unit in row.value}

    unseen = units(rows) - units(row for row in rows if row.split == TRAIN)
    _say_unseen(table, "characters", unseen)


def _tokens(table: Path, rows: Sequence[Row], problems: Problems) -> None:
    trained = {token for row in rows if row.split == TRAIN for token in row.value.split()}
    _say_unseen(table, "tokens", {t for row in rows for t in row.value.split()} - trained)


def _say_unseen(table: Path, what: str, unseen: set[str]) -> None:
    if unseen:
        shown = " ".join(sorted(unseen)[:_SHOWN])
        said = f"{table}: {what} that are in dev or test but not in train count as errors: {shown}"
        print(said, file=sys.stderr)


def _speakers(table: Path, rows: Sequence[Row], problems: Problems) -> None:
    of = {split: [row.value for row in rows if row.split == split] for split in SPLITS}
    if len(set(of[TRAIN])) < 2:
        raise ValueError(f"{table}: one speaker only in train; add clips of others")
    for split in (DEV, TEST):
        if len(set(of[split])) == len(of[split]) or len(set(of[split])) < 2:
            raise ValueError(
                f"{table}: {split} needs two speakers, and two clips of one, to compare; add clips"
            )
        if common := sorted(set(of[split]) & set(of[TRAIN])):
            shown = ", ".join(common[:_SHOWN])
            print(
                f"{table}: speakers of {split} that are trained on, too, make it look better than "
                f"it is: {shown}",
                file=sys.stderr,
            )


_of_kind = {"classify": _labels, "ctc": _texts, "tokens": _tokens, "verify": _speakers}


def durations(table: Path, rows: Sequence[Row]) -> list[float]:
    """Look at the header of every file; return the seconds of each clip.

    Raises:
        ValueError: files that are no audio, or clips that end behind their file; names the lines.
    """
    problems, found = Problems(table), list[float]()
    headers: dict[Path, float | str] = {}
    for row in Bar("audio files", len(rows)).over(rows):
        if row.path not in headers:
            headers[row.path] = _length(row.path)
        length = headers[row.path]
        if isinstance(length, str):
            problems.add(row.line, length)
        elif max(row.start or 0.0, (row.end or 0.0) - _SLACK) >= length:
            problems.add(row.line, f"{row.name} has {length:.2f} s; correct start and end")
        else:
            found.append(min(length, row.end or length) - (row.start or 0.0))
    problems.stop()
    return found


def _length(path: Path) -> float | str:
    """Return the seconds of a file, or what is wrong with it."""
    try:
        rate, _, frames = read_header(path)
        soundfile.info(path)  # what reads it later
    except ValueError as error:
        return str(error)
    except soundfile.LibsndfileError as error:
        return f"{path}: cannot be read ({error}); convert it to WAV or FLAC"
    return frames / rate


def fit_frames(
    table: Path, rows: Sequence[Row], seconds: Sequence[float], kind: str, rate: float
) -> None:
    """See that clips are long enough for their head at ``rate`` frames per second.

    Raises:
        ValueError: clips that are shorter; names the lines.
    """
    problems = Problems(table)
    for row, length in zip(rows, seconds, strict=True):
        frames, needed = int(length * rate), _frames_needed(row.value, kind)
        if frames < needed:
            what = f"{len(_units_of(row.value, kind))} {_UNITS.get(kind, '')}"
            why = f"a text of {what} needs {needed}" if kind in _UNITS else f"needs {needed}"
            remedy = "correct it, or remove the line"
            problems.add(row.line, f"{row.name} has {max(frames, 0)} frames, and {why}; {remedy}")
    problems.stop()


_UNITS: Mapping[str, str] = {"ctc": "characters", "tokens": "tokens"}


def _units_of(text: str, kind: str) -> Sequence[str]:
    return text.split() if kind == "tokens" else text


def _frames_needed(value: str, kind: str) -> int:
    if kind not in _UNITS:
        return XVECTOR + 2 if kind == "verify" else 1
    units = [*_units_of(value, kind), ""]  # s3prl's text encoders add an end
    return len(units) + sum(a == b for a, b in itertools.pairwise(units))
