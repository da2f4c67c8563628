"""Frame labels on disk, in fairseq's three files, and the store that training reads them from.

``train.tsv`` lists the audio: the first line is the root folder, then ``relative/path<TAB>samples``
(samples at 16 kHz). ``train.km`` has one line of space-separated labels for each of its rows, in
the same order. ``dict.km.txt`` names every label once, as ``label count``; a label's line is its
class. Where fairseq turns a bad label silently into ``<unk>``, reading here names it and stops.
"""

import mmap
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mt4ssl_core.files import atomic_path

_BLOCK = 1 << 22  # bytes of a .km file looked at in one go
_REMEDY = "label the corpus again with `mt4ssl kmeans label`"


@dataclass(frozen=True)
class TsvRow:
    """One utterance of a ``.tsv``."""

    id: str  # its path as written, relative to the root
    path: Path
    num_samples: int  # at 16 kHz


def read_tsv(path: str | Path) -> list[TsvRow]:
    """Read a fairseq ``.tsv``; the audio files themselves are not looked at.

    Raises ValueError naming file and line: no root line, no rows, a row that is not
    ``path<TAB>samples``, a path listed twice.
    """
    path = Path(path)
    lines = _read_lines(path)
    if not lines or not lines[0].strip() or "\t" in lines[0]:
        found = repr(lines[0]) if lines else "an empty file"
        raise ValueError(f"{path}:1: expected the root folder, got {found}; write it on this line")
    if len(lines) == 1:
        raise ValueError(f"{path}: no audio after the root line; add `path<TAB>samples` rows")
    root = Path(lines[0].strip())
    rows: list[TsvRow] = []
    seen: dict[str, int] = {}
    for number, line in enumerate(lines[1:], start=2):
        where = f"{path}:{number}:"
        name, _, samples = line.partition("\t")
        if not name or not _is_count(samples):
            raise ValueError(
                f"{where} expected `path<TAB>samples`, got {line!r}; correct this line"
            )
        if name in seen:
            raise ValueError(f"{where} {name} is already on line {seen[name]}; remove one of them")
        seen[name] = number
        rows.append(TsvRow(name, root / name, int(samples)))
    return rows


def write_tsv(path: str | Path, root: str | Path, rows: Iterable[TsvRow]) -> None:
    """Write a fairseq ``.tsv`` atomically, row by row. ValueError: an id that no row can hold."""
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.write(f"{root}\n")
        for row in rows:
            file.write(format_row(row.id, row.num_samples))


def format_row(id: str, num_samples: int) -> str:
    """Return an utterance's line of a ``.tsv``; ValueError: an id with a tab or line break."""
    if not id or any(mark in id for mark in "\t\n\r"):
        raise ValueError(f"{id!r} cannot stand in a .tsv (tab, line break or empty); rename it")
    return f"{id}\t{num_samples}\n"


def read_dict(path: str | Path) -> list[str]:
    """Read a fairseq dictionary of ``label count`` lines; a label's position is its class.

    Raises ValueError naming file and line: empty, another form, a label given twice.
    """
    path = Path(path)
    labels: dict[str, int] = {}
    for number, line in enumerate(_read_lines(path), start=1):
        where = f"{path}:{number}:"
        label, _, count = line.strip().rpartition(" ")
        if not label or not _is_count(count):
            raise ValueError(f"{where} expected `label count`, got {line!r}; correct this line")
        if label in labels:
            raise ValueError(f"{where} {label!r} is already on line {labels[label]}; remove one")
        labels[label] = number
    if not labels:
        raise ValueError(f"{path}: no labels; write one `label count` line for every class")
    return list(labels)


def write_dict(path: str | Path, num_classes: int) -> None:
    """Write the dictionary of classes 0 .. num_classes - 1 (``0 1``, ``1 1``, ...), atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text("".join(f"{label} 1\n" for label in range(num_classes)))


@dataclass
class LabelStore:
    """Labels of a corpus by utterance id, read from the ``.km`` file when asked for.

    Only ids and line offsets are kept in memory, so a store is cheap to send to loader workers.
    Made by :meth:`open`, which checks every label once.
    """

    path: Path
    num_classes: int
    _rows: dict[str, int]  # id -> row; row r stands on line r + 1 of the .km, r + 2 of the .tsv
    _offsets: np.ndarray  # (rows + 1,) int64: byte at which each line starts, then the file's size
    _classes: dict[bytes, int] | None  # label -> class; None when the labels are the classes
    _map: mmap.mmap | None = field(default=None, repr=False)

    @classmethod
    def open(cls, km_path: str | Path, num_classes: int | None = None) -> "LabelStore":
        """Open a ``.km`` with the ``.tsv`` of its name and any ``dict.<suffix>.txt`` beside it.

        Labels are class ids 0 .. K-1, or whatever the dictionary lists (a label's class is then its
        line). Without dictionary and ``num_classes``, K is the largest label + 1.

        Raises ValueError naming file and line: fewer or more lines than the ``.tsv``, a label that
        is no integer, not below ``num_classes`` or not in the dictionary; and when ``num_classes``
        and the dictionary disagree. FileNotFoundError when ``.km`` or ``.tsv`` is missing.
        """
        path = Path(km_path)
        tsv = path.with_suffix(".tsv")
        for needed, what in (
            (path, "labels"),
            (tsv, "the audio list that goes with the labels"),
        ):
            if not needed.is_file():
                raise FileNotFoundError(f"{needed}: no such file ({what}); {_REMEDY}")
        rows = {row.id: index for index, row in enumerate(read_tsv(tsv))}
        dictionary = path.with_name(f"dict{path.suffix}.txt")
        symbols = read_dict(dictionary) if dictionary.is_file() else None
        if symbols and num_classes not in (None, len(symbols)):
            raise ValueError(
                f"{dictionary}: {len(symbols)} labels, but {num_classes} classes are configured; "
                f"configure {len(symbols)} classes or use other labels"
            )
        if symbols:
            num_classes = len(symbols)
        plain = symbols is None or symbols == [str(label) for label in range(len(symbols))]
        classes = None if plain else {s.encode(): i for i, s in enumerate(symbols or [])}
        limit = 1 << 62 if num_classes is None else num_classes
        store = cls(path, limit, rows, line_offsets(path), classes)
        store._check_line_count(tsv)
        largest = store._check_labels()
        store.num_classes = largest + 1 if num_classes is None else num_classes
        return store

    def __len__(self) -> int:
        """Return the number of utterances."""
        return len(self._rows)

    def __contains__(self, id: str) -> bool:
        """Say whether this utterance has labels."""
        return id in self._rows

    def __iter__(self) -> Iterator[str]:
        """Iterate over the ids, in the order of the files."""
        return iter(self._rows)

    def __getitem__(self, id: str) -> np.ndarray:
        """Return the class ids of an utterance, (T,) int64; ValueError when it has none."""
        row = self._row(id)
        return self._parse(self._line(row), row + 1)

    def _row(self, id: str) -> int:
        if id not in self._rows:
            tsv = self.path.with_suffix(".tsv")
            raise ValueError(f"{tsv}: no row for {id!r}, so it has no labels; {_REMEDY}")
        return self._rows[id]

    def check(self, id: str, num_frames: int) -> None:
        """Raise ValueError when the utterance has fewer labels than frames."""
        count = len(self._line(self._row(id)).split())
        if count < num_frames:
            raise ValueError(
                f"{self.path}:{self._rows[id] + 1}: row too short: {count} labels for {id}, "
                f"whose audio has {num_frames} frames (50 per second); {_REMEDY}"
            )

    def __getstate__(self) -> dict:
        """Leave the mapped file behind: the other process maps it again."""
        return {**self.__dict__, "_map": None}

    def _line(self, row: int) -> bytes:
        if self._map is None:
            with open(self.path, "rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            if len(self._map) != self._offsets[-1]:
                raise ValueError(f"{self.path}: changed while it was in use; start the run again")
        return self._map[self._offsets[row] : self._offsets[row + 1]]

    def _parse_fast(self, text: bytes) -> np.ndarray | None:
        """Return the classes in some lines, (T,) int64; None when that needs a closer look."""
        labels = _integers(text) if self._classes is None else None
        if labels is None or (
            labels.size and not 0 <= labels.min() <= labels.max() < self.num_classes
        ):
            return None
        return labels

    def _parse(self, line: bytes, number: int) -> np.ndarray:
        """Return the classes on a line, (T,) int64; ValueError names the first bad label."""
        labels = self._parse_fast(line)
        if labels is not None:
            return labels
        return np.array([self._class_of(label, number) for label in line.split()], dtype=np.int64)

    def _class_of(self, label: bytes, number: int) -> int:
        text = label.decode("utf-8", "replace")
        where = f"{self.path}:{number}: label {text!r}"
        if self._classes is not None:
            if label not in self._classes:
                raise ValueError(f"{where} is not in dict{self.path.suffix}.txt; {_REMEDY}")
            return self._classes[label]
        if not _is_count(text):
            raise ValueError(f"{where} is not a class id (an integer from 0); {_REMEDY}")
        if int(text) >= self.num_classes:
            raise ValueError(
                f"{where} is beyond the {self.num_classes} classes (0 .. {self.num_classes - 1}); "
                f"correct the number of classes or {_REMEDY}"
            )
        return int(text)

    def _check_line_count(self, tsv: Path) -> None:
        have, want = len(self._offsets) - 1, len(self._rows)
        if have < want:
            missing = list(self._rows)[have]
            raise ValueError(
                f"{self.path}: {have} lines, but {tsv} lists {want} utterances; {missing} "
                f"({tsv.name}:{have + 2}) is the first without labels; {_REMEDY}"
            )
        if have > want:
            raise ValueError(
                f"{self.path}:{want + 1}: labels without audio: {have} lines, but {tsv} lists only "
                f"{want} utterances; {_REMEDY}"
            )

    def _check_labels(self) -> int:
        """Parse the whole file once, in blocks of lines; return the largest class."""
        largest, first, rows = 0, 0, len(self._offsets) - 1
        while first < rows:
            stop = int(np.searchsorted(self._offsets, self._offsets[first] + _BLOCK, "right")) - 1
            stop = min(max(stop, first + 1), rows)
            block = [self._line(row) for row in range(first, stop)]
            labels = self._parse_fast(b"".join(block))
            if labels is None:
                parsed = (self._parse(line, first + i) for i, line in enumerate(block, start=1))
                labels = np.concatenate(list(parsed))
            largest = max(largest, int(labels.max(initial=0)))
            first = stop
        return largest


def _read_lines(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").split(
            "\n"
        )  # not splitlines: names may hold U+2028
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 text ({error}); give a text file") from None
    return lines[:-1] if lines[-1] == "" else lines


def _is_count(text: str) -> bool:
    text = text.strip()
    return text.isascii() and text.isdigit()


def _integers(text: bytes) -> np.ndarray | None:
    """Parse integers between white space, (N,) int64; None when anything else is among them."""
    if not text.strip():
        return np.zeros(0, dtype=np.int64)
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)  # older NumPy: a warning, not an error
        try:
            return np.fromstring(text.decode("ascii"), dtype=np.int64, sep=" ")
        except (DeprecationWarning, ValueError):  # UnicodeDecodeError is a ValueError
            return None


def line_offsets(path: Path) -> np.ndarray:
    """Return where each line starts and, last, where the file ends, (lines + 1,) int64."""
    offsets, position = [np.zeros(1, dtype=np.int64)], 0
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            ends = np.flatnonzero(np.frombuffer(block, np.uint8) == ord("\n")) + 1
            offsets.append(ends.astype(np.int64) + position)
            position += len(block)
    starts = np.concatenate(offsets)
    return starts if starts[-1] == position else np.append(starts, position)
