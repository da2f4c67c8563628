import numpy as np
import pytest
import soundfile
from lhotse import CutSet, Recording

from mt4ssl_core.audio import load_wave
from mt4ssl_core.manifest import open_manifest, split_valid, stable_hash
from mt4ssl_core.tsv import TsvRow, write_tsv


def noise(samples, seed=0):
    return np.random.default_rng(seed).normal(0, 0.1, samples)


def corpus(root, seconds=(1.0, 2.0, 3.0), rate=16_000, suffix=".wav"):
    for number, length in enumerate(seconds):
        path = root / f"speaker{number % 2}" / f"utt{number}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, noise(round(length * rate), number), rate)
    return root


def ids(manifest):
    return [cut.id for cut in manifest.cuts]


def test_folder_is_searched_recursively_and_ids_are_relative_paths(tmp_path):
    corpus(tmp_path, rate=8_000)
    (tmp_path / "notes.txt").write_text("not audio")
    (tmp_path / "speaker0" / "._utt0.wav").write_text("left by a file manager")
    soundfile.write(tmp_path / "UPPER.FLAC", np.zeros((32_000, 2)), 32_000)
    manifest = open_manifest(tmp_path, min_seconds=0.5)
    assert ids(manifest) == [
        "UPPER.FLAC",
        "speaker0/utt0.wav",
        "speaker0/utt2.wav",
        "speaker1/utt1.wav",
    ]
    assert manifest.hours == pytest.approx(7 / 3600)
    assert manifest.skipped == []
    assert len(load_wave(manifest.cuts[1])) == 16_000


def test_linked_folders_are_followed_once(tmp_path):
    corpus(tmp_path / "real")
    (tmp_path / "all").mkdir()
    (tmp_path / "all" / "link").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "loop").symlink_to(tmp_path / "real")
    assert len(ids(open_manifest(tmp_path / "all", min_seconds=0.5))) == 3


def bad_files(root):
    corpus(root)
    (root / "empty.wav").write_bytes(b"")
    soundfile.write(root / "short.wav", noise(1_600), 16_000)
    soundfile.write(root / "zero.wav", np.zeros(0), 16_000)


def test_bad_headers_and_short_files_are_named_and_skipped(tmp_path):
    bad_files(tmp_path)
    manifest = open_manifest(tmp_path, min_seconds=0.5)
    assert len(manifest.cuts) == 3
    reasons = dict(manifest.skipped)
    assert set(reasons) == {str(tmp_path / f"{name}.wav") for name in ("empty", "short", "zero")}
    assert "0.1 s, shorter than 0.5 s" in reasons[str(tmp_path / "short.wav")]
    assert "no samples" in reasons[str(tmp_path / "zero.wav")]


def test_strict_stops_at_the_first(tmp_path):
    bad_files(tmp_path)
    with pytest.raises(ValueError, match=r"empty\.wav.*data\.strict=false"):
        open_manifest(tmp_path, min_seconds=0.5, strict=True)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere", "no such file or folder"),
        ("empty", "no audio in this folder"),
        ("all_short", "no usable audio .2 skipped, first .*shorter than 5 s"),
        ("one.wav", "expected a folder of audio"),
        ("bad.jsonl", "not a lhotse CutSet"),
        ("recordings.jsonl", "expected a lhotse CutSet"),
        ("missing.tsv", r"names .*utt7\.wav \(and 1 more\), which does not exist"),
        ("missing.jsonl", r"names .*gone\.wav, which does not exist"),
        ("twice.jsonl", "two utterances have the id a"),
    ],
)
def test_unusable_sources_are_one_clear_error(tmp_path, name, message):
    soundfile.write(tmp_path / "one.wav", noise(16_000), 16_000)
    (tmp_path / "empty").mkdir()
    corpus(tmp_path / "all_short", [1.0, 2.0])
    (tmp_path / "bad.jsonl").write_text('{"id": "a", "start"\n')
    recording = Recording.from_file(tmp_path / "one.wav", recording_id="a")
    cut = recording.to_cut()
    CutSet([cut, cut]).to_file(tmp_path / "twice.jsonl")
    (tmp_path / "recordings.jsonl").write_text(
        '{"id": "a", "sources": [], "sampling_rate": 16000, "num_samples": 1, "duration": 1.0}\n'
    )
    gone = Recording.from_file(tmp_path / "one.wav", recording_id="b")
    gone.sources[0].source = str(tmp_path / "gone.wav")
    CutSet([cut, gone.to_cut()]).to_file(tmp_path / "missing.jsonl")
    rows = [TsvRow(n, tmp_path / n, 16_000) for n in ("one.wav", "utt7.wav", "utt8.wav")]
    write_tsv(tmp_path / "missing.tsv", tmp_path, rows)
    with pytest.raises(ValueError, match=message) as caught:
        open_manifest(tmp_path / name, min_seconds=5.0 if name == "all_short" else 0.5)
    assert str(tmp_path / name) in str(caught.value)


def test_tsv_cutset_and_shar_give_what_the_folder_gives(tmp_path):
    folder = open_manifest(corpus(tmp_path / "audio", suffix=".flac"), min_seconds=0.5)
    rows = [TsvRow(cut.id, tmp_path / "audio" / cut.id, cut.num_samples) for cut in folder.cuts]
    write_tsv(tmp_path / "train.tsv", tmp_path / "audio", rows)
    folder.cuts.to_file(tmp_path / "cuts.jsonl.gz")
    (tmp_path / "shar").mkdir()
    folder.cuts.to_shar(tmp_path / "shar", fields={"recording": "flac"}, shard_size=2)
    expected = [load_wave(cut) for cut in folder.cuts]
    for name in ("train.tsv", "cuts.jsonl.gz", "shar"):
        manifest = open_manifest(tmp_path / name, min_seconds=0.5)
        assert ids(manifest) == ids(folder)
        assert manifest.hours == pytest.approx(folder.hours)
        for cut, wave in zip(manifest.cuts, expected, strict=True):
            np.testing.assert_allclose(load_wave(cut), wave, atol=1e-4)  # 16 bits, again
    assert (
        open_manifest(tmp_path / "train.tsv", min_seconds=1.5).skipped[0][0].endswith("utt0.flac")
    )


def test_shar_of_stereo_segments_and_bad_shards(tmp_path):
    ramp = np.arange(32_000) / 40_000
    soundfile.write(tmp_path / "a.wav", np.stack([ramp, ramp / 2], axis=1), 16_000)
    cut = Recording.from_file(tmp_path / "a.wav", recording_id="a").to_cut()
    parts = CutSet([cut.truncate(offset=0.5, duration=1.0).with_id("x/1"), cut.with_id("x/2")])
    (tmp_path / "shar").mkdir()
    parts.to_shar(tmp_path / "shar", fields={"recording": "wav"})
    manifest = open_manifest(tmp_path / "shar", min_seconds=0.5)
    np.testing.assert_allclose(load_wave(manifest.cuts[0]), 0.75 * ramp[8_000:24_000], atol=1e-4)
    tar = tmp_path / "shar" / "recording.000000.tar"
    data = tar.read_bytes()
    tar.write_bytes(b"x" * 1_000)
    with pytest.raises(ValueError, match=r"recording\.000000\.tar: cannot be read"):
        open_manifest(tmp_path / "shar", min_seconds=0.5)
    tar.write_bytes(data[:40_000])
    with pytest.raises(ValueError, match=r"truncated|cannot be read"):
        load_wave(open_manifest(tmp_path / "shar", min_seconds=0.5).cuts[0])
    tar.unlink()
    with pytest.raises(ValueError, match=r"recording\.000000\.tar, which does not exist"):
        open_manifest(tmp_path / "shar", min_seconds=0.5)


def test_split_is_stable_and_complete(tmp_path):
    manifest = open_manifest(corpus(tmp_path, [0.1] * 60), min_seconds=0.1)
    train, valid = split_valid(manifest, 0.2)
    assert sorted(ids(train) + ids(valid)) == sorted(ids(manifest))
    assert 4 <= len(valid.cuts) <= 22
    assert train.hours + valid.hours == pytest.approx(manifest.hours)
    assert ids(split_valid(manifest, 0.2)[1]) == ids(valid)
    assert ids(split_valid(manifest, 0.2, seed=1)[1]) != ids(valid)
    manifest.cuts = CutSet(list(manifest.cuts)[:30])  # the others stay where they were
    assert set(ids(split_valid(manifest, 0.2)[1])) <= set(ids(valid))


def test_split_of_little_data_leaves_something_on_both_sides(tmp_path):
    manifest = open_manifest(corpus(tmp_path, [0.1] * 3), min_seconds=0.1)
    assert [len(part.cuts) for part in split_valid(manifest, 1e-9)] == [2, 1]
    assert [len(part.cuts) for part in split_valid(manifest, 1.0)] == [1, 2]
    assert [len(part.cuts) for part in split_valid(manifest, 0.0)] == [3, 0]


def test_hash_is_the_same_everywhere():
    assert stable_hash("valid", 0, "a/b.wav") == 15601081246165072802
    assert stable_hash("a", "b") != stable_hash("ab", "")
