"""The CSV of a task of one's own, read strictly: every row is a clip, or an error that names it.

Columns: ``path`` (relative to the CSV, or absolute), ``label``, ``text`` or ``speaker`` by the kind
of task, ``split`` (train, dev or valid, test), ``speaker`` for every kind, and ``start`` and
``end`` in seconds where a clip is a part of its file. Others are ignored. UTF-8, with or without a
byte-order mark; commas, semicolons or tabs between the fields.
"""

import csv
import difflib
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mt4ssl_core.files import reading, user_path

VALUES = {"classify": "label", "ctc": "text", "tokens": "text", "verify": "speaker"}
PATH, SPLIT, SPEAKER, START, END = "path", "split", "speaker", "start", "end"
TRAIN, DEV, TEST = SPLITS = ("train", "dev", "test")
_SPLIT_NAMES = {**dict(zip(SPLITS, SPLITS, strict=True)), "valid": DEV, "val": DEV}
_SPLIT_NAMES |= {"validation": DEV, "development": DEV, "training": TRAIN, "testing": TEST}
_MEANT = {  # what others call our columns
    PATH: (
        "file",
        "filename",
        "file_name",
        "file_path",
        "audio",
        "audio_path",
        "wav",
        "audio_file",
    ),
    "label": ("class", "category", "emotion", "intent", "target", "command", "keyword"),
    "text": ("transcript", "transcription", "sentence", "utterance", "phones", "words"),
    SPEAKER: ("speaker_id", "spk", "spk_id", "client_id", "person"),
}
_SHOWN = 10  # problems of a table


@dataclass(frozen=True)
class Row:
    """One clip; ``name`` is its path as the table has it."""

    line: int
    name: str
    path: Path
    value: str  # its label, text or speaker
    split: str = ""  # "": the table has no column for it
    speaker: str = ""
    start: float | None = None  # seconds
    end: float | None = None


class Problems:
    """What is wrong with a table, by line, said all at once."""

    def __init__(self, table: Path) -> None:
        self.table, self.found = table, list[tuple[int, str]]()

    def add(self, line: int, what: str) -> None:
        """Note what is wrong with a row."""
        self.found.append((line, what))

    def stop(self) -> None:
        """Go on only if there is nothing.

        Raises:
            ValueError: names the lines.
        """
        if not self.found:
            return
        found = sorted(self.found)
        lines = [f"line {line}: {what}" for line, what in found[:_SHOWN]]
        if len(found) == 1:
            raise ValueError(f"{self.table}: {lines[0]}")
        rest = [f"and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else []
        head = f"{self.table}: {len(found)} problem(s):"
        raise ValueError("\n  ".join([head, *lines, *rest]))


def read(table: str | Path, kind: str) -> list[Row]:
    """Return the clips of a table, in its order; audio is not looked at.

    Raises:
        ValueError: no such file, not a table, a column that is missing, or rows that are wrong;
            names the lines.
    """
    table = user_path(table).absolute()
    value, problems, found = VALUES[kind], Problems(table), list[Row]()
    for line, fields in records(table, [PATH, value], [SPLIT, SPEAKER, START, END]):
        row = _row(table, value, line, fields, problems)
        if row is not None:
            found.append(row)
    problems.stop()
    if not found:
        raise ValueError(f"{table}: no rows below the names of the columns; add a line per clip")
    if len({bool(row.split) for row in found}) > 1:
        first = next(row for row in found if not row.split)
        raise ValueError(
            f"{table}: line {first.line}: no {SPLIT}, which others have; fill the column, or leave "
            "it out to have the splits made"
        )
    return found


def records(
    table: Path, needed: Sequence[str], optional: Sequence[str] = ()
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the line number of each row with its stripped fields by column.

    Raises:
        ValueError: no such file, not UTF-8, a missing or doubled column, or a row with another
            number of fields.
    """
    if not table.is_file():
        raise ValueError(f"{table}: no such file; give a CSV with the columns {', '.join(needed)}")
    with reading(table, "write it as CSV, a line per clip"):
        text = _text(table)
        first = text.split("\n", 1)[0]
        between = max(",;\t", key=first.count)
        lines = csv.reader(io.StringIO(text, newline=""), delimiter=between, strict=True)
        try:
            yield from _records(table, lines, needed, optional)
        except csv.Error as error:
            raise ValueError(
                f"{table}: line {lines.line_num}: {error}; put fields that hold a comma or a "
                'quote into quotes ("), and double the quotes inside'
            ) from None


def _records(
    table: Path, lines: Iterable[list[str]], needed: Sequence[str], optional: Sequence[str]
) -> Iterator[tuple[int, dict[str, str]]]:
    columns: list[str] = []
    for fields in lines:
        line = lines.line_num  # type: ignore[attr-defined]
        if not any(field.strip() for field in fields):
            continue
        if not columns:
            columns = [field.strip().lower() for field in fields]
            _check_columns(table, columns, needed, optional)
        elif len(fields) != len(columns):
            raise ValueError(
                f"{table}: line {line}: {len(fields)} fields, expected {len(columns)} "
                f'({", ".join(columns)}); put fields that hold a comma into quotes (")'
            )
        else:
            yield line, {name: f.strip() for name, f in zip(columns, fields, strict=True)}
    if not columns:
        raise ValueError(f"{table}: empty; the first line names the columns: {', '.join(needed)}")


def _check_columns(
    table: Path, columns: Sequence[str], needed: Sequence[str], optional: Sequence[str]
) -> None:
    known = [*needed, *optional]
    for name in known:
        if columns.count(name) > 1:
            raise ValueError(f"{table}: two columns {name}; leave one out")
    for name in needed:
        if name not in columns:
            others = [column for column in columns if column not in known]
            near = [column for column in others if column in _MEANT.get(name, ())]
            near = near or difflib.get_close_matches(name, others, 1, 0.5)
            hint = f"did you mean {near[0]}? " if near else ""
            raise ValueError(
                f"{table}: no column {name} ({hint}there are {', '.join(columns)}); name the "
                f"columns {', '.join(needed)} in the first line"
            )
    for name in optional:
        near = difflib.get_close_matches(name, [c for c in columns if c not in known], 1, 0.8)
        if name not in columns and near:
            raise ValueError(f"{table}: column {near[0]}: did you mean {name}? rename it")


def _text(table: Path) -> str:
    data = table.read_bytes()
    if data.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in data:
        raise ValueError(f"{table}: UTF-16, or not a text; save it as UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(f"{table}: line {line}: not UTF-8; save the table as UTF-8") from None


def _row(
    table: Path, column: str, line: int, fields: dict[str, str], problems: Problems
) -> Row | None:
    name, value = fields[PATH], " ".join(fields[column].split())
    split = fields.get(SPLIT, "")
    known = _SPLIT_NAMES.get(split.lower(), "")
    before = len(problems.found)
    if not value:
        problems.add(line, f"{column} is empty; fill it, or remove the line")
    if split and not known:
        problems.add(line, f"{SPLIT} {split!r} is unknown; write train, dev (or valid) or test")
    if wrong := _wrong_path(name):
        problems.add(line, wrong)
    else:
        path = table.parent / user_path(name)
        if not path.is_file():
            problems.add(line, f"{name}: no such file; correct {PATH} (relative to the table)")
    times = [_seconds(fields.get(key, "")) for key in (START, END)]
    begin, end = times
    if any(time is not None and not 0 <= time < 1e6 for time in times) or (
        end is not None and end <= (begin or 0.0)
    ):
        given = f"{START} {fields.get(START, '')!r}, {END} {fields.get(END, '')!r}"
        problems.add(line, f"{given}: give seconds, {START} before {END}")
    if len(problems.found) > before:
        return None
    return Row(line, name, path.absolute(), value, known, fields.get(SPEAKER, ""), begin, end)


def _wrong_path(name: str) -> str:
    """Return what is wrong with a path as it is written, "" if nothing is."""
    if not name:
        return f"{PATH} is empty; fill it, or remove the line"
    if "\0" in name:
        return f"{PATH} {name!r} cannot be; correct it"
    if re.match(r"[A-Za-z]:[\\/]|\\\\", name):
        return f"{name}: a path of Windows; write it as this machine has it, or relative"
    if "\\" in name and "/" not in name:
        return f"{name}: write / in the place of \\"
    if re.match(r"[a-z][a-z0-9+.-]*://", name):
        return f"{name}: an address; download the audio, and give the path of the file"
    return ""


def _seconds(text: str) -> float | None:
    """Return a time; NaN for what is none."""
    if not text:
        return None
    try:
        return float(text)
    except ValueError:
        return float("nan")
