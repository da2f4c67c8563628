"""The lines of a ``.km`` file: where each is, how many labels it has, and which classes.

All of it is read once, when its columns are made (see ``columns.py``); later a line is read and
parsed when its labels are asked for.
"""

import hashlib
import mmap
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mt4ssl_core.bars import MB, Bar
from mt4ssl_core.data.columns import KEPT_FROM, Columns, kept
from mt4ssl_core.data.tsv import is_count

REMEDY = "label the corpus again with `mt4ssl kmeans label`"
_BLOCK = 1 << 22  # bytes of a .km file looked at in one go
_BOM = b"\xef\xbb\xbf"
_SPACE = np.isin(np.arange(256), list(b" \t\n\r\x0b\x0c"))  # as bytes.split has it


class LabelLines:
    """The lines of a ``.km``; line r of it, from 0, belongs to row r of its ``.tsv``.

    counts: (lines,) int64, labels on each. largest: class. sha256: of the file. num_classes: that
    labels have to be below. classes: label -> class; None when the labels are the classes.
    """

    def __init__(self, path: Path, num_classes: int, classes: dict[bytes, int] | None) -> None:
        self.path, self.num_classes, self.classes = path, num_classes, classes
        self.counts, self.largest, self.sha256, self.note = np.zeros(0, np.int64), 0, "", ""
        self._offsets = np.zeros(1, np.int64)
        self._map: mmap.mmap | None = None

    @classmethod
    def open(
        cls, path: Path, num_classes: int, classes: dict[bytes, int] | None, dictionary: Path
    ) -> "LabelLines":
        """Look at every label of a file, unless that was done (then at what is known of them).

        Raises ValueError naming file and line: a label that is no class; or the file changed.
        """
        lines = cls(path, num_classes, classes)
        columns = kept("labels", [path, dictionary], lines._check, _fits)
        lines._offsets, lines.counts = columns["offsets"], columns["counts"]
        lines.largest, lines.sha256 = int(columns.facts["largest"]), columns.facts["sha256"]
        lines.note = columns.note
        if lines.largest >= num_classes:
            lines._check()  # names the first
        return lines

    def __len__(self) -> int:
        """Return how many lines there are."""
        return len(self._offsets) - 1

    def __getitem__(self, row: int) -> np.ndarray:
        """Return the classes on a line, (T,) int64."""
        return self._parse(self._bytes(row, row + 1), row)

    def __getstate__(self) -> dict:
        """Leave the mapped file behind: the other process maps it again."""
        return {**self.__dict__, "_map": None}

    def _bytes(self, row: int, stop: int) -> bytes:
        """The lines from ``row`` to before ``stop``, with spaces for a byte order mark."""
        if self._map is None:
            if self._offsets[-1] != self.path.stat().st_size:
                raise ValueError(f"{self.path}: changed while it was in use; start the run again")
            with open(self.path, "rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        text = self._map[self._offsets[row] : self._offsets[stop]]
        if row == 0 and text.startswith(_BOM):
            return b" " * len(_BOM) + text[len(_BOM) :]
        return text

    def _check(self) -> Columns:
        """Parse the whole file, in blocks of lines."""
        offsets = self._offsets = line_offsets(self.path)
        counts = np.zeros(len(self), dtype=np.int64)
        largest, size = 0, int(offsets[-1])
        digest = hashlib.sha256()
        with Bar(f"checking {self.path.name}", size / MB, unit=" MB", show=size > KEPT_FROM) as bar:
            for first, stop in _blocks(offsets):
                text = self._bytes(first, stop)
                digest.update(text if first else self._map[: offsets[stop]])  # type: ignore[index]
                counts[first:stop] = _counts(text, offsets[first:stop] - offsets[first])
                labels = self._parse_fast(text)
                if labels is None:
                    found = [self[row] for row in range(first, stop)]
                    labels = np.concatenate(found)
                largest = max(largest, int(labels.max(initial=0)))
                bar.advance(len(text) / MB)
        facts = {"largest": largest, "sha256": digest.hexdigest()}
        return Columns({"offsets": offsets, "counts": counts}, facts)

    def _parse_fast(self, text: bytes) -> np.ndarray | None:
        """Return the classes in some lines, (T,) int64; None when that needs a closer look."""
        labels = integers(text) if self.classes is None else None
        if labels is None or (
            labels.size and not 0 <= labels.min() <= labels.max() < self.num_classes
        ):
            return None
        return labels

    def _parse(self, line: bytes, row: int) -> np.ndarray:
        """Return the classes on a line, (T,) int64; ValueError names the first bad label."""
        labels = self._parse_fast(line)
        if labels is not None:
            return labels
        return np.array([self._class_of(label, row) for label in line.split()], dtype=np.int64)

    def _class_of(self, label: bytes, row: int) -> int:
        text = label.decode("utf-8", "replace")
        where = f"{self.path}:{row + 1}: label {text!r}"
        if self.classes is not None:
            if label not in self.classes:
                raise ValueError(f"{where} is not in dict{self.path.suffix}.txt; {REMEDY}")
            return self.classes[label]
        if not is_count(text):
            raise ValueError(f"{where} is not a class id (an integer from 0); {REMEDY}")
        if int(text) >= self.num_classes:
            raise ValueError(
                f"{where} is beyond the {self.num_classes} classes (0 .. {self.num_classes - 1}); "
                f"correct the number of classes or {REMEDY}"
            )
        return int(text)


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


def _blocks(offsets: np.ndarray) -> Iterator[tuple[int, int]]:
    """Yield (first, stop) of lines that are about `_BLOCK` bytes together."""
    first, rows = 0, len(offsets) - 1
    while first < rows:
        stop = int(np.searchsorted(offsets, offsets[first] + _BLOCK, "right")) - 1
        stop = min(max(stop, first + 1), rows)
        yield first, stop
        first = stop


def _counts(text: bytes, starts: np.ndarray) -> np.ndarray:
    """How many words are on each of the lines that start at ``starts``, (L,)."""
    space = _SPACE[np.frombuffer(text, np.uint8)]
    begins = ~space
    begins[1:] &= space[:-1]
    return np.add.reduceat(begins, starts, dtype=np.int64)


def integers(text: bytes) -> np.ndarray | None:
    """Parse integers between white space, (N,) int64; None when anything else is among them."""
    if not text.strip():
        return np.zeros(0, dtype=np.int64)
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)  # older NumPy: a warning, not an error
        try:
            return np.fromstring(text.decode("ascii"), dtype=np.int64, sep=" ")
        except (DeprecationWarning, ValueError):  # UnicodeDecodeError is a ValueError
            return None


def _fits(columns: Columns) -> bool:
    """Whether the columns belong together."""
    offsets, facts = columns["offsets"], columns.facts
    return (
        len(columns["counts"]) == len(offsets) - 1
        and offsets.dtype == columns["counts"].dtype == np.int64
        and offsets[0] == 0
        and bool((np.diff(offsets) > 0).all())
        and type(facts["largest"]) is int
        and isinstance(facts["sha256"], str)
    )
