import multiprocessing
import os
import signal
import time
from collections import Counter
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from mt4ssl_core.config import DataConfig
from mt4ssl_core.data import loader_workers
from mt4ssl_core.data.audio import load_wave
from mt4ssl_core.data.labels import LabelStore
from mt4ssl_core.data.loader import PretrainLoader, group_by_length
from mt4ssl_core.data.manifest import open_manifest
from mt4ssl_core.data.normalization import normalize
from mt4ssl_core.data.tsv import TsvRow, write_tsv

STEP = 1e-5  # between two samples of a ramp: a sample's value tells its position


def frame_lengths(samples):
    return (samples - 400) // 320 + 1


def config(**changes):
    sizes = {"min_seconds": 0.1, "max_seconds": 1.0, "batch_seconds": 4.0}
    values: dict[str, Any] = {"train": "-", "workers": 0} | sizes | changes
    return DataConfig(**values)


def loader(
    manifest, labels=None, *, normalize=False, seed=0, rank=0, world_size=1, crop=True, **cfg
):
    return PretrainLoader(
        manifest,
        labels,
        config(**cfg),
        normalize=normalize,
        seed=seed,
        rank=rank,
        world_size=world_size,
        crop=crop,
    )


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """40 ramps between 0.2 and 2 s, labelled with the number of the frame."""
    root = tmp_path_factory.mktemp("corpus")
    rng = np.random.default_rng(0)
    rows, labels = [], []
    for number in range(40):
        samples = int(rng.integers(3_200, 32_000))
        path = root / f"{number:02d}.wav"
        soundfile.write(path, np.arange(samples) * STEP, 16_000, subtype="FLOAT")
        rows.append(TsvRow(path.name, path, samples))
        labels.append(" ".join(map(str, range(frame_lengths(samples) + number % 2))))
    write_tsv(root / "train.tsv", root, rows)
    (root / "train.km").write_text("\n".join(labels) + "\n")
    return root


@pytest.fixture(scope="module")
def manifest(corpus):
    return open_manifest(corpus, min_seconds=0.1)


@pytest.fixture(scope="module")
def labels(corpus):
    return LabelStore.open(corpus / "train.km")


def same(first, second):
    for a, b in zip(first, second, strict=True):
        assert a.ids == b.ids and a.epoch == b.epoch
        assert torch.equal(a.waves, b.waves) and torch.equal(a.lengths, b.lengths)
        assert (a.labels is None) == (b.labels is None)
        assert a.labels is None or torch.equal(a.labels, b.labels)


def test_batch_record(manifest, labels):
    for batch in loader(manifest, labels).batches(epoch=3):
        size, samples = batch.waves.shape
        assert batch.waves.dtype == torch.float32 and batch.lengths.dtype == torch.int64
        assert batch.labels.dtype == torch.int64 and len(batch.ids) == len(batch.lengths) == size
        assert batch.epoch == 3 and batch.skipped == []
        assert batch.seconds == pytest.approx(int(batch.lengths.sum()) / 16_000)
        assert batch.padded_seconds == pytest.approx(size * samples / 16_000)
        assert batch.padded_seconds <= 4.0 and samples == batch.lengths.max() <= 16_000
        assert batch.labels.shape == (size, frame_lengths(samples))
        for wave, row, length in zip(batch.waves, batch.labels, batch.lengths, strict=True):
            assert not wave[length:].any()
            assert (row[frame_lengths(length) :] == -1).all()
            assert (row[: frame_lengths(length)] >= 0).all()
        assert batch.to("cpu").ids == batch.ids
    assert next(loader(manifest).batches(0)).labels is None


def test_labels_follow_the_crop(manifest, labels):
    starts = []
    for batch in loader(manifest, labels).batches(0):
        for wave, row, length in zip(batch.waves, batch.labels, batch.lengths, strict=True):
            start = round(float(wave[0]) / STEP)
            assert start % 320 == 0
            frames = frame_lengths(int(length))
            assert row[:frames].tolist() == list(range(start // 320, start // 320 + frames))
            starts.append(start)
    assert len(set(starts)) > 5  # it does crop, here and there


def test_crops_change_with_epoch_and_seed_only(manifest):
    def crops(**kwargs):
        epoch = kwargs.pop("epoch", 0)
        batches = loader(manifest, **kwargs).batches(epoch)
        return {
            id: round(float(wave[0]) / STEP)
            for batch in batches
            for id, wave in zip(batch.ids, batch.waves, strict=True)
        }

    assert crops() == crops(batch_seconds=2.0, buckets=3)
    assert crops() != crops(epoch=1)
    assert crops() != crops(seed=1)
    many = Counter(crops(epoch=epoch, max_seconds=0.5)["00.wav"] for epoch in range(30))
    assert len(many) > 10


def test_normalisation_is_over_the_whole_utterance(manifest):
    ramps = {
        cut.id: np.arange(cut.num_samples, dtype=np.float32) * np.float32(STEP)
        for cut in manifest.cuts
    }
    for batch in loader(manifest, normalize=True).batches(0):
        for id, wave, length in zip(batch.ids, batch.waves.numpy(), batch.lengths, strict=True):
            whole = normalize(ramps[id])
            start = int(np.abs(whole - wave[0]).argmin())
            np.testing.assert_allclose(wave[:length], whole[start : start + length], atol=1e-4)


def test_every_utterance_is_in_exactly_one_batch_of_an_epoch(manifest):
    everything = sorted(cut.id for cut in manifest.cuts)
    orders = []
    for epoch in range(3):
        seen = [id for batch in loader(manifest).batches(epoch) for id in batch.ids]
        assert sorted(seen) == everything
        orders.append(tuple(seen))
    assert len(set(orders)) == 3


def test_whole_utterances_without_cropping(manifest):
    batches = list(loader(manifest, crop=False, batch_seconds=1.5, max_seconds=1.5).batches(0))
    lengths = {cut.id: cut.num_samples for cut in manifest.cuts}
    for batch in batches:
        assert batch.lengths.tolist() == [lengths[id] for id in batch.ids]
        assert batch.padded_seconds <= 1.5 or len(batch.ids) == 1
    assert max(batch.padded_seconds for batch in batches) > 1.5


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_and_where_an_epoch_is_entered_change_nothing(manifest, labels, workers):
    everything = list(loader(manifest, labels).batches(1))
    same(everything, loader(manifest, labels, workers=workers).batches(1))
    same(everything[4:], loader(manifest, labels, workers=workers).batches(1, start=4))
    assert list(loader(manifest, workers=workers).batches(1, start=len(everything))) == []
    assert loader(manifest).num_batches(1) == len(everything)


def test_entering_late_decodes_nothing_before(manifest, monkeypatch):
    decoded = []

    def spy(cut):
        decoded.append(cut.id)
        return load_wave(cut)

    monkeypatch.setattr("mt4ssl_core.data.batch.load_wave", spy)
    rest = [id for batch in loader(manifest).batches(0, start=5) for id in batch.ids]
    assert decoded == rest and 0 < len(rest) < 40


@pytest.mark.parametrize("world_size", [2, 3])
def test_ranks_share_the_sequence_of_one_process(manifest, labels, world_size):
    alone = [batch.ids for batch in loader(manifest, labels).batches(0)]
    ranks = [
        list(loader(manifest, labels, rank=rank, world_size=world_size).batches(0))
        for rank in range(world_size)
    ]
    assert len({len(batches) for batches in ranks}) == 1
    assert len(ranks[0]) == loader(manifest, world_size=world_size).num_batches(0)
    together = [batches[step].ids for step in range(len(ranks[0])) for batches in ranks]
    assert together[: len(alone)] == alone
    assert together[len(alone) :] == [[]] * (len(together) - len(alone))


def test_empty_batches_when_there_are_more_ranks_than_batches(manifest, labels):
    manifest = type(manifest)(manifest.cuts.take(np.arange(1)), 0.0)
    batch, *others = loader(manifest, labels, rank=1, world_size=2).batches(0)
    assert not others and batch.ids == [] and batch.seconds == batch.padded_seconds == 0
    assert batch.waves.shape == (0, 0) and batch.labels.shape == (0, 0) and not len(batch.lengths)


def test_random_state_of_the_program_is_left_alone(manifest):
    before = torch.get_rng_state()
    for workers in (0, 2):
        list(loader(manifest, workers=workers).batches(0))
    assert torch.equal(torch.get_rng_state(), before)


def test_closing_ends_the_workers(manifest):
    batches = loader(manifest, workers=2).batches(0)
    next(batches)
    assert len(multiprocessing.active_children()) == 2
    batches.close()
    assert multiprocessing.active_children() == []


def _start_slowly(number):
    time.sleep(number)  # the second is not there yet when the first gives a batch
    loader_workers.start_worker(number)


@pytest.mark.parametrize("start", [loader_workers.start_worker, _start_slowly])
def test_signals_to_the_process_group_do_not_disturb_the_workers(manifest, monkeypatch, start):
    monkeypatch.setattr("mt4ssl_core.data.loader.start_worker", start)
    batches = loader(manifest, workers=2, batch_seconds=1.0).batches(0)
    count = len(next(batches).ids)
    for worker in multiprocessing.active_children():
        assert worker.pid is not None
        os.kill(worker.pid, signal.SIGINT)
        os.kill(worker.pid, signal.SIGTERM)
    assert count + sum(len(batch.ids) for batch in batches) == 40
    assert multiprocessing.active_children() == []


def bad_corpus(root):
    """One good file; one with NaN and one cut in half, whose headers are fine."""
    rng = np.random.default_rng(0)
    soundfile.write(root / "good.wav", rng.normal(0, 0.1, 16_000), 16_000)
    soundfile.write(root / "nan.wav", np.full(16_000, np.nan), 16_000, subtype="FLOAT")
    soundfile.write(root / "half.flac", rng.normal(0, 0.1, 16_000), 16_000)
    data = (root / "half.flac").read_bytes()
    (root / "half.flac").write_bytes(data[: len(data) // 2])
    return open_manifest(root, min_seconds=0.1)


@pytest.mark.parametrize("workers", [0, 2])
def test_undecodable_files_are_named_and_skipped(tmp_path, workers):
    batches = list(loader(bad_corpus(tmp_path), workers=workers).batches(0))
    assert [id for batch in batches for id in batch.ids] == ["good.wav"]
    skipped = sorted(item for batch in batches for item in batch.skipped)
    assert [item.name for item in skipped] == [
        str(tmp_path / name) for name in ("half.flac", "nan.wav")
    ]
    assert skipped[1].reason.startswith("has NaN") and skipped[1].seconds == 1.0


def test_a_batch_of_bad_files_only_is_empty(tmp_path):
    soundfile.write(tmp_path / "nan.wav", np.full(16_000, np.nan), 16_000, subtype="FLOAT")
    (batch,) = loader(open_manifest(tmp_path, min_seconds=0.1)).batches(0)
    assert batch.ids == [] and len(batch.skipped) == 1 and batch.waves.shape == (0, 0)


@pytest.mark.parametrize("workers", [0, 2])
def test_strict_stops_with_one_line(tmp_path, workers):
    with pytest.raises(ValueError, match=r"nan\.wav|half\.flac") as caught:
        list(loader(bad_corpus(tmp_path), strict=True, workers=workers).batches(0))
    assert "\n" not in str(caught.value)
    assert multiprocessing.active_children() == []


def test_utterance_without_labels_is_refused_at_the_start(manifest, corpus, tmp_path):
    lines = (corpus / "train.tsv").read_text().splitlines()
    (tmp_path / "few.tsv").write_text("\n".join(lines[:-2]) + "\n")
    rows = (corpus / "train.km").read_text().splitlines()
    (tmp_path / "few.km").write_text("\n".join(rows[:-2]) + "\n")
    with pytest.raises(ValueError, match=r"few\.km: 2 utterance.* first 38\.wav"):
        loader(manifest, LabelStore.open(tmp_path / "few.km"))


def test_row_of_labels_that_is_too_short_stops_before_training(manifest, corpus, tmp_path):
    rows = (corpus / "train.km").read_text().splitlines()
    rows[6] = rows[6].rsplit(" ", 4)[0]
    (tmp_path / "cut.km").write_text("\n".join(rows) + "\n")
    (tmp_path / "cut.tsv").write_text((corpus / "train.tsv").read_text())
    with pytest.raises(ValueError, match=r"cut\.km:7: .* labels for 06\.wav"):
        loader(manifest, LabelStore.open(tmp_path / "cut.km"))


@pytest.mark.parametrize(("rate", "step"), [(100, 2), (25, 0.5)])
def test_labels_at_another_rate_follow_the_crop(manifest, corpus, tmp_path, rate, step):
    rows = [frame_lengths(cut.num_samples) for cut in manifest.cuts]
    (tmp_path / "x.km").write_text(
        "".join(" ".join(map(str, range(round(t * rate / 50)))) + "\n" for t in rows)
    )
    (tmp_path / "x.tsv").write_text((corpus / "train.tsv").read_text())
    with pytest.raises(ValueError, match=rf"40 of 40 rows .*set data\.label_rate={rate}"):
        loader(manifest, LabelStore.open(tmp_path / "x.km"))
    labels = LabelStore.open(tmp_path / "x.km", label_rate=rate)
    for batch in loader(manifest, labels).batches(0):
        for wave, row, length in zip(batch.waves, batch.labels, batch.lengths, strict=True):
            first, frames = round(float(wave[0]) / STEP) // 320, frame_lengths(int(length))
            expected = [int((first + t) * step) for t in range(frames)]
            assert [a for a, b in zip(row[:frames].tolist(), expected, strict=True) if a >= 0] == [
                b for a, b in zip(row[:frames].tolist(), expected, strict=True) if a >= 0
            ]
            assert (row[: frames - 2] >= 0).all()


def test_lengths_at_the_files_own_rate_are_not_blamed_on_the_labels(tmp_path):
    rows, labels = [], []
    for number in range(4):
        samples = 8_000 + 800 * number
        path = tmp_path / f"{number}.wav"
        soundfile.write(path, np.full(samples, 0.1), 8_000 if number == 3 else 16_000)
        rows.append(TsvRow(path.name, path, samples))
        labels.append(" ".join(["0"] * frame_lengths(samples * (2 if number == 3 else 1))))
    write_tsv(tmp_path / "x.tsv", tmp_path, rows)
    (tmp_path / "x.km").write_text("\n".join(labels) + "\n")
    mixed = open_manifest(tmp_path / "x.tsv", min_seconds=0.1)
    with pytest.raises(ValueError, match=r"x\.km:4: .*its length at its own 8000 Hz"):
        loader(mixed, LabelStore.open(tmp_path / "x.km"))


@pytest.mark.parametrize("listed", [8_000, 15_000, 960_000])
def test_a_wrong_length_in_the_list_is_not_blamed_on_the_labels(tmp_path, listed):
    rows = []
    for number in range(3):
        path = tmp_path / f"{number}.wav"
        soundfile.write(path, np.full(16_000, 0.1), 16_000)
        rows.append(TsvRow(path.name, path, listed if number == 1 else 16_000))
    write_tsv(tmp_path / "x.tsv", tmp_path, rows)
    (tmp_path / "x.km").write_text((" ".join(["0"] * frame_lengths(16_000)) + "\n") * 3)
    audio = open_manifest(tmp_path / "x.tsv", min_seconds=0.1)
    with pytest.raises(ValueError, match=rf"x\.km:2: .*{listed} samples, but the file has 16000"):
        loader(audio, LabelStore.open(tmp_path / "x.km"))


@pytest.fixture(scope="module")
def speech_lengths():
    """8 hours like real collections: half of it near 1 s, then a long tail up to 20 s."""
    rng = np.random.default_rng(0)
    short = rng.normal(1.0, 0.03, 7_000).clip(0.5, 1.1)
    long = np.exp(rng.normal(1.2, 0.5, 6_000)).clip(0.5, 20)
    return (np.concatenate([short, long]) * 16_000).astype(np.int64)


@pytest.mark.parametrize("batch_seconds", [12, 60, 240])
def test_little_padding_and_full_batches(speech_lengths, batch_seconds):
    lengths = np.minimum(speech_lengths, batch_seconds * 16_000)
    rng = np.random.default_rng(0)
    groups = group_by_length(lengths, batch_seconds * 16_000, 0, rng)
    padded = np.array([len(group) * lengths[group].max() for group in groups]) / 16_000
    assert sorted(np.concatenate(groups)) == list(range(len(lengths)))
    assert padded.max() <= batch_seconds
    assert lengths.sum() / 16_000 / padded.sum() >= 0.95
    assert padded.mean() >= 0.8 * batch_seconds
    tenth = len(groups) // 10  # no part of the epoch is made of one kind
    late = np.mean([lengths[group].mean() for group in groups[-tenth:]])
    assert late == pytest.approx(np.mean([lengths[g].mean() for g in groups]), rel=0.5)


@pytest.mark.parametrize("buckets", [1, 5, 50])
def test_number_of_buckets(speech_lengths, buckets):
    groups = group_by_length(speech_lengths, 60 * 16_000, buckets, np.random.default_rng(0))
    longest = [speech_lengths[group].max() for group in groups]
    assert sum(map(len, groups)) == len(speech_lengths)
    assert max(len(g) * top for g, top in zip(groups, longest, strict=True)) <= 60 * 16_000


def test_groups_of_equal_lengths_are_mixed_anew_every_epoch():
    lengths = np.full(100, 16_000)
    one, two = (
        group_by_length(lengths, 160_000, 0, np.random.default_rng(epoch)) for epoch in range(2)
    )
    assert {len(group) for group in one + two} == {10}
    assert {frozenset(group) for group in one}.isdisjoint({frozenset(group) for group in two})
