import random
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from torch.utils.data import Dataset

from upstream.store.audio_sources import TORCHAUDIO, Source
from upstream.store.lazy_wave import Audio, LazyWave
from upstream.store.remembered_items import item


class Counted(Dataset):
    """Items made by a function, and how often."""

    def __init__(self, make):
        self.make, self.calls = make, 0

    def __getitem__(self, index):
        self.calls += 1
        return self.make(index)


@pytest.fixture
def wave(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(100), 16000)
    source = Source(TORCHAUDIO, str(tmp_path / "a.wav"))
    return lambda: LazyWave(Audio(source, source.identity(), b"k", 100), True, True)


@pytest.fixture
def reading():
    def known(source, before):
        return Audio(source, before, b"k", 100) if source.identity() == before else None

    return SimpleNamespace(known=known)


def test_an_item_is_made_once_and_given_out_as_new(wave, reading):
    dataset = Counted(lambda index: (wave(), np.array([index, 2]), [torch.ones(2)], "name", 1.5))
    for _ in range(3):
        found, label, (mask,), *rest = item(dataset, 4, reading)
        assert isinstance(found, LazyWave) and found.audio.samples == 100
        assert (label.tolist(), mask.tolist(), rest) == ([4, 2], [1, 1], ["name", 1.5])
        label += 1
        mask += 1
    assert dataset.calls == 1
    item(dataset, 5, reading)
    assert dataset.calls == 2


def test_lists_of_waveforms(wave, reading):
    dataset = Counted(lambda index: ([wave(), wave()], [np.array([1]), np.array([2])]))
    for _ in range(2):
        waves, _ = item(dataset, 0, reading)
        assert all(isinstance(wave, LazyWave) for wave in waves)
    assert dataset.calls == 1


@pytest.mark.parametrize(
    "part",
    [
        random.random,
        np.random.rand,
        lambda: float(torch.rand(())),
        object,
        lambda: {"a": 1},
        lambda: LazyWave(Audio(Source(TORCHAUDIO, "a", (), (0, 9)), b"i"), True, True),
        lambda: LazyWave(Audio(Source(TORCHAUDIO, "a")), True, True),
    ],
)
def test_what_is_random_or_of_another_kind_is_made_each_time(part, wave, reading):
    dataset = Counted(lambda index: (wave(), part()))
    for _ in range(3):
        item(dataset, 0, reading)
    assert dataset.calls == 3


def test_without_audio(reading):
    dataset = Counted(lambda index: (np.zeros(3), "name"))
    for _ in range(3):
        item(dataset, 0, reading)
    assert dataset.calls == 3


def test_a_changed_file(wave, reading, tmp_path):
    dataset = Counted(lambda index: (wave(), "name"))
    item(dataset, 0, reading)
    soundfile.write(tmp_path / "a.wav", np.zeros(200), 16000)
    for _ in range(2):
        found = item(dataset, 0, reading)[0].audio
        assert found.identity == found.source.identity()
    assert dataset.calls == 2


def test_a_dataset_that_cannot_be_a_key(wave, reading):
    class Plain(list):
        pass

    assert item(Plain([(wave(), 1)]), 0, reading)[1] == 1
