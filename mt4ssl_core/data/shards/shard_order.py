"""The order in which shards are read: near to a shuffle of everything, from disk in long runs.

In each epoch the shards are shuffled, the sequence of their utterances is cut into as many pieces
of equal length as there are processes, and each piece into windows of some hours. The utterances of
a window are shuffled and grouped as a whole corpus is. All of that follows from the index, so the
place of a batch is known without reading what is before it. A window's tars are read ahead into the
system's page cache: that is the shuffle buffer, which all workers share and no process owns.
"""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mt4ssl_core.data.audio import SPAN
from mt4ssl_core.data.cuts import Cuts
from mt4ssl_core.data.shards.shard_folder import ShardCuts

Group = Callable[[np.ndarray, np.random.Generator], list[np.ndarray]]


@dataclass(frozen=True)
class Shards:
    """Where the utterances of a corpus lie: those of ``tars[i]`` begin at the place ``starts[i]``.

    starts: (tars + 1,) int64; the last is how many there are.
    """

    tars: Sequence[Path]
    starts: np.ndarray

    @classmethod
    def of(cls, cuts: Cuts) -> "Shards | None":
        """Return the shards of a corpus (ours, or lhotse's Shar); None if it has none."""
        if isinstance(cuts, ShardCuts):
            firsts, rows = cuts.index.starts, cuts.rows
            return cls(cuts.index.tars, firsts if rows is None else np.searchsorted(rows, firsts))
        tars: list[str] = []
        starts: list[int] = []
        for place, cut in enumerate(cuts):
            if not (getattr(cut, "custom", None) or {}).get(SPAN):
                return None
            tar = str(cut.recording.sources[0].source)
            if not tars or tars[-1] != tar:
                tars.append(tar)
                starts.append(place)
        return cls([Path(tar) for tar in tars], np.array([*starts, len(cuts)], dtype=np.int64))

    def read_ahead(self, numbers: Sequence[int]) -> None:
        """Ask the system to read these tars soon; returns at once."""
        tars = [self.tars[number] for number in numbers]
        threading.Thread(target=_advise, args=(tars,), daemon=True).start()


@dataclass(frozen=True)
class _Epoch:
    """The utterances of an epoch in the order of its shards: where each window of it begins.

    order: (tars,) numbers of the tars. before: (tars + 1,) how many utterances stand before each of
    these. bounds: (windows + 1,) places in that sequence.
    """

    order: np.ndarray
    before: np.ndarray
    bounds: np.ndarray


class ShardOrder:
    """The batches of each epoch of a corpus in shards.

    Args:
        shards: where the utterances lie.
        lengths: (U,) of the utterances, in samples.
        group: puts utterances of some lengths into batches, as indices.
        seed: of the order.
        processes: that share an epoch; each gets a run of shards of its own.
        window: samples that are shuffled together.
    """

    def __init__(
        self,
        shards: Shards,
        lengths: np.ndarray,
        group: Group,
        seed: int,
        processes: int,
        window: float,
    ) -> None:
        self.shards, self.lengths, self.group = shards, lengths, group
        self.seed, self.processes = seed, processes
        self.windows = max(1, round(float(lengths.sum()) / processes / window))  # of a process
        sizes = zip(shards.starts, shards.starts[1:], strict=False)
        self._sizes = np.array([lengths[a:b].sum() for a, b in sizes], dtype=np.int64)
        self._rounds: tuple[int, int] = (-1, 0)  # (epoch, its rounds): of the last that was asked

    def rounds(self, epoch: int) -> int:
        """Return how many batches the process with the most of them has in an epoch."""
        if self._rounds[0] != epoch:
            found = self._epoch(epoch)
            mine = range(self.windows)
            counts = [
                sum(len(self._window(epoch, found, rank, number)) for number in mine)
                for rank in range(self.processes)
            ]
            self._rounds = epoch, max(counts)
        return self._rounds[1]

    def batches(self, epoch: int, rank: int, start: int = 0) -> Iterator[np.ndarray]:
        """Yield the utterances (B,) of each batch of a process, from number ``start`` on; those
        that it has less than others are empty.
        """
        found, count = self._epoch(epoch), 0
        for number in range(self.windows):
            groups = self._window(epoch, found, rank, number)
            count += len(groups)
            if count > start:
                self._read_ahead(found, rank, number)
            yield from groups[max(0, start - (count - len(groups))) :]
        for _ in range(max(count, start), self.rounds(epoch)):
            yield np.zeros(0, dtype=np.int64)

    def _epoch(self, epoch: int) -> _Epoch:
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self._sizes))
        starts = self.shards.starts
        before = np.concatenate([[0], np.cumsum(np.diff(starts)[order])])
        heard = np.concatenate([[0], np.cumsum(self._sizes[order])])  # samples before each
        pieces = self.processes * self.windows
        wanted = heard[-1] * np.arange(1, pieces) / pieces
        bounds = [0]
        for place in wanted:
            tar = int(np.searchsorted(heard, place, "right")) - 1
            first = int(starts[order[tar]])
            inside = np.cumsum(self.lengths[first : int(starts[order[tar] + 1])])
            bounds.append(int(before[tar] + np.searchsorted(inside, place - heard[tar])))
        return _Epoch(order, before, np.array([*bounds, before[-1]], dtype=np.int64))

    def _window(self, epoch: int, found: _Epoch, rank: int, number: int) -> list[np.ndarray]:
        """Return the batches of a window of a process."""
        rows = self._rows(found, rank * self.windows + number)
        if not len(rows):
            return []
        rng = np.random.default_rng([self.seed, epoch, rank, number])
        return [rows[group] for group in self.group(self.lengths[rows], rng)]

    def _rows(self, found: _Epoch, piece: int) -> np.ndarray:
        """Return the places of the utterances of a window."""
        first, stop = found.bounds[piece : piece + 2]
        starts, parts = self.shards.starts, [np.zeros(0, dtype=np.int64)]
        for tar in _tars(found, first, stop):
            begin = starts[found.order[tar]] - found.before[tar]  # of the sequence, in this tar
            a, b = max(first, found.before[tar]), min(stop, found.before[tar + 1])
            parts.append(np.arange(begin + a, begin + b, dtype=np.int64))
        return np.concatenate(parts)

    def _read_ahead(self, found: _Epoch, rank: int, number: int) -> None:
        """Have the tars of a window, and of the next one of this process, in the page cache."""
        first = rank * self.windows + number
        stop = min(first + 2, (rank + 1) * self.windows)
        wanted = _tars(found, found.bounds[first], found.bounds[stop])
        self.shards.read_ahead([int(found.order[tar]) for tar in wanted])


def _tars(found: _Epoch, first: int, stop: int) -> range:
    """Return which tars, in the epoch's order, hold the places from ``first`` to ``stop``."""
    begin = int(np.searchsorted(found.before, first, "right")) - 1
    return range(begin, int(np.searchsorted(found.before, stop, "left")))


def _advise(tars: Sequence[Path]) -> None:
    for tar in tars:
        with suppress(OSError, AttributeError):  # it is advice; some systems take none
            descriptor = os.open(tar, os.O_RDONLY)
            try:
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_WILLNEED)
            finally:
                os.close(descriptor)
