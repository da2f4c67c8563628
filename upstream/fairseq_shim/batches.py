"""Batches of utterances: padded targets, batches by number of frames, their order by epoch."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset


class FairseqDataset(Dataset[Any]):
    """What s3prl's dataset is derived from; it brings everything itself but the epoch."""

    def set_epoch(self, epoch: int) -> None:
        """Do nothing: no sample depends on the epoch."""


def collate_tokens(
    values: Sequence[torch.Tensor],
    pad_idx: int,
    eos_idx: int | None = None,
    left_pad: bool = False,
    move_eos_to_beginning: bool = False,
) -> torch.Tensor:
    """Pad sequences (N,) to one (B, N) tensor.

    ``move_eos_to_beginning`` makes a decoder's input of its target: everything one place to the
    right, and ``eos_idx`` (None: the sequence's last symbol) first.
    """
    size = max(len(value) for value in values)
    padded = values[0].new_full((len(values), size), pad_idx)
    for row, value in zip(padded, values, strict=True):
        place = row[size - len(value) :] if left_pad else row[: len(value)]
        if move_eos_to_beginning:
            place[0] = value[-1] if eos_idx is None else eos_idx
            place[1:] = value[:-1]
        else:
            place.copy_(value)
    return padded


@contextmanager
def numpy_seed(seed: int) -> Iterator[None]:
    """Seed numpy inside the block, and put its state back afterwards."""
    state = np.random.get_state()
    np.random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(state)


def batch_by_size(indices: Sequence[int], sizes: Sequence[int], max_tokens: int) -> list[list[int]]:
    """Cut ``indices``, in order, into batches of at most ``max_tokens`` frames with padding.

    Raises:
        ValueError: one utterance alone has more frames.
    """
    batches: list[list[int]] = [[]]
    longest = 0
    for index, size in zip(indices, sizes, strict=True):
        if size > max_tokens:
            raise ValueError(
                f"utterance {index} has {size} frames, more than datarc.max_tokens {max_tokens}; "
                "raise it"
            )
        longest = max(longest, size)
        if (len(batches[-1]) + 1) * longest > max_tokens and batches[-1]:
            batches.append([])
            longest = size
        batches[-1].append(int(index))
    return [batch for batch in batches if batch]


class EpochBatchIterator:
    """The same batches in another order in every epoch, drawn from (seed, epoch).

    Each call of `next_epoch_itr` begins a new epoch, counted from ``epoch``, when the dataset is
    one to train on. Any other keeps its order, so that a part of it (s3prl's evaluate_ratio) is
    always the same part.
    """

    def __init__(
        self,
        dataset: Any,
        batches: list[list[int]],
        seed: int = 1,
        epoch: int = 1,
        num_workers: int = 0,
    ) -> None:
        self.dataset, self.batches = dataset, batches
        self.seed, self.num_workers = seed, num_workers
        self._next = max(epoch, 1)

    def __len__(self) -> int:
        return len(self.batches)

    def next_epoch_itr(self, shuffle: bool = True) -> DataLoader[Any]:
        """Return a loader of the epoch's batches."""
        epoch, batches = self._next, list(self.batches)
        if getattr(self.dataset, "is_train_split", True):
            self._next += 1
        self.dataset.set_epoch(epoch)
        if shuffle:
            order = np.random.RandomState(self.seed + epoch).permutation(len(batches))
            batches = [batches[index] for index in order]
        return DataLoader(
            self.dataset,
            batch_sampler=batches,
            collate_fn=self.dataset.collater,
            num_workers=self.num_workers,
        )
