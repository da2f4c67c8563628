"""Data in an order that an interrupted training takes up again exactly.

s3prl's runner begins an interrupted epoch anew, in another order. Here everything random in a step
of training is drawn from (seed, epoch, process, position of the batch in the epoch): which
utterances the batch holds, how they are cropped, and what dropout hides. So nothing but epoch and
position has to be stored, batches already seen are skipped without being loaded, and neither the
number of worker processes nor an evaluation in between changes anything. What is random in the data
of an evaluation is drawn in the same way.

With a `Reading`, audio whose features are stored is not decoded. Worker processes would then take
longer to hand a batch over than it takes to load it, so they are left to the part of an epoch in
which many files have to be read.

Loaders that are no plain `DataLoader` over an indexable dataset (s3prl's speech translation) are
seeded in the same way, but load the batches they skip, and decode all audio.
"""

import copy
import ctypes
import inspect
import random
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch.utils.data import (
    DataLoader,
    Dataset,
    DistributedSampler,
    IterableDataset,
    get_worker_info,
)

from mt4ssl_core.threads import cores
from upstream.door import processes
from upstream.store import remembered_items
from upstream.store.lazy_audio import Reading

TRIED = 128  # utterances after which it is decided whether to go on without worker processes
READ_AT_MOST = 0.1  # files per utterance, for that
ORDER, LOADING, TRAINING = range(3)  # three uses of randomness, each with its own numbers


def reseed(*key: int) -> None:
    """Seed python, numpy and torch, its GPUs included, from integers >= 0."""
    words = np.random.SeedSequence(key).generate_state(3)
    random.seed(int(words[0]))
    np.random.seed(words[1])
    torch.default_generator.manual_seed(int(words[2]))
    if torch.cuda.is_initialized():  # never in a loader's worker
        torch.cuda.manual_seed_all(int(words[2]))


def train_loader(
    get_dataloader: Callable[..., Any],
    split: str,
    seed: int,
    epoch: int,
    start: int = 0,
    reading: Reading | None = None,
) -> "Batches":
    """Return the batches of an epoch from ``start`` on, as an expert's ``get_dataloader`` has them.

    Raises:
        ValueError: there is not one batch in an epoch.
    """
    reseed(seed, epoch, ORDER)
    takes_epoch = "epoch" in inspect.signature(get_dataloader).parameters
    given = {"epoch": epoch} if takes_epoch else {}
    return Batches(get_dataloader(split, **given), seed, epoch, start, reading=reading)


def one_by_one(loader: Any) -> tuple[Any, int]:
    """Return the dataset of a loader and its batch size, each item with utterances of its own.

    An item of s3prl's ctc is a bucket that overlaps with the next: its dataset is copied.
    """
    dataset, batch = loader.dataset, loader.batch_size or 1
    if not hasattr(dataset, "bucket_size"):
        return dataset, batch
    dataset = copy.copy(dataset)
    dataset.bucket_size = 1
    return dataset, 1


def in_order(
    loader: Any, items: Sequence[int] | None, seed: int, reading: Reading | None
) -> "Batches":
    """Return each utterance of a loader's split once, in the order of its dataset.

    Args:
        loader: s3prl's; one that is no plain `DataLoader` is gone through as it is.
        items: only these of `one_by_one`'s dataset; None: all.
    """
    if isinstance(loader, DataLoader) and not isinstance(loader.dataset, IterableDataset):
        dataset, batch = one_by_one(loader)
        loader = DataLoader(
            dataset,
            batch_size=batch,
            sampler=range(len(dataset)) if items is None else items,
            collate_fn=loader.collate_fn,
            num_workers=min(loader.num_workers, cores()),
        )
    return Batches(loader, seed, training=False, reading=reading)


class Batches:
    """The batches of a loader, for s3prl's runner to go through once.

    ``position`` counts the batches handed out, those before ``start`` included. In training, each
    process takes its part of them. With ``reading``, they hold an `Utterance` in the place of each
    waveform that is read as s3prl's datasets do.

    Raises:
        ValueError: there are none.
    """

    def __init__(
        self,
        loader: Any,
        seed: int,
        epoch: int = 0,
        start: int = 0,
        training: bool = True,
        reading: Reading | None = None,
    ) -> None:
        self.position, self.loader = start, loader
        self._key, self._reading = (seed, epoch, processes.rank()), reading
        if isinstance(getattr(loader, "sampler", None), DistributedSampler):
            loader.sampler.seed = seed
            loader.sampler.set_epoch(epoch)
        self._order = _batches_of(loader, training)
        if training and not len(self):
            raise ValueError(
                "the training split has fewer utterances than one batch; lower the batch size, or "
                "check the corpus"
            )

    def __len__(self) -> int:
        """Count the batches of the whole epoch."""
        return len(self.loader) if self._order is None else len(self._order)

    def __iter__(self) -> Iterator[Any]:
        """Yield the batches from ``position`` on, python, numpy and torch seeded for each."""
        batches = self._all() if self._order is None else self._rest(self._order)
        if self._reading is not None and self._reading.reads_ahead:
            batches = _one_ahead(batches, self._reading.begin)
        for batch in batches:
            reseed(*self._key, self.position, TRAINING)
            self.position += 1
            yield batch

    def _rest(self, order: list[list[int]]) -> Iterator[Any]:
        given = self.loader
        batches = _ByPosition(given.dataset, given.collate_fn, order, self._key, self._reading)
        if self._reading is None:
            yield from self._loaded(batches, self.position)
            return
        place = self.position
        while place < len(order):
            seen, decoded = self._reading.seen, self._reading.decoded
            while place < len(order) and self._reading.seen < seen + TRIED:
                batch = batches[place]
                place += 1
                self._reading.remember(batch)
                yield batch
            read = self._reading.decoded - decoded
            if given.num_workers and read > READ_AT_MOST * (self._reading.seen - seen):
                for batch in self._loaded(batches, place):
                    place += 1
                    self._reading.remember(batch)
                    yield batch

    def _loaded(self, batches: "_ByPosition", start: int) -> Iterator[Any]:
        given = self.loader
        return iter(
            DataLoader(
                batches,
                batch_size=None,
                sampler=range(start, len(batches)),
                num_workers=given.num_workers,
                collate_fn=_as_is,
                pin_memory=given.pin_memory,
                timeout=given.timeout,
                worker_init_fn=partial(_begin_worker, given.worker_init_fn),
                multiprocessing_context=given.multiprocessing_context,
                prefetch_factor=given.prefetch_factor,
            )
        )

    def _all(self) -> Iterator[Any]:
        def loaded() -> Iterator[Any]:
            reseed(*self._key, ORDER)
            batches, place, end = iter(self.loader), 0, object()
            while (batch := next(batches, end)) is not end:
                yield batch
                place += 1
                reseed(*self._key, place, LOADING)

        return islice(loaded(), self.position, None)


def _batches_of(loader: Any, training: bool) -> list[list[int]] | None:
    """Draw which utterances each batch of this process holds; None: the loader does not tell."""
    plain = isinstance(loader, DataLoader) and not isinstance(loader.dataset, IterableDataset)
    if not plain or loader.batch_sampler is None:
        return None
    order = [list(batch) for batch in loader.batch_sampler]
    if isinstance(loader.sampler, DistributedSampler) or not training:
        return order
    size = processes.size()  # a task that s3prl does not share out (SE, SS): each takes its part
    return order[processes.rank() : len(order) - len(order) % size : size]


class _ByPosition(Dataset[Any]):
    """Batches by position, the same whichever process loads them."""

    def __init__(
        self,
        dataset: Any,
        collate: Callable[[list[Any]], Any],
        order: list[list[int]],
        key: tuple[int, ...],
        reading: Reading | None,
    ) -> None:
        self._dataset, self._collate, self._order, self._key = dataset, collate, order, key
        self._reading = reading

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, position: int) -> Any:
        reseed(*self._key, position, LOADING)
        indices, reading = self._order[position], self._reading
        if reading is None:
            return self._collate([self._dataset[index] for index in indices])
        with reading.lazily(self._dataset):
            if get_worker_info() is None:
                items = [remembered_items.item(self._dataset, i, reading) for i in indices]
            else:
                items = [self._dataset[index] for index in indices]
            return reading.resolve(self._collate(items))


def _one_ahead(batches: Iterator[Any], begin: Callable[[Any], None]) -> Iterator[Any]:
    """Yield each batch once ``begin`` was called with the one after it."""
    waiting: list[Any] = []
    for batch in batches:
        begin(batch)
        waiting.append(batch)
        if len(waiting) > 1:
            yield waiting.pop(0)
    yield from waiting


def _begin_worker(given: Callable[[int], None] | None, number: int) -> None:
    """Let a worker process end with the one it works for, also when that one is killed.

    Else two workers can wait for ever, each keeping open the pipe that the other writes to.
    """
    if sys.platform == "linux":
        set_parent_death_signal = 1  # <linux/prctl.h>
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)
    if given is not None:
        given(number)


def _as_is(batch: Any) -> Any:
    return batch
