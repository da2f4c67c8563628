"""The rows of a ``.tsv`` as columns: no object per utterance is in memory until it is used."""

from array import array
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from weakref import WeakValueDictionary

import numpy as np
from lhotse.cut import Cut

from mt4ssl_core.bars import MB, Bar
from mt4ssl_core.data.audio import SAMPLE_RATE
from mt4ssl_core.data.columns import KEPT_FROM, Columns, kept
from mt4ssl_core.data.cuts import Cuts, as_bytes, file_cut, hash_prefix, id_hash
from mt4ssl_core.data.tsv import listed_twice, read_root, read_rows
from mt4ssl_core.files import stamp

_LONGEST = (1 << 63) - 1  # samples: what is listed beyond that counts as that
_LENGTH = 7  # bytes of a row about that are no name
_TOLD = 10_000  # rows between two looks at the bar
_PIECE = 1 << 24  # bytes of ids that are read at once


_mapped: "WeakValueDictionary[tuple, AudioIndex]" = WeakValueDictionary()  # in this process


class AudioIndex:
    """What a ``.tsv`` lists, kept in columns (see `mt4ssl_core.data.columns`).

    path: of the ``.tsv``. root: the folder that it names. samples: (U,) int64, as listed. hashes:
    (U,) uint64, `id_hash` of each row.
    """

    def __init__(self, path: Path, root: Path, columns: Columns) -> None:
        self.path, self.root, self._columns, self.note = path, root, columns, columns.note
        self.samples, self.hashes = columns["samples"], columns["hashes"]
        self._names, self._ends, self._order = (columns[n] for n in ("names", "ends", "order"))

    @classmethod
    def open(cls, path: Path) -> "AudioIndex":
        """Read a ``.tsv``, or what is kept of it; the audio files themselves are not looked at.

        Raises ValueError naming file and line: as of `mt4ssl_core.data.tsv.read_tsv`.
        """
        root = read_root(path)
        name = (path.absolute(), *(stamp(path) or ()))
        if known := _mapped.get(name):
            return known
        columns = kept("index", [path], lambda: _columns(path), _fits)
        found = cls(path, root, columns)
        if columns.path:
            _mapped[name] = found
        return found

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.samples)

    def __reduce__(self) -> tuple:
        """Go to other processes as what it was made of."""
        return AudioIndex, (self.path, self.root, self._columns)

    def id(self, row: int) -> str:
        """Return the name of a row, as it is written."""
        first = int(self._ends[row - 1]) if row else 0
        return self._names[first : int(self._ends[row]) - 1].tobytes().decode()

    def file(self, row: int) -> Path:
        """Return the audio file of a row."""
        return self.root / self.id(row)

    def find(self, id: str) -> int:
        """Return the row of an id, -1 if it is not listed."""
        wanted = np.uint64(id_hash(id))
        place = int(np.searchsorted(self.hashes, wanted, sorter=self._order))
        for row in self._order[place:]:  # nearly always one
            if self.hashes[row] != wanted:
                break
            if self.id(row) == id:
                return int(row)
        return -1

    def find_all(self, hashes: np.ndarray) -> np.ndarray:
        """Return the row of each hash, (V,) int64, -1 where none has it."""
        place = np.searchsorted(self.hashes, hashes, sorter=self._order)
        rows = self._order[np.minimum(place, len(self) - 1)]
        return np.where(self.hashes[rows] == hashes, rows, -1)

    def lists_as(self, other: "AudioIndex") -> bool:
        """Whether another list has the same ids in the same order."""
        return self is other or np.array_equal(self.hashes, other.hashes)

    def id_bytes(self, rows: np.ndarray) -> Iterator[memoryview]:
        """Yield the ids of ``rows``, (V,), each with a NUL behind it; several rows at a time."""
        return pieces_of(self._names, self._ends, rows)


def pieces_of(names: np.ndarray, ends: np.ndarray, rows: np.ndarray) -> Iterator[memoryview]:
    """Yield the bytes of some ``rows`` (V,) of ``names``, of which row r ends at ``ends[r]``."""
    breaks = np.flatnonzero(np.diff(rows) != 1) + 1
    for first, stop in zip([0, *breaks], [*breaks, len(rows)], strict=True):
        if first == stop:
            continue
        begin = int(ends[rows[first] - 1]) if rows[first] else 0
        end = int(ends[rows[stop - 1]])
        for piece in range(begin, end, _PIECE):
            yield names[piece : min(piece + _PIECE, end)].data


class IndexedCuts(Cuts):
    """The rows ``rows``, (U,) int64, of a ``.tsv`` as cuts of whole files at 16 kHz."""

    def __init__(self, index: AudioIndex, rows: np.ndarray) -> None:
        self.index, self.rows = index, rows
        everything = len(rows) == len(index) and bool((np.diff(rows) == 1).all())
        self.samples = index.samples if everything else index.samples[rows]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Cut:
        row = int(self.rows[index])
        name = self.index.id(row)
        return file_cut(name, self.index.root / name, SAMPLE_RATE, 1, int(self.index.samples[row]))

    def __iter__(self) -> Iterator[Cut]:
        return (self[index] for index in range(len(self)))

    def id(self, index: int) -> str:
        """Return the id of one."""
        return self.index.id(int(self.rows[index]))

    def id_bytes(self) -> Iterator[memoryview]:
        """Yield the ids, many at a time."""
        return self.index.id_bytes(self.rows)

    def hashes(self, seed: int = 0) -> np.ndarray:
        """Return `id_hash` of each."""
        if seed == 0:
            return self.index.hashes[self.rows]
        ids = (self.id(index) for index in range(len(self)))
        return np.fromiter((id_hash(id, seed) for id in ids), np.uint64, len(self))

    def take(self, chosen: np.ndarray) -> "IndexedCuts":
        """Return some."""
        return IndexedCuts(self.index, self.rows[chosen])


def _columns(path: Path) -> Columns:
    """Read all rows."""
    names, digests = bytearray(), bytearray()
    ends, samples = array("q"), array("q")
    begun = blake2b(hash_prefix(0), digest_size=8)
    size = path.stat().st_size
    with Bar(f"reading {path.name}", size / MB, unit=" MB", show=size >= KEPT_FROM) as bar:
        for name, length, _ in read_rows(path):
            raw = as_bytes(name)
            digest = begun.copy()
            digest.update(raw)
            digests += digest.digest()
            names += raw + b"\0"
            ends.append(len(names))
            samples.append(min(length, _LONGEST))
            if not len(ends) % _TOLD:
                bar.advance((len(names) + _LENGTH * len(ends)) / MB - bar.done)
        bar.advance(size / MB - bar.done)
    hashes = np.frombuffer(digests, ">u8").astype(np.uint64)
    arrays: dict[str, np.ndarray] = {
        "names": np.frombuffer(names, np.uint8),
        "ends": np.frombuffer(ends, np.int64),
        "samples": np.frombuffer(samples, np.int64),
        "hashes": hashes,
        "order": np.argsort(hashes, kind="stable"),
    }
    _check_twice(path, arrays)
    return Columns(arrays, {})


def _check_twice(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Raise ValueError when a name is there twice."""
    order, hashes = arrays["order"], arrays["hashes"]
    alike = np.flatnonzero(hashes[order[1:]] == hashes[order[:-1]])
    index = AudioIndex(path, Path(), Columns(arrays, {}))
    for place in sorted(alike, key=lambda place: order[place + 1]):
        first, second = int(order[place]), int(order[place + 1])
        if index.id(first) == index.id(second):
            raise ValueError(listed_twice(path, index.id(second), second + 2, first + 2))


def _fits(columns: Columns) -> bool:
    """Whether the columns belong together."""
    ends, count = columns["ends"], len(columns["ends"])
    return (
        all(len(columns[name]) == count for name in ("samples", "hashes", "order"))
        and columns["order"].dtype == columns["samples"].dtype == ends.dtype == np.int64
        and columns["hashes"].dtype == np.uint64
        and columns["names"].dtype == np.uint8
        and bool((np.diff(ends, prepend=0) > 0).all())
        and int(ends[-1]) == len(columns["names"])
        and 0 <= int(columns["order"].min()) <= int(columns["order"].max()) < count
    )
