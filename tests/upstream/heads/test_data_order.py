import os
import random
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, WeightedRandomSampler

from mt4ssl_core.store import store as feature_store
from upstream import compat
from upstream.heads import data_order
from upstream.store.lazy_audio import Reading, Utterance

compat.install()  # its datasets read with torchaudio


class Crops(Dataset[Any]):
    """Items that are random in three ways."""

    def __len__(self):
        return 11

    def __getitem__(self, index):
        return index, random.random(), float(np.random.rand()), float(torch.rand(()))


class Stream(IterableDataset[Any]):
    def __iter__(self):
        return ((index, random.random()) for index in range(12))

    def __len__(self):
        return 12


def shuffled(split, workers=0):
    return DataLoader(Crops(), batch_size=2, shuffle=True, num_workers=workers, collate_fn=list)


def balanced(split):
    sampler = WeightedRandomSampler([1.0] * 11, 11)
    return DataLoader(Crops(), batch_size=2, sampler=sampler, drop_last=True, collate_fn=list)


def streamed(split, workers=0):
    return DataLoader(Stream(), batch_size=3, num_workers=workers, collate_fn=list)


def batches(get_dataloader, *place, **settings):
    """What a run sees: each batch and the numbers that its training step draws."""
    made = data_order.train_loader(lambda split: get_dataloader(split, **settings), "train", *place)
    assert len(made) == len(get_dataloader("train"))
    return [(batch, random.random(), np.random.rand(), float(torch.rand(()))) for batch in made]


@pytest.mark.parametrize("get_dataloader", [shuffled, balanced, streamed])
def test_an_epoch_begun_anywhere_is_the_rest_of_the_whole(get_dataloader):
    whole = batches(get_dataloader, 7, 3)
    for start in range(len(whole) + 1):
        torch.manual_seed(start)  # whatever was drawn before does not matter
        assert batches(get_dataloader, 7, 3, start) == whole[start:]
    assert batches(get_dataloader, 7, 4) != whole != batches(get_dataloader, 8, 3)


def test_every_utterance_once_and_each_epoch_in_another_order():
    orders = [[row[0] for batch, *_ in batches(shuffled, 7, e) for row in batch] for e in (0, 1)]
    assert orders[0] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(11))


@pytest.mark.parametrize("get_dataloader", [shuffled, streamed])
def test_worker_processes_change_nothing_where_the_loader_is_indexable(get_dataloader):
    whole = batches(get_dataloader, 7, 3, workers=2)
    assert batches(get_dataloader, 7, 3, 2, workers=2) == whole[2:]
    if get_dataloader is shuffled:
        assert batches(get_dataloader, 7, 3) == whole


def test_an_evaluation_between_two_batches_changes_nothing():
    whole = batches(shuffled, 7, 3)
    found = []
    for batch in data_order.train_loader(shuffled, "train", 7, 3):
        found.append((batch, random.random(), np.random.rand(), float(torch.rand(()))))
        data_order.reseed(0)
    assert found == whole


def test_an_expert_that_takes_the_epoch_is_told():
    def get_dataloader(split, epoch=0):
        return [[split, epoch]] * 3

    made = data_order.train_loader(get_dataloader, "train", 7, 5, 2)
    assert list(made) == [["train", 5]]
    assert (len(made), made.position) == (3, 3)


def test_batches_already_seen_are_not_loaded():
    loaded = []

    class Told(Crops):
        def __getitem__(self, index):
            loaded.append(index)
            return index

    made = data_order.train_loader(lambda split: DataLoader(Told(), batch_size=2), "train", 7, 0, 4)
    assert len(list(made)) == 2
    assert loaded == [8, 9, 10]


def test_less_than_one_batch_is_an_error_and_not_an_endless_training():
    def get_dataloader(split):
        return DataLoader(Crops(), batch_size=12, drop_last=True)

    with pytest.raises(ValueError, match="lower the batch size"):
        data_order.train_loader(get_dataloader, "train", 7, 0)


def test_several_processes_share_out_what_the_task_does_not(monkeypatch):
    monkeypatch.setattr(data_order.processes, "size", lambda: 2)
    seen = []
    for rank in (0, 1):
        monkeypatch.setattr(data_order.processes, "rank", lambda rank=rank: rank)
        made = data_order.train_loader(shuffled, "train", 7, 0)
        seen.append([row[0] for batch in made for row in batch])
    assert not set(seen[0]) & set(seen[1])
    assert sorted(map(len, seen)) == [5, 6]  # three batches each


class Files(Dataset[Any]):
    """Audio files, some cut at random."""

    def __init__(self, folder, count):
        self.paths = [str(folder / f"{number}.wav") for number in range(count)]
        for number, path in enumerate(self.paths):
            samples = np.random.default_rng(number).standard_normal(1000 + number)
            soundfile.write(path, 0.1 * samples, 16000)

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        import torchaudio

        wave = torchaudio.load(self.paths[index])[0].squeeze(0)
        if len(wave) > 1030:
            start = random.randint(0, len(wave) - 1030)
            wave = wave[start : start + 1030]
        return wave.numpy(), index, os.getpid()


def lists(items):
    return tuple(map(list, zip(*items, strict=True)))


@pytest.fixture
def reading(tmp_path):
    store = feature_store.FeatureStore(tmp_path / "store")
    kind = feature_store.FeatureKind("x", "f" * 8, "hidden_states", "pooled", None, False, "fp32")
    return Reading(store, store.space(kind))


def stored(reading, batches):
    """Fill the store from batches; return their samples, indices and next random numbers."""
    found, processes = [], []
    for (waves, indices, made_by), *drawn in batches:
        samples = []
        for wave in waves:
            samples.append(np.asarray(wave.read() if isinstance(wave, Utterance) else wave))
            if reading is not None and wave.key is not None:
                if wave.wave is not None:
                    reading.store.audio.add(wave.identity, wave.key, wave.samples)
                reading.space.put(wave.key, torch.zeros(1, 1, 1))
        found.append(([wave.tolist() for wave in samples], indices, drawn))
        processes += [number == os.getpid() for number in made_by]
    return found, processes


@pytest.mark.parametrize("workers", [0, 2])
def test_what_is_stored_changes_neither_order_nor_crops(workers, tmp_path, reading):
    dataset = Files(tmp_path, 40)

    def get_dataloader(split):
        return DataLoader(dataset, 4, shuffle=True, collate_fn=lists, num_workers=workers)

    def epoch(reading, start=0):
        return stored(reading, seen(get_dataloader, 7, 3, start, reading=reading))[0]

    whole = epoch(None)
    for _ in range(3):
        assert epoch(reading) == whole
    assert epoch(reading, 6) == whole[6:]


def seen(get_dataloader, *place, reading):
    for batch in data_order.train_loader(get_dataloader, "train", *place, reading=reading):
        yield batch, random.random(), np.random.rand(), float(torch.rand(()))


def test_worker_processes_are_for_what_is_not_stored(tmp_path, reading, monkeypatch):
    monkeypatch.setattr(data_order, "TRIED", 8)
    dataset = Files(tmp_path, 30)

    def get_dataloader(split):
        return DataLoader(dataset, 4, shuffle=True, collate_fn=lists, num_workers=2)

    def here(reading):
        return stored(reading, seen(get_dataloader, 7, 3, 0, reading=reading))[1]

    assert not any(here(None))
    assert here(reading) == [True] * 8 + [False] * 22
    assert all(here(reading))
