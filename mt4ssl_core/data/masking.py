"""Span masks over frames, a function of (seed, epoch, utterance) alone.

An utterance is masked alike whatever batch, rank or loader worker it meets. Randomness is
counter-based (a hash of key and position), so whole batches are drawn at once.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mt4ssl_core.config import HOP, MaskingConfig


@dataclass(frozen=True)
class Places:
    """Where frames of a batch are: indices into the B * T frames of its mask in a row, int64.

    They are made on the CPU, beside the mask: a GPU that is asked how many frames it hides (as
    indexing with a mask does) makes the program wait for it.

    hidden: (M,) the hidden frames. labelled: (L,) those of them that have a label. seen: (V,)
        frames that are not hidden and have a label. Without labels these two are None.
    """

    hidden: Tensor
    labelled: Tensor | None
    seen: Tensor | None

    @classmethod
    def of(cls, mask: Tensor, labels: Tensor | None) -> "Places":
        """Of a mask (B, T) and labels (B, T), negative where there are none. Of several masks per
        utterance, one batch of them comes after the other.
        """

        def where(frames: Tensor) -> Tensor:
            return frames.flatten().nonzero()[:, 0]

        if labels is None:
            return cls(where(mask), None, None)
        known = (labels >= 0).repeat(repeats_of(mask, labels), 1)
        return cls(where(mask), where(mask & known), where(~mask & known))

    def map(self, change: Callable[[Tensor], Tensor]) -> "Places":
        """Return them after ``change``."""
        labelled, seen = self.labelled, self.seen
        return Places(
            change(self.hidden),
            None if labelled is None else change(labelled),
            None if seen is None else change(seen),
        )


def repeats_of(mask: Tensor, batch: Tensor) -> int:
    """How many masks (R * B, T) there are for each utterance of a batch (B, ...)."""
    return max(1, len(mask) // max(1, len(batch)))


def frame_labels(labels: Tensor | None, hop: int, frames: int) -> Tensor | None:
    """(B, T) labels of ``frames`` T that come every ``hop`` samples, of (B, T') every 20 ms."""
    return None if labels is None else labels[:, :: hop // HOP][:, :frames]


def utterance_key(seed: int, epoch: int, utterance: str) -> int:
    """A 64-bit key for everything drawn for one utterance in one epoch."""
    text = f"{seed}/{epoch}/{utterance}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


def uniform(keys: np.ndarray, stream: int, size: int) -> np.ndarray:
    """(B,) uint64 keys -> (B, size) uniforms in [0, 1): SplitMix64 of key and counter."""
    with np.errstate(over="ignore"):
        counter = np.arange(stream << 32, (stream << 32) + size, dtype=np.uint64)
        x = keys[:, None] + (counter + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((x ^ (x >> np.uint64(31))) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def span_mask(
    lengths: Sequence[int],
    ids: Sequence[str],
    cfg: MaskingConfig,
    *,
    seed: int,
    epoch: int,
    least: int = 1,
) -> Tensor:
    """Masks for a batch: (R * B, T) bool with T = max(lengths), True where a frame is hidden. All
    utterances have their first of R = ``repeats`` masks, then all their second one.

    Per utterance of L frames, n = floor(prob * L / length + U[0, 1)) spans of ``length`` frames
    start at distinct places 0..L - length - 1; spans may overlap, so fewer frames than prob * L are
    hidden (about 0.49 of them at the defaults). n is at least ``least``. As in fairseq's
    ``compute_mask_indices``, the last frame is never hidden. Utterances too short for that get
    shorter spans and keep at least one frame visible; one frame alone is never hidden.
    """
    size = max(lengths, default=0)
    lengths = [*lengths] * cfg.repeats
    ids = [f"{id}/mask {i}" if i else id for i in range(cfg.repeats) for id in ids]
    mask = np.zeros((len(lengths), size), dtype=bool)
    if size == 0:
        return torch.from_numpy(mask)
    frames = np.asarray(lengths)[:, None]  # (B, 1)
    keys = np.array([utterance_key(seed, epoch, i) for i in ids], dtype=np.uint64)
    span = np.minimum(cfg.length, np.maximum(frames - 1, 0))  # (B, 1)
    spans = np.floor(cfg.prob * frames / cfg.length + uniform(keys, 0, 1)).astype(int)
    spans = np.clip(spans, least, None)
    places = frames - span
    noise = uniform(keys, 1, size)
    position = np.arange(size)
    noise[position >= places] = 2.0  # no span starts here
    most = min(int(spans.max()), size)
    starts = np.argpartition(noise, most - 1, axis=1)[:, :most] if most < size else None
    if starts is None:
        starts = np.broadcast_to(position, (len(frames), size))
    chosen = np.take_along_axis(noise, starts, 1)
    order = np.argsort(chosen, axis=1)
    starts = np.take_along_axis(starts, order, 1)
    chosen = np.take_along_axis(chosen, order, 1)
    taken = (np.arange(starts.shape[1]) < spans) & (chosen < 2.0)
    edges = np.zeros(
        (len(frames), size + cfg.length + 1), dtype=np.int32
    )  # +1 opens, -1 closes a span
    rows = np.broadcast_to(np.arange(len(frames))[:, None], starts.shape)
    np.add.at(edges, (rows[taken], starts[taken]), 1)
    np.add.at(edges, (rows[taken], (starts + span)[taken]), -1)
    mask = (np.cumsum(edges, axis=1) > 0)[:, :size] & (position < frames - 1)
    if cfg.same_count:
        mask = _trim(mask, uniform(keys, 2, size))
    return torch.from_numpy(mask)


def channel_mask(
    ids: Sequence[str], dim: int, cfg: MaskingConfig, *, seed: int, epoch: int
) -> Tensor:
    """Masks over channels for a batch: (B, dim) bool, drawn as `span_mask` draws frames.

    There may be none. fairseq trims them to as many in each utterance of a batch, which would make
    an utterance's depend on the others.
    """
    named = [f"{id}/channels" for id in ids]
    return span_mask([dim] * len(ids), named, cfg, seed=seed, epoch=epoch, least=0)


def _trim(mask: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Unhide random frames until every row hides as many as the row that hides fewest."""
    keep = mask.sum(1).min()
    rank = np.argsort(np.argsort(np.where(mask, noise, 2.0), axis=1), axis=1)
    return mask & (rank < keep)
