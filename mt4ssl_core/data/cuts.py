"""The utterances of a corpus in their order, of which each is made into a cut when it is used."""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
from lhotse import AudioSource, Recording
from lhotse.cut import Cut

from mt4ssl_core.data.audio import num_samples

_SPLIT = "valid"  # what the hash of an id begins with, since it says what is held out


class Cuts(Protocol):
    """Utterances as lhotse's cuts; ids are unique.

    samples: (U,) int64, their lengths at 16 kHz as they are listed.
    """

    samples: np.ndarray

    def __len__(self) -> int:
        """Return how many there are."""
        ...

    def __getitem__(self, index: int) -> Cut:
        """Return one."""
        ...

    def __iter__(self) -> Iterator[Cut]:
        """Iterate over them in their order."""
        ...

    def id(self, index: int) -> str:
        """Return the id of one."""
        ...

    def id_bytes(self) -> Iterator[bytes | memoryview]:
        """Yield all ids in their order, each with a NUL behind it, in pieces of any size."""
        ...

    def hashes(self, seed: int = 0) -> np.ndarray:
        """Return `id_hash` of each, (U,) uint64."""
        ...

    def take(self, chosen: np.ndarray) -> "Cuts":
        """Return those at the places ``chosen``, (V,) integers, in that order."""
        ...


class ListedCuts(Cuts):
    """Cuts that are all in memory."""

    def __init__(self, cuts: Iterable[Cut] = ()) -> None:
        self._cuts = list(cuts)
        self.samples = np.array([num_samples(cut) for cut in self._cuts], dtype=np.int64)

    def __len__(self) -> int:
        return len(self._cuts)

    def __getitem__(self, index: int) -> Cut:
        return self._cuts[index]

    def __iter__(self) -> Iterator[Cut]:
        return iter(self._cuts)

    def id(self, index: int) -> str:
        """Return the id of one."""
        return self._cuts[index].id

    def id_bytes(self) -> Iterator[bytes]:
        """Yield the ids, one by one."""
        return (as_bytes(cut.id) + b"\0" for cut in self._cuts)

    def hashes(self, seed: int = 0) -> np.ndarray:
        """Return `id_hash` of each."""
        return np.array([id_hash(cut.id, seed) for cut in self._cuts], dtype=np.uint64)

    def take(self, chosen: np.ndarray) -> "ListedCuts":
        """Return some."""
        return ListedCuts(self._cuts[index] for index in chosen)


def file_cut(id: str, path: Path, rate: int, channels: int, frames: int) -> Cut:
    """Return the cut of a whole file."""
    source = AudioSource("file", list(range(channels)), str(path))
    return Recording(id, [source], rate, frames, frames / rate).to_cut()


def id_hash(id: str, seed: int = 0) -> int:
    """Return 64 bits for an utterance's id: the same in every run, and its place in a split."""
    return stable_hash(_SPLIT, seed, id)


def hash_prefix(seed: int) -> bytes:
    """Return what stands before the id in the text of which `id_hash` is made."""
    return as_bytes(f"{_SPLIT}\0{seed}\0")


def stable_hash(*parts: object) -> int:
    """Return 64 bits that depend on ``parts`` alone, in every process and version of Python."""
    text = as_bytes("\0".join(str(part) for part in parts))
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest())


def as_bytes(text: str) -> bytes:
    """Return text as it stands in a list of files, where names may be no UTF-8."""
    return text.encode("utf-8", "surrogateescape")
