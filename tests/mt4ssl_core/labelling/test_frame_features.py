from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch
from superb_data import TINY, save_checkpoint, tiny_checkpoint

from mt4ssl_core.checkpoints.fingerprints import checkpoint_fingerprint, encoder_fingerprint
from mt4ssl_core.data.audio_bar import AudioBar
from mt4ssl_core.data.manifest import open_manifest
from mt4ssl_core.data.mfcc import mfcc
from mt4ssl_core.labelling.frame_features import FeatureSource, encoder_features, stream
from mt4ssl_core.model.encoder import Encoder
from mt4ssl_core.settings.frames import num_frames
from mt4ssl_core.store.store import FRAMES, FeatureKind, FeatureStore, content_key
from upstream.door.expert import UpstreamExpert


@pytest.fixture
def corpus(tmp_path):
    random = np.random.default_rng(0)
    for number in range(9):
        wave = 0.1 * random.standard_normal(1000 + 700 * number)
        soundfile.write(tmp_path / f"{number}.wav", wave, 16000)
    return tmp_path


def bar() -> AudioBar:
    return AudioBar("test", 1.0, [], False)


def test_stream_is_in_order_and_complete_with_any_number_of_workers(corpus):
    cuts = open_manifest(corpus, min_seconds=0).cuts
    for workers in (1, 2, 5):
        rows = list(stream(cuts, FeatureSource.of("mfcc"), workers, False, bar()))
        assert [cut.id for cut, _, _ in rows] == [f"{n}.wav" for n in range(9)]
        for _, wave, frames in rows:
            expected = mfcc(torch.from_numpy(wave))  # sums of another order, with more threads
            assert torch.allclose(frames, expected, atol=1e-3, rtol=1e-4)


def test_stream_reads_only_a_little_ahead(corpus):
    taken = []

    def cuts():
        for cut in list(open_manifest(corpus, min_seconds=0).cuts) * 20:
            taken.append(cut.id)
            yield cut

    rows = stream(cuts(), FeatureSource.of("mfcc"), 2, False, bar())
    for _ in range(10):
        next(rows)
    assert len(taken) <= 10 + 4 * 2
    threads = torch.get_num_threads()
    rows.close()
    assert torch.get_num_threads() >= threads


def test_files_that_go_bad_later_are_skipped_or_stop(corpus):
    cuts = open_manifest(corpus, min_seconds=0).cuts
    (corpus / "3.wav").write_bytes(b"RIFF")
    counting = bar()
    rows = list(stream(cuts, FeatureSource.of("mfcc"), 2, False, counting))
    assert len(rows) == 8
    assert [path for path, _ in counting.skipped] == ["3.wav"]
    with pytest.raises(ValueError, match=r"3\.wav"):
        list(stream(cuts, FeatureSource.of("mfcc"), 2, True, bar()))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda wave: torch.zeros(num_frames(len(wave)) * 2, 4), r"0\.wav: .*50 frames per second"),
        (lambda wave: torch.zeros(num_frames(len(wave))), r"0\.wav: .*50 frames per second"),
        (lambda wave: torch.full((num_frames(len(wave)), 2), float("nan")), r"0\.wav: .*NaN"),
    ],
)
def test_features_of_another_rate_or_with_nan_stop(corpus, function, message):
    cuts = open_manifest(corpus, min_seconds=0).cuts
    with pytest.raises(ValueError, match=message):
        list(stream(cuts, FeatureSource.of(function), 1, False, bar()))


@pytest.mark.parametrize(
    "name", ["mfc", "ckpt:", "ckpt:a.pt", "ckpt:a.pt:six", "ckpt::6", "a.pt:6"]
)
def test_unknown_features(name):
    with pytest.raises(ValueError, match="expected 'mfcc' or 'ckpt:PATH:LAYER'"):
        FeatureSource.of(name)


def test_fingerprint_of_file_and_folder(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    assert checkpoint_fingerprint(tmp_path) == checkpoint_fingerprint(
        tmp_path / "model.safetensors"
    )
    (tmp_path / "other").write_bytes(b"Weights")
    assert checkpoint_fingerprint(tmp_path) != checkpoint_fingerprint(tmp_path / "other")


def test_bar_names_and_counts_what_is_left_out(capsys):
    progress = AudioBar("test", 1.0, [("a.wav", "broken")], True)
    progress.advance(2.5)
    progress.skip("b.wav", "empty")
    progress.close()
    printed = capsys.readouterr().out
    assert "skipped a.wav: broken" in printed
    assert "skipped b.wav: empty" in printed
    assert "2 files were skipped" in printed


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_stored_hidden_states_are_those_of_the_encoder(precision, tmp_path, monkeypatch):
    path = tiny_checkpoint()
    random = np.random.default_rng(0)
    waves = [random.standard_normal(size).astype(np.float32) for size in (400, 8000, 8160, 9000)]
    plain = encoder_features(path, 1)
    filling = encoder_features(path, 1, "cpu", FeatureStore(tmp_path / "store"), precision)
    filled = [filling(wave) for wave in waves]
    expected = [plain(wave) for wave in waves]
    reading = encoder_features(path, 1, "cpu", FeatureStore(tmp_path / "store"), precision)
    monkeypatch.setattr(Encoder, "forward", None)  # nothing is computed any more
    for wave, first, exact in zip(waves, filled, expected, strict=True):
        read = reading(wave)
        assert torch.equal(read, first) and read.dtype == torch.float32
        assert len(read) == num_frames(len(wave))
        assert torch.allclose(read, exact, atol=1e-5 if precision == "fp32" else 1e-2)


def test_hidden_states_are_shared_with_the_upstream_of_superb(tmp_path, monkeypatch):
    path = tiny_checkpoint()
    random = np.random.default_rng(0)
    waves = [random.standard_normal(size).astype(np.float32) for size in (8000, 8160, 12345)]
    expert = UpstreamExpert(str(path))
    store = FeatureStore(tmp_path / "store")
    name = encoder_fingerprint(expert.encoder)
    kind = FeatureKind("mt4ssl", name, "hidden_states", FRAMES, None, False, "fp32")
    ours = encoder_features(path, 2, "cpu", store)
    with torch.no_grad():
        for wave in waves:
            answer = expert([torch.from_numpy(wave)])["hidden_states"]
            assert torch.equal(ours(wave), answer[2][0, : num_frames(len(wave))])
            own = store.space(replace(kind, layers=(2,))).get(content_key(wave))
            assert torch.equal(own[0], answer[2][0])  # as many frames as s3prl's
            store.space(kind).put(content_key(wave), torch.stack([a[0] for a in answer]))
    other = encoder_features(path, 1, "cpu", store)
    monkeypatch.setattr(Encoder, "forward", None)
    for wave in waves:
        assert other(wave).shape == (num_frames(len(wave)), 16)  # read from what SUPERB stored


@pytest.mark.parametrize("stack", [2, 4])
def test_an_encoder_of_longer_frames_gives_one_to_every_label_that_begins_in_it(tmp_path, stack):
    cfg = replace(TINY, frontend="mel", mel_stack=stack)
    path = save_checkpoint(tmp_path / "mel.pt", cfg)
    source = FeatureSource.of(f"ckpt:{path}:1")
    for samples in (400, 719, 720, 1040, 9999):
        wave = np.random.default_rng(0).standard_normal(samples).astype(np.float32)
        frames = source.function(wave)
        source.check(frames, samples, "0.wav")
    frames = frames[: len(frames) // 2 * 2]
    assert torch.equal(frames[::2], frames[1::2]) == (stack == 4)
