"""Fill the feature store before training: `mt4ssl store fill`.

For each task, s3prl's own datasets are gone through once, every split, and what is not yet in the
store is encoded among others of similar length. What is stored is never computed again, so the same
command goes on where it was stopped. Under torchrun each process takes its share; they need not
meet, as each writes files of its own.

What a training crops at random is left to the training: without a bank of crops (``--store-crops``)
it is never stored; of a bank, what this pass does not happen to draw is stored when training does.
"""

import contextlib
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader

from mt4ssl_core.bars import Bar
from mt4ssl_core.config import SAMPLE_RATE
from mt4ssl_core.distributed import choose_device
from mt4ssl_core.store.store import FeatureStore, Space
from upstream.door import tasks
from upstream.heads import data_order
from upstream.heads.task_request import TaskRequest
from upstream.store import storage
from upstream.store.decision import decide
from upstream.store.lazy_audio import Utterance
from upstream.store.options import OFF, StoreOptions
from upstream.store.storage import Storage
from upstream.store.store_commands import gigabytes
from upstream.suite import preparation, protocol, roots

TRIED = 32  # items of a split whose lengths stand for all


@dataclass(frozen=True)
class FillRequest:
    """What `mt4ssl store fill` is asked for."""

    tasks: str
    root: str | None = None
    roots: str | None = None
    ckpt: str | None = None
    upstream: str | None = None  # None: mt4ssl
    device: str = "auto"
    store: StoreOptions = field(default_factory=StoreOptions)


@dataclass(frozen=True)
class Share:
    """Which of the processes that torchrun started this one is."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @classmethod
    def here(cls) -> "Share":
        """Read it from what torchrun sets."""
        read = os.environ.get
        return cls(
            int(read("RANK", "0")), int(read("WORLD_SIZE", "1")), int(read("LOCAL_RANK", "0"))
        )

    def device(self, asked: str) -> str:
        """Return where this process encodes: each on its own GPU."""
        device = choose_device(asked)
        if self.size > 1 and device.type == "cuda":
            device = choose_device(f"cuda:{self.local_rank}")
        return str(device)


@dataclass(frozen=True)
class Split:
    """A split's dataset, and about what is in it."""

    loader: DataLoader[Any]  # s3prl's, for all but what an epoch takes of the dataset
    dataset: Any
    seconds: float  # of audio
    utterances: float

    def bytes(self, storage: Storage) -> float:
        """Return about how many bytes its features take."""
        rows = self.utterances
        if not storage.stored.pooled:
            rows = self.seconds * SAMPLE_RATE / storage.features.rate
        return rows * storage.frame_bytes


def fill(asked: FillRequest) -> int:
    """Store the features of all utterances of some tasks.

    Returns 0, or 1 when some could not be stored.

    Raises:
        ValueError: a task whose features are not stored; otherwise as `run_downstream.py`.
    """
    names = roots.pick(asked.tasks)
    if (asked.root is None) == (asked.roots is None):
        raise ValueError("give the corpus with --root DIR, or the corpora with --roots roots.yaml")
    _refuse(names, asked.store)
    folders = roots.read(asked.root or asked.roots or "", names)
    preparation.require_packages(names)
    share, whole = Share.here(), True
    for name in names:
        with _runner(asked, name, folders[name], share) as runner:
            whole = _fill_task(name, runner, share) and whole
    return 0 if whole else 1


def _refuse(names: Iterable[str], options: StoreOptions) -> None:
    """Raise ValueError for tasks whose features are not stored, whatever the upstream."""
    found = {name: decide(options, tasks.header(name)) for name in names}
    problems = [f"{name}: {why}" for name, why in found.items() if isinstance(why, str)]
    if problems and options.mode == OFF:
        raise ValueError(next(iter(found.values())))
    if problems:
        raise ValueError("\n  ".join(["nothing is stored of these tasks:", *problems]))


@contextlib.contextmanager
def _runner(asked: FillRequest, name: str, root: Path, share: Share) -> Iterator[Any]:
    """Build s3prl's runner of a task, with the store, for an experiment that is never begun."""
    from upstream.heads import command, runner

    upstream = asked.upstream or "mt4ssl"
    with tempfile.TemporaryDirectory(prefix="mt4ssl-fill-") as expdir:
        request = TaskRequest(
            mode="evaluate",
            task=name,
            root=str(root),
            upstream=upstream,
            upstream_ckpt=asked.ckpt,
            expdir=expdir,
            device=share.device(asked.device),
            store=asked.store,
        )
        made = runner.build_runner(command.settle(request))
        if made.storage is None:
            raise ValueError(f"{name}: features of {upstream} are not stored, for the reason above")
        yield made


def _fill_task(name: str, runner: Any, share: Share) -> bool:
    """Store what is missing of a task; returns whether all of this process's share is stored."""
    storage: Storage = runner.storage
    splits = {split: _split(runner, split) for split in splits_of(runner.config)}
    seconds = sum(split.seconds for split in splits.values())
    store, space = storage.features.store, storage.features.space
    if share.rank == 0:
        need = sum(split.bytes(storage) for split in splits.values())
        print(
            f"{name}: about {seconds / 3600:.2g} h of audio ({', '.join(splits)}), whose features "
            f"take about {gigabytes(need)}; {store.folder} may hold "
            f"{storage.gigabytes:g} GB, and holds {gigabytes(store.size())}"
        )
    bar = Bar(name, seconds / share.size, unit=" s", audio=True, show=share.rank == 0)

    def progress(seconds: float) -> None:
        bar.total = max(bar.total or 0.0, bar.done + seconds)  # it was an estimate
        bar.advance(seconds)

    with bar:
        utterances = UntilFull(_utterances(runner, splits, share), space)
        storage.fill(utterances, progress)
        if not utterances.full:
            bar.total = bar.done
    return _told(name, utterances, store, share)


def _told(name: str, utterances: "UntilFull", store: FeatureStore, share: Share) -> bool:
    """Say how much is stored, and where; returns whether it is all."""
    space = utterances.space
    asked = len(utterances.seen)
    there = sum(key in space for key in utterances.seen)
    whole = there == asked > 0 and not utterances.full
    of = f"at least {asked}" if utterances.full else f"{asked}"
    mine = "" if share.size == 1 else f" (of this process {share.rank})"
    if not whole or share.rank == 0:
        print(f"{name}: {there} of {of} utterances{mine} are stored in {store.folder}")
    if utterances.full or (there < asked and not (store.broken or store.fits(0))):
        print(f"{name}: the store is full; for all of it give more room with --store-gb")
    elif store.broken:
        print(f"{name}: the store could not be written; make room, and give the same command again")
    elif there < asked:
        print(f"{name}: the features of {asked - there} are not finite, or there was no room")
    elif not asked:
        print(f"{name}: no utterance has features that can be stored")
    return whole


def splits_of(config: Mapping[str, Any]) -> list[str]:
    """Return the splits that a task's training, choice and tests go through."""
    header, steps = config["superb"], config["runner"]
    trains = header.get("select") != protocol.LAYER
    found = [steps.get("train_dataloader", "train")] if trains else []
    found += [*steps.get("eval_dataloaders", []), protocol.dev_of(header).split]
    found += [stage["split"] for stage in tasks.all_stages(header)]
    return list(dict.fromkeys(found))


def _split(runner: Any, name: str) -> Split:
    """Look at some items of a split for how long its utterances are."""
    loader = runner.downstream.model.get_dataloader(name).loader  # s3prl's own
    dataset, _ = data_order.one_by_one(loader)
    tried = range(0, len(dataset), max(1, len(dataset) // TRIED))
    seconds, utterances = 0.0, 0
    with runner.storage.reading.lazily(dataset):
        for item in tried:
            wavs, *_ = loader.collate_fn([dataset[item]])
            lengths = [len(wav) / SAMPLE_RATE for wav in wavs]
            seconds, utterances = seconds + sum(lengths), utterances + len(lengths)
    times = len(dataset) / max(1, len(tried))
    return Split(loader, dataset, seconds * times, utterances * times)


def _utterances(runner: Any, splits: Mapping[str, Split], share: Share) -> Iterator[Utterance]:
    """Yield this process's share of every split's utterances, in order."""
    for split in splits.values():
        mine = range(share.rank, len(split.dataset), share.size)
        seed, reading = runner.args.seed, runner.storage.reading
        for wavs, *_ in data_order.in_order(split.loader, mine, seed, reading):
            yield from (wav for wav in wavs if isinstance(wav, Utterance))


class UntilFull:
    """Passes utterances on until nothing of a whole window could be stored; ``full`` then."""

    def __init__(self, utterances: Iterable[Utterance], space: Space) -> None:
        self.utterances, self.space, self.full = utterances, space, False
        self.seen: set[bytes] = set()  # contents that can be stored

    def __iter__(self) -> Iterator[Utterance]:
        """Yield the utterances."""
        waiting: list[bytes] = []
        for utterance in self.utterances:
            if len(waiting) > storage.WINDOW:
                if not any(key in self.space for key in waiting):
                    self.full = True
                    return
                waiting.clear()
            if utterance.key is not None:
                self.seen.add(utterance.key)
                if utterance.key not in self.space:
                    waiting.append(utterance.key)
            yield utterance
