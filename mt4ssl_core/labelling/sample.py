"""Which frames of a corpus k-means is fitted on: of random utterances, a random sample."""

from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import Tensor

from mt4ssl_core.data.audio_bar import AudioBar
from mt4ssl_core.data.cuts import Cuts, stable_hash
from mt4ssl_core.data.mfcc import SAMPLE_RATE
from mt4ssl_core.settings.frames import num_frames
from mt4ssl_core.settings.labelling_defaults import SAMPLE_FRAMES

SAMPLE_BYTES = 1 << 30  # a sample is at most this large; a fit takes as much again


class Reservoir:
    """A uniform random sample of at most ``size`` frames of a stream of unknown length."""

    def __init__(self, size: int, seed: int = 0) -> None:
        """Prepare for ``size`` frames; nothing is allocated before the first arrives."""
        self.size, self.seen = size, 0
        self._random = np.random.default_rng(seed)
        self._kept: np.ndarray | None = None

    def add(self, frames: np.ndarray) -> None:
        """Offer frames (T, D): frame number n takes a random place with probability size / n."""
        if self._kept is None:
            self._kept = np.empty((self.size, frames.shape[1]), dtype=np.float32)
        first = min(self.size - min(self.seen, self.size), len(frames))
        self._kept[self.seen : self.seen + first] = frames[:first]
        numbers = np.arange(self.seen + first, self.seen + len(frames))
        places = self._random.integers(0, numbers + 1)
        taken = places < self.size
        self._kept[places[taken]] = frames[first:][taken]  # a place drawn twice keeps the later
        self.seen += len(frames)

    @property
    def points(self) -> Tensor:
        """The sample, (min(size, seen), D)."""
        kept = np.zeros((0, 1), np.float32) if self._kept is None else self._kept
        return torch.from_numpy(kept[: self.seen])


def take(
    cuts: Cuts,
    wanted: int,
    size: int | None,
    seed: int,
    read: Callable[..., Iterable],
    bar: AudioBar,
) -> tuple[Reservoir | None, Cuts]:
    """Sample ``size`` frames of random utterances that hold as many as are ``wanted``.

    Returns the sample, None without any audio, and the cuts that were not needed.
    """
    reservoir: Reservoir | None = None
    while len(cuts) and (reservoir is None or reservoir.seen < wanted):
        taken = drawn(cuts, wanted - (reservoir.seen if reservoir else 0), seed)
        left = np.ones(len(cuts), dtype=bool)
        left[taken] = False
        taken_cuts, cuts = cuts.take(taken), cuts.take(np.flatnonzero(left))
        for _, wave, frames in read(taken_cuts, bar=bar):
            if reservoir is None:
                fitting = SAMPLE_BYTES // (4 * frames.shape[1])
                reservoir = Reservoir(size or min(SAMPLE_FRAMES, fitting), seed)
            reservoir.add(frames.cpu().numpy())
            bar.advance(len(wave) / SAMPLE_RATE)
    return reservoir, cuts


def drawn(cuts: Cuts, frames: int, seed: int) -> np.ndarray:
    """Return the places of as many random utterances (one at least) as hold ``frames``, in the
    corpus's order.
    """
    order = shuffled(cuts, "k-means", seed)
    counts = num_frames(cuts.samples[order])
    enough = int(np.searchsorted(counts.cumsum(), frames)) + 1
    return np.sort(order[:enough])


def shuffled(cuts: Cuts, what: str, seed: int) -> np.ndarray:
    """Return the places of all utterances in an order that depends on ``what``, seed and ids."""
    ids = (cuts.id(place) for place in range(len(cuts)))
    keys = np.fromiter((stable_hash(what, seed, id) for id in ids), np.uint64, len(cuts))
    return np.argsort(keys, kind="stable")
