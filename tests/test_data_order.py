import random
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, WeightedRandomSampler

from upstream import data_order


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
