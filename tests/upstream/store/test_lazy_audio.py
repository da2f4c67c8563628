"""s3prl's own datasets, read lazily and as ever."""

import os
import pickle
import random
import shutil
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from superb_data import corpus
from torch.utils.data import DataLoader, Dataset

from mt4ssl_core.store.store import POOLED, FeatureKind, FeatureStore
from upstream.heads import command, data_order, runner
from upstream.store.lazy_audio import LazyWave, Reading, Utterance, let_utterances_pass, preloading
from upstream.store.options import StoreOptions

from s3prl.downstream.diarization import dataset as sd  # isort: skip
from s3prl.downstream.emotion.dataset import IEMOCAPDataset  # isort: skip
from s3prl.downstream.speech_commands import dataset as ks  # isort: skip

TASKS = {  # splits
    "ks": ("train", "test"),
    "sid": ("train", "test"),
    "ic": ("train",),
    "er": ("train", "test"),
    "pr": ("train", "dev"),
    "asr": ("train", "dev-clean"),
    "sf": ("train",),
    "ood": ("train",),
    "sd": ("train", "test"),
    "qbe": ("dev",),
    "asv": ("train", "test"),
}
QUICK = ("ks", "sd", "pr")


def reading_of(folder, crops=0) -> Reading:
    store = FeatureStore(folder)
    kind = FeatureKind("test", "f" * 16, "hidden_states", POOLED, None, False, "fp32")
    return Reading(store, store.space(kind), crops)


def fill(reading, batches):
    """Store something for each utterance, as whoever computes the features does."""
    for batch in batches:
        for utterance in batch[0]:
            if utterance.key is None:
                continue
            if utterance.wave is not None and utterance.identity:
                reading.store.audio.add(utterance.identity, utterance.key, utterance.samples)
            reading.space.put(utterance.key, torch.zeros(1, 1, 2))


def noise(path, samples, rate=16000, channels=1, seed=0) -> Path:
    shape = (samples, channels) if channels > 1 else samples
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.1 * np.random.default_rng(seed).standard_normal(shape), rate)
    return path


class Given(Dataset):
    """Waveforms as torchaudio reads them, each cut at random to ``most`` samples."""

    def __init__(self, paths, most=None):
        self.paths, self.most = list(map(str, paths)), most

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        import torchaudio

        wav = torchaudio.load(self.paths[index])[0].squeeze(0)
        if self.most and len(wav) > self.most:
            start = random.randint(0, len(wav) - self.most)
            wav = wav[start : start + self.most]
        return wav.numpy(), index


def zipped(items):
    return tuple(zip(*items, strict=True))


def batches(dataset, reading, seed=1, size=2):
    data_order.reseed(seed, 0)
    loader = DataLoader(dataset, batch_size=size, shuffle=True, collate_fn=zipped)
    return [tuple(batch) for batch in data_order.Batches(loader, seed, reading=reading)]


def samples(batch):
    return [wav.read() if isinstance(wav, Utterance) else np.asarray(wav) for wav in batch[0]]


def assert_equal(found, expected):
    assert len(found) == len(expected)
    for batch, other in zip(found, expected, strict=True):
        for wave, given in zip(samples(batch), samples(other), strict=True):
            np.testing.assert_array_equal(wave, given)
            assert wave.dtype == np.float32 == given.dtype
        np.testing.assert_equal(
            [list(part) if isinstance(part, tuple) else part for part in batch[1:]],
            [list(part) if isinstance(part, tuple) else part for part in other[1:]],
        )


@pytest.mark.parametrize(
    "task", [pytest.param(t, marks=() if t in QUICK else pytest.mark.slow) for t in TASKS]
)
def test_what_s3prls_datasets_give(task, tmp_path):
    argv = ["--mode", "evaluate", "--task", task, "--root", str(corpus(task)), "-u", "fbank"]
    argv += ["--expdir", str(tmp_path / "exp"), "--device", "cpu"]
    asked = StoreOptions(folder=str(tmp_path / "own"))
    made = runner.build_runner(command.resolve(argv + asked.argv()))
    expert = made.downstream.model
    reading = reading_of(tmp_path / "store")

    def load(split, reading):
        data_order.reseed(1, 2)
        loader = type(expert).get_dataloader(expert, split)  # s3prl's own
        loader.num_workers, loader.prefetch_factor = 0, None
        loader = data_order.Batches(loader, 1, training=split == "train", reading=reading)
        return [tuple(batch) for _, batch in zip(range(8), loader, strict=False)]

    for split in TASKS[task]:
        epochs = []
        for again in range(3):
            before = reading.decoded
            found = load(split, reading)
            epochs.append(found)
            utterances = [utterance for batch in found for utterance in batch[0]]
            assert all(isinstance(utterance, Utterance) for utterance in utterances)
            decoded = [utterance.wave is not None for utterance in utterances]
            assert again or all(decoded)
            if again == 2:
                cut = [utterance.key is None for utterance in utterances]
                assert decoded == cut
                assert task in ("ks", "sid", "asv") or not any(cut)
                assert task == "asv" or reading.decoded == before
            fill(reading, found)
        expected = load(split, None)
        for found in epochs:
            assert_equal(found, expected)


def test_nothing_is_changed_outside(tmp_path):
    import torchaudio

    readers = torchaudio.load, ks.apply_effects_file, sd.sf
    reading = reading_of(tmp_path / "store")
    for dataset in (ks.SpeechCommandsBaseDataset(), object.__new__(sd.DiarizationDataset)):
        with pytest.raises(KeyError), reading.lazily(dataset):
            assert (torchaudio.load, ks.apply_effects_file, sd.sf) != readers
            raise KeyError
        assert (torchaudio.load, ks.apply_effects_file, sd.sf) == readers


def silences(folder) -> ks.SpeechCommandsDataset:
    for number, seconds in enumerate((5.3, 4.1, 1.0)):
        noise(folder / "_background_noise_" / f"{number}.wav", int(16000 * seconds), seed=number)
    return ks.SpeechCommandsDataset([], speech_commands_root=folder)


def test_random_crops_are_drawn_as_ever_and_not_stored(tmp_path):
    dataset, reading = silences(tmp_path / "ks"), reading_of(tmp_path / "store")
    for seed in range(4):
        found = batches(dataset, reading, seed, size=3)
        assert_equal(found, batches(dataset, None, seed, size=3))
        keys = {u.key is None: u.source.path[-5:] for batch in found for u in batch[0]}
        assert keys[False] == "2.wav"  # a second long: there is one way to cut it
        assert all(u.identity is None for batch in found for u in batch[0] if u.key is None)
        fill(reading, found)
    assert len(reading.space) == 1
    assert reading.decoded == 3  # once each


def test_a_bank_of_crops(tmp_path):
    dataset = silences(tmp_path / "ks")
    seen = {}
    for _ in range(3):  # as often as a run is started
        reading = reading_of(tmp_path / "store", crops=4)
        for seed in range(30):
            found = batches(dataset, reading, seed, size=3)
            assert all(len(u) == len(u.read()) == 16000 for batch in found for u in batch[0])
            for utterance in found[0][0]:
                seen.setdefault(utterance.source.path, set()).add(utterance.key)
                assert utterance.identity and utterance.key
            fill(reading, found)
    assert reading.decoded == 0
    assert sorted(map(len, seen.values())) == [1, 4, 4]
    other = batches(dataset, reading_of(tmp_path / "other", crops=4), 3, size=3)
    assert {u.key for u in other[0][0]} <= set.union(*seen.values())
    file = soundfile.read(tmp_path / "ks" / "_background_noise_" / "0.wav", dtype="float32")[0]
    (cut,) = [u for u in other[0][0] if u.source.path.endswith("0.wav")]
    quieter = file[slice(*cut.source.span)] * 10 ** (-3 / 20)
    np.testing.assert_allclose(cut.read(), quieter, atol=1e-6)


def test_a_replaced_file_is_another_utterance(tmp_path):
    paths = [noise(tmp_path / f"{i}.wav", 4000, seed=i) for i in range(4)]
    reading = reading_of(tmp_path / "store")
    for _ in range(2):
        old = batches(Given(paths), reading)
        fill(reading, old)
    stat = paths[0].stat()
    time.sleep(0.02)
    noise(paths[0], 4000, seed=9)
    os.utime(paths[0], ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert paths[0].stat().st_size == stat.st_size
    new = batches(Given(paths), reading)
    assert_equal(new, batches(Given(paths), None))
    changed = [u for batch in new for u in batch[0] if u.wave is not None]
    assert [u.source.path for u in changed] == [str(paths[0])]
    assert changed[0].key not in {u.key for batch in old for u in batch[0]}


def test_a_file_replaced_by_a_longer_one_is_noticed_by_what_remembers_items(tmp_path):
    dataset = Given([noise(tmp_path / "a.wav", 4000)], most=5000)
    reading = reading_of(tmp_path / "store")
    for _ in range(3):
        fill(reading, batches(dataset, reading))
    noise(tmp_path / "a.wav", 9000)
    found = batches(dataset, reading)
    assert_equal(found, batches(dataset, None))
    assert len(found[0][0][0]) == 5000 and found[0][0][0].key is None


def test_a_record_that_is_gone_is_computed_from_the_file(tmp_path):
    dataset = Given([noise(tmp_path / "a.wav", 4000)])
    reading = reading_of(tmp_path / "store")
    fill(reading, batches(dataset, reading))
    ((utterance,), _) = batches(dataset, reading)[0]
    assert utterance.wave is None and len(utterance.read()) == 4000
    shutil.rmtree(reading.space.folder)
    again = reading_of(tmp_path / "store")
    ((found,), _) = batches(dataset, again)[0]
    assert found.wave is not None and (found.key, again.decoded) == (utterance.key, 1)
    noise(tmp_path / "a.wav", 5000, seed=1)  # between the batch and its use
    assert len(utterance.read()) == 5000 == len(utterance)
    assert utterance.key != found.key and utterance.identity is None


@pytest.mark.parametrize("shape", [{"channels": 2}, {"rate": 8000}])
def test_other_audio_is_read_as_ever(shape, tmp_path):
    noise(tmp_path / "data" / "a.wav", 4000, **shape)
    meta = tmp_path / "data" / "meta.json"
    meta.write_text('{"labels": {"x": 0}, "meta_data": [{"path": "a.wav", "label": "x"}]}')
    plain = IEMOCAPDataset(tmp_path / "data", meta)
    with preloading():
        preloaded = IEMOCAPDataset(tmp_path / "data", meta)
    reading = reading_of(tmp_path / "store")
    for dataset in (plain, preloaded):
        (((wave,), *_),) = batches(dataset, reading)
        assert isinstance(wave, np.ndarray)
        np.testing.assert_array_equal(wave, plain[0][0])


def test_beside_others_it_is_an_utterance_that_is_never_stored(tmp_path):
    paths = [noise(tmp_path / "a.wav", 4000), noise(tmp_path / "b.wav", 4000, rate=8000)]
    reading = reading_of(tmp_path / "store")
    for _ in range(2):
        found = batches(Given(paths), reading)
        assert_equal(found, batches(Given(paths), None))
        kinds = {u.key is None: u.wave is None for u in found[0][0]}
        assert kinds[True] is False
        fill(reading, found)
    assert kinds[False] is True


def test_a_preloaded_corpus_is_not_decoded(tmp_path, monkeypatch):
    noise(tmp_path / "a.wav", 4000)
    meta = tmp_path / "meta.json"
    meta.write_text('{"labels": {"x": 0}, "meta_data": [{"path": "a.wav", "label": "x"}]}')
    with preloading():
        dataset = IEMOCAPDataset(tmp_path, meta)
    assert isinstance(dataset.wavs[0], LazyWave)
    plain = IEMOCAPDataset(tmp_path, meta)
    reading = reading_of(tmp_path / "store")
    for _ in range(2):
        found = batches(dataset, reading)
        fill(reading, found)
    assert found[0][0][0].wave is None and reading.decoded == 1
    assert isinstance(dataset[0][0], np.ndarray)  # where nothing is stored
    np.testing.assert_array_equal(dataset[0][0], plain[0][0])


def test_two_threads_do_not_meet(tmp_path):
    import torchaudio

    path, found = noise(tmp_path / "a.wav", 4000), []
    with reading_of(tmp_path / "store").lazily(Given([path])):
        thread = threading.Thread(target=lambda: found.append(torchaudio.load(str(path))[0]))
        thread.start()
        thread.join()
        assert isinstance(torchaudio.load(str(path))[0], LazyWave)
    assert isinstance(found[0], torch.Tensor)


def test_a_reading_goes_to_worker_processes(tmp_path):
    dataset = Given([noise(tmp_path / f"{i}.wav", 4000, seed=i) for i in range(4)], most=3000)
    reading = reading_of(tmp_path / "store", crops=2)
    fill(reading, batches(dataset, reading))
    other = pickle.loads(pickle.dumps(reading))
    assert_equal(batches(dataset, other), batches(dataset, reading))
    assert batches(dataset, other)[0][0][0].wave is None


def test_utterances_pass_where_tensors_are_made():
    module = SimpleNamespace(torch=torch)
    let_utterances_pass(module)
    proxy = module.torch
    let_utterances_pass(module)
    assert module.torch is proxy
    utterance = Utterance(None, None, None, 3, np.zeros(3, np.float32))
    assert module.torch.FloatTensor(utterance).to("cpu") is utterance
    assert torch.equal(module.torch.FloatTensor(np.ones(2, np.float32)), torch.ones(2))
    assert module.torch.zeros is torch.zeros
    assert len(utterance) == 3
    utterance.frames, utterance.rate = 2, 320
    assert len(utterance) == 640
    with pytest.raises(ValueError, match="give it either"):
        Utterance(None, None, b"k", 3, None).read()
