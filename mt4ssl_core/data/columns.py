"""Columns of numbers that are made of other files once, kept beside them and memory-mapped.

A kept file is the size and a checksum, a JSON header, then the columns, one after the other. It is
used only as long as the files that it was made of are what they were (size, times), every size in
it fits and its checksum is right. Otherwise it is made again.
"""

import hashlib
import json
import math
import mmap
import os
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from mt4ssl_core.data.containers import check_regular
from mt4ssl_core.files import atomic_path, cache_folder, remove_leftovers, stamp
from mt4ssl_core.locks import lock

FORMAT = 1  # of the file and of what the columns mean
KEPT_FROM = 1 << 20  # bytes of a source; below that its columns are made at every start
_ALIGNED = 8
_HEADER_LIMIT = 1 << 28  # bytes
_BLOCK = 1 << 22  # bytes that are read at once
_DTYPES = ("uint8", "int64", "uint64")
_DAMAGE = (
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    RecursionError,
    struct.error,
)
_CHANGED = "changed while it was in use; start the run again"


@dataclass
class Columns:
    """Arrays by name, (N,) each, read-only and shared between processes where they are mapped.

    facts: what else is known of the source, as JSON has it. path: where they are kept; None: in
    memory alone. note: why they could not be kept, or "".
    """

    arrays: Mapping[str, np.ndarray]
    facts: dict[str, Any]
    path: Path | None = None
    note: str = ""
    _header: dict[str, Any] = field(default_factory=dict, repr=False)

    def __getitem__(self, name: str) -> np.ndarray:
        """Return a column."""
        return self.arrays[name]

    def __getstate__(self) -> dict[str, Any]:
        """Leave mapped columns behind: the other process maps them again."""
        return self.__dict__ if self.path is None else {**self.__dict__, "arrays": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Map the columns again.

        Raises ValueError: others are kept there by now.
        """
        self.__dict__.update(state)
        if self.path is not None:
            again = _read(self.path, whole=False)
            if again is None or again._header != self._header:
                raise ValueError(f"{self.path}: {_CHANGED}")
            self.arrays = again.arrays


def kept(
    kind: str,
    sources: Sequence[Path],
    make: Callable[[], Columns],
    fits: Callable[[Columns], bool] = lambda columns: True,
) -> Columns:
    """Return the columns of the first of ``sources``, kept from another time or made now.

    kind: what they are. sources: all files that they are made of; those that do not exist count as
    such. fits: whether columns are consistent in themselves. Small sources are kept in memory only.

    Several processes make them once: the others wait. They are kept beside the source or, where
    that cannot be written, in the user's cache folder.

    Raises ValueError: what ``make`` raises, or a source changed meanwhile.
    """
    source = sources[0]
    if source.stat().st_size < KEPT_FROM:
        return make()
    stamps = [stamp(file) for file in sources]
    origin = {"format": FORMAT, "kind": kind, "stamps": stamps}

    def find(place: Path) -> Columns | None:
        found = _read(place)
        if found and all(found._header.get(name) == value for name, value in origin.items()):
            with suppress(*_DAMAGE):
                return found if fits(found) else None
        return None

    places, made, problem = _places(source, kind), None, "it cannot be mapped"
    for place in places:
        if found := find(place):
            return found
    for place in places:
        try:
            with lock(place.with_name(f"{place.name}.lock"), f"{source}: {kind}", math.inf):
                if found := find(place):  # of a faster process
                    return found
                remove_leftovers(place.parent)
                made = made or _made(make, sources, stamps)
                _write(place, origin, made)
                if found := find(place):
                    return found
        except OSError as error:  # a folder that cannot be written, a full disk
            problem = str(error)
    made = made or _made(make, sources, stamps)
    made.note = f"{source}: its index is made at every start ({problem})"
    return made


def _made(make: Callable[[], Columns], sources: Sequence[Path], stamps: list) -> Columns:
    columns = make()
    for file, before in zip(sources, stamps, strict=True):
        if stamp(file) != before:
            raise ValueError(f"{file}: changed while it was read; start again when it is whole")
    return columns


def _places(source: Path, kind: str) -> list[Path]:
    name = f"{source.name}.{kind}"
    where = hashlib.sha256(os.fsencode(source.absolute())).hexdigest()[:16]
    return [source.with_name(f".{name}"), cache_folder() / "index" / f"{where}-{name}"]


def _write(path: Path, origin: dict[str, Any], columns: Columns) -> None:
    arrays = [np.ascontiguousarray(array) for array in columns.arrays.values()]
    shapes = {name: [str(a.dtype), len(a)] for name, a in columns.arrays.items()}
    text = json.dumps({**origin, "columns": shapes, "facts": columns.facts}).encode()
    text += b" " * (-len(text) % _ALIGNED)
    crc = zlib.crc32(text)
    for array in arrays:
        crc = zlib.crc32(array.data, crc)
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        file.write(struct.pack("<II", len(text), crc) + text)
        for array in arrays:
            file.write(array.data)
            file.write(bytes(-array.nbytes % _ALIGNED))


def _read(path: Path, whole: bool = True) -> Columns | None:
    """Return kept columns; None if there are none, or damaged ones. ``whole``: check all bytes."""
    with suppress(*_DAMAGE):
        check_regular(path)
        with open(path, "rb") as file:
            size, crc = struct.unpack("<II", file.read(8))
            if size > min(_HEADER_LIMIT, os.fstat(file.fileno()).st_size):
                return None
            text = file.read(size)
            header, places, end = json.loads(text), {}, 8 + size
            for name, (kind, count) in header["columns"].items():
                if kind not in _DTYPES or type(count) is not int or count < 0:
                    return None
                places[name] = (kind, count, end)
                end += count * np.dtype(kind).itemsize
                end += -end % _ALIGNED
            if end != os.fstat(file.fileno()).st_size or not isinstance(header["facts"], dict):
                return None
            if whole and crc != _checksum(file, zlib.crc32(text), places):
                return None
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        arrays = {n: np.frombuffer(mapped, *place) for n, place in places.items()}
        return Columns(arrays, header["facts"], path, _header=header)
    return None


def _checksum(file: BinaryIO, crc: int, places: Mapping[str, tuple[str, int, int]]) -> int:
    """Go on with ``crc`` over the columns; they are read, not mapped, to hold no memory."""
    for kind, count, offset in places.values():
        left = count * np.dtype(kind).itemsize
        file.seek(offset)
        while left > 0 and (block := file.read(min(left, _BLOCK))):
            crc, left = zlib.crc32(block, crc), left - len(block)
    return crc
