"""Lists and labels at the start of a run of several processes, kept or not."""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
import toy

from mt4ssl_core import config
from mt4ssl_core.data import columns, label_lines, list_files
from mt4ssl_core.distributed import World
from mt4ssl_core.training.loaders import open_data

TARGET = SimpleNamespace(needs_labels=True, label_classes=toy.CLASSES)
MODEL = cast(Any, SimpleNamespace(each_target=lambda: [TARGET], encoder=SimpleNamespace(hop=320)))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return toy.corpus(tmp_path_factory.mktemp("corpus"))


@dataclass(frozen=True)
class Second(World):
    """The second of two processes; what it asks the first one to do is done at once."""

    def on_main(self, work):
        work()


def opened(data, tmp_path, world):
    training, valid, amounts, _ = open_data(
        config.load("tiny", toy.overrides(data, tmp_path / "run")), MODEL, world
    )
    assert valid is not None and not amounts["not_looked_at"]
    return training


def test_the_first_process_looks_at_lists_and_labels_and_the_others_do_not(
    data, tmp_path, monkeypatch
):
    monkeypatch.setattr(columns, "KEPT_FROM", 0)
    looked = []

    def spy(room, name):
        real = getattr(room, name)
        monkeypatch.setattr(room, name, lambda *args: looked.append(name) or real(*args))

    spy(list_files, "_look")
    spy(label_lines, "line_offsets")
    opened(data, tmp_path, Second(1, 2, torch.device("cpu")))
    assert sorted(looked) == ["_look", "line_offsets"]
    opened(data, tmp_path, World(0, 1, torch.device("cpu")))
    assert len(looked) == 2


def test_batches_are_the_same_with_an_index_and_without(data, tmp_path, monkeypatch):
    alone = World(0, 1, torch.device("cpu"))
    without = list(opened(data, tmp_path, alone).batches(1))
    monkeypatch.setattr(columns, "KEPT_FROM", 0)
    for _ in range(2):  # made, then found
        kept = list(opened(data, tmp_path, alone).batches(1))
        for one, other in zip(without, kept, strict=True):
            assert one.ids == other.ids and torch.equal(one.waves, other.waves)
            assert torch.equal(one.labels, other.labels) and torch.equal(one.mask, other.mask)
