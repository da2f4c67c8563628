"""A lazy waveform behaves as what it stands for."""

import copy
import pickle

import numpy as np
import pytest
import soundfile
import torch

from upstream.store.audio_sources import SOUNDFILE, TORCHAUDIO, Source, now, switched_to
from upstream.store.lazy_wave import Audio, LazyWave, plain

SAMPLES = 4000


class Known:
    """A mode in which it is known how long audio is."""

    looks_up = True

    def cut(self, audio, begin, end, fixed):
        source = audio.source._replace(span=(begin, end))
        return Audio(source, samples=end - begin)


@pytest.fixture
def path(tmp_path):
    wave = 0.1 * np.random.default_rng(0).standard_normal(SAMPLES)
    soundfile.write(tmp_path / "a.wav", wave, 16000)
    return str(tmp_path / "a.wav")


@pytest.fixture
def tensor(path):
    return LazyWave(Audio(Source(TORCHAUDIO, path), samples=SAMPLES), flat=False, array=False)


@pytest.fixture
def array(path):
    source = Source(SOUNDFILE, path, (100, 3000))
    return LazyWave(Audio(source, samples=2900), True, True, np.float64)


LAZY = [
    lambda wave: wave.squeeze(0),
    lambda wave: wave.view(-1),
    lambda wave: wave.reshape(-1),
    lambda wave: wave.flatten(),
    lambda wave: wave[0],
    lambda wave: wave.squeeze(0).numpy(),
    lambda wave: wave.squeeze(0)[10:20],
    lambda wave: wave.squeeze(0)[:-20].numpy(),
    lambda wave: wave.view(-1)[:],
]
DIRECT = [
    lambda wave: wave[:, 5:9],
    lambda wave: wave.squeeze(),
    lambda wave: wave.squeeze(0).squeeze(0),
    lambda wave: wave.squeeze(0)[::2],
    lambda wave: wave.squeeze(0)[7],
    lambda wave: wave.squeeze(0)[5:5],
    lambda wave: wave.squeeze(0)[10:900][5:9],
    lambda wave: wave.numpy(),
    lambda wave: wave.squeeze(0).numpy().astype(np.float64),
    lambda wave: wave.view(2, -1),
    lambda wave: wave.shape,
    lambda wave: wave.squeeze(0).shape,
    lambda wave: wave.squeeze(0).numpy().shape,
    lambda wave: (wave.size(), wave.size(1), wave.squeeze(0).size(0)),
    lambda wave: wave.view(-1).numpy().size,
    lambda wave: (len(wave), len(wave.view(-1)), wave.ndim, wave.dim(), wave.view(-1).dim()),
    lambda wave: wave * 2 + 1,
    lambda wave: 1 - wave.squeeze(0).numpy(),
    lambda wave: wave == 0,
    lambda wave: -wave.squeeze(0),
    lambda wave: wave.abs().max(),
    lambda wave: wave.dtype,
    lambda wave: torch.cat([wave, wave]),
    lambda wave: torch.stft(wave, 64, return_complex=True, window=torch.ones(64)).abs(),
    lambda wave: np.concatenate([wave.squeeze(0).numpy(), np.zeros(3, np.float32)]),
    lambda wave: np.abs(wave.squeeze(0).numpy()),
    lambda wave: list(wave.squeeze(0)[:3]),
    lambda wave: 0.5 in wave,
    lambda wave: torch.nn.functional.pad(wave, (1, 2)),
]


def real(path):
    import torchaudio

    return torchaudio.load(path)[0]


@pytest.mark.parametrize("mode", [None, Known()])
@pytest.mark.parametrize("number", range(len(LAZY + DIRECT)))
def test_whatever_is_done_with_a_tensor(number, mode, tensor, path):
    use = (LAZY + DIRECT)[number]
    expected = use(real(path))
    with switched_to(mode):
        found = use(tensor)
        assert number >= len(LAZY) or mode is None or isinstance(found, LazyWave)
        if isinstance(found, LazyWave):
            assert found.shape == expected.shape
            found = found.real()
    assert type(found) is type(expected)
    if isinstance(found, tuple):
        assert found == expected
    else:
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("mode", [None, Known()])
def test_an_array(mode, array, path):
    expected = soundfile.read(path, start=100, stop=3000)[0]
    with switched_to(mode):
        assert (len(array), array.shape, array.size, array.ndim) == (2900, (2900,), 2900, 1)
        single = array.astype(np.float32)
        assert isinstance(single, LazyWave) is (mode is not None)
        np.testing.assert_array_equal(plain(single), expected.astype(np.float32), strict=True)
        np.testing.assert_array_equal(array.real(), expected, strict=True)
        np.testing.assert_array_equal(array[5:9] * 2, expected[5:9] * 2)


def test_what_is_changed_in_place_stays_changed(tensor, path):
    expected = real(path)
    with switched_to(Known()):
        row = tensor.squeeze(0)
        row[3:5] = 1.0
        tensor.mul_(2)
        expected[0, 3:5] = 1.0
        expected.mul_(2)
        for wave, other in ((tensor, expected), (row, expected[0])):
            np.testing.assert_array_equal(wave.real(), other)
        assert isinstance(row.numpy(), np.ndarray)  # no longer what the file holds
        np.testing.assert_array_equal(row.numpy(), expected[0].numpy())


def test_it_can_be_copied_and_sent(tensor):
    for other in (copy.copy(tensor), copy.deepcopy(tensor), pickle.loads(pickle.dumps(tensor))):
        assert isinstance(other, LazyWave) and torch.equal(other.real(), tensor.real())
    assert {tensor: 1}[tensor] == 1
    assert not hasattr(tensor, "no_such_name") and tensor.pin_memory() is tensor


def test_samples_in_nested_values(tensor, path):
    given = {"a": [tensor, 1], "b": (2, [tensor])}
    found = plain(given)
    assert torch.equal(found["a"][0], real(path)) and torch.equal(found["b"][1][0], real(path))
    labels = [[1, 2], (3, "x")]
    assert plain(labels) == labels
    assert now.mode is None
