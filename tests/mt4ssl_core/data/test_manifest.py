import os

import numpy as np
import pytest
import soundfile
from lhotse import CutSet, Recording

from mt4ssl_core.data import ffmpeg_audio
from mt4ssl_core.data.audio import load_wave
from mt4ssl_core.data.cuts import ListedCuts, stable_hash
from mt4ssl_core.data.manifest import open_manifest, split_valid
from mt4ssl_core.data.tsv import TsvRow, write_tsv


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
    cuts = CutSet(list(folder.cuts))
    cuts.to_file(tmp_path / "cuts.jsonl.gz")
    (tmp_path / "shar").mkdir()
    cuts.to_shar(tmp_path / "shar", fields={"recording": "flac"}, shard_size=2)
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
    manifest.cuts = ListedCuts(list(manifest.cuts)[:30])  # the others stay where they were
    assert set(ids(split_valid(manifest, 0.2)[1])) <= set(ids(valid))


def test_split_of_little_data_leaves_something_on_both_sides(tmp_path):
    manifest = open_manifest(corpus(tmp_path, [0.1] * 3), min_seconds=0.1)
    assert [len(part.cuts) for part in split_valid(manifest, 1e-9)] == [2, 1]
    assert [len(part.cuts) for part in split_valid(manifest, 1.0)] == [1, 2]
    assert [len(part.cuts) for part in split_valid(manifest, 0.0)] == [3, 0]


def test_hash_is_the_same_everywhere():
    assert stable_hash("valid", 0, "a/b.wav") == 15601081246165072802
    assert stable_hash("a", "b") != stable_hash("ab", "")


@pytest.mark.parametrize("suffix", [".m4a", ".webm", ".mp4", ".aac"])
def test_what_is_not_looked_at_is_counted(tmp_path, monkeypatch, suffix):
    monkeypatch.setattr(ffmpeg_audio, "available", lambda: False)
    corpus(tmp_path, [1.0])
    for name in (f"a{suffix}", f"b{suffix.upper()}", "a.txt", "b.txt", "c.raw", "README"):
        (tmp_path / name).write_text("x")
    (tmp_path / "old.bak").write_bytes((tmp_path / "speaker0/utt0.wav").read_bytes())
    (tmp_path / ".hidden.wav").write_text("x")
    (tmp_path / "loop").symlink_to(tmp_path)
    (note,) = open_manifest(tmp_path, min_seconds=0.5).notes
    assert note.startswith(f"{tmp_path}: not looked at: ") and "\n" not in note
    for part in (f"2 {suffix} (libsndfile does not decode these: install torchcodec", "2 .txt",
                 "1 .raw (no header", "1 without suffix", "1 .bak (audio by their content",
                 "1 hidden audio file", "1 link(s) to folders already seen"):  # fmt: skip
        assert part in note
    with pytest.raises(ValueError, match=rf"no audio in this folder .*1 {suffix}"):
        (tmp_path / "only").mkdir()
        (tmp_path / f"a{suffix}").rename(tmp_path / "only" / f"a{suffix}")
        open_manifest(tmp_path / "only", min_seconds=0.5)


def test_texts_that_the_caller_reads_are_not_said_to_be_left_out(tmp_path):
    corpus(tmp_path)
    for name in ("a.txt", "B.TXT"):
        (tmp_path / name).write_text("x")
    assert open_manifest(tmp_path, min_seconds=0.5, texts=True).notes == []
    (tmp_path / "notes.md").write_text("x")
    (note,) = open_manifest(tmp_path, min_seconds=0.5, texts=True).notes
    assert note == f"{tmp_path}: not looked at: 1 .md"


def test_nothing_to_say_about_a_plain_folder(tmp_path):
    assert open_manifest(corpus(tmp_path), min_seconds=0.5).notes == []


def test_a_closed_folder_is_named(tmp_path, monkeypatch):
    corpus(tmp_path)
    scandir = os.scandir

    def closed(path):
        if str(path).endswith("speaker1"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)
    ((path, reason),) = open_manifest(tmp_path, min_seconds=0.5).skipped
    assert path.endswith("speaker1") and "cannot be opened (Permission denied)" in reason


def tsv(folder, rows, root=None):
    text = "".join(f"{name}\t{samples}\n" for name, samples in rows)
    (folder / "x.tsv").write_text(f"{root or folder}\n{text}")
    return folder / "x.tsv"


ROWS = [("speaker0/utt0.wav", 16_000), ("speaker1/utt1.wav", 32_000), ("speaker0/utt2.wav", 48_000)]


@pytest.mark.parametrize("claim", [9223372036854775807, 10**30, 4 * 3600 * 16_000 + 1])
def test_absurd_lengths_of_a_list_are_skipped_and_named(tmp_path, claim):
    path = tsv(corpus(tmp_path), [*ROWS[:2], (ROWS[2][0], claim)])
    manifest = open_manifest(path, min_seconds=0.5)
    ((name, reason),) = manifest.skipped
    assert name.endswith("utt2.wav") and "line 4 of" in reason and "4 h" in reason
    assert manifest.unreadable == 1 and len(manifest.cuts) == 2
    with pytest.raises(ValueError, match=r"utt2\.wav: .*line 4"):
        open_manifest(path, min_seconds=0.5, strict=True)


@pytest.mark.parametrize("rate", [8_000, 22_050, 48_000])
def test_lengths_at_the_files_own_rate(tmp_path, rate):
    rows = [(name, samples * rate // 16_000) for name, samples in ROWS]
    path = tsv(corpus(tmp_path, rate=rate), rows)
    with pytest.raises(ValueError, match=rf"x\.tsv: lengths at another rate: .* own {rate} Hz"):
        open_manifest(path, min_seconds=0.1)


def test_a_pipe_in_a_list_or_folder(tmp_path):
    os.mkfifo(corpus(tmp_path) / "p.wav")
    for source in (tmp_path, tsv(tmp_path, [*ROWS, ("p.wav", 16_000)])):
        manifest = open_manifest(source, min_seconds=0.5)
        ((name, reason),) = manifest.skipped
        assert name.endswith("p.wav") and "a pipe (FIFO)" in reason and len(manifest.cuts) == 3
    os.mkfifo(tmp_path / "pipe.tsv")
    os.mkfifo(tmp_path / "pipe.jsonl")
    for name in ("pipe.tsv", "pipe.jsonl"):
        with pytest.raises(ValueError, match=rf"{name}: .*FIFO"):
            open_manifest(tmp_path / name, min_seconds=0.5)


@pytest.mark.parametrize(("bad", "most"), [(2, 0.05), (3, 0.3), (1, 0.0)])
def test_too_many_unreadable_files(tmp_path, bad, most):
    corpus(tmp_path, [1.0] * 6)
    for number in range(bad):
        (tmp_path / f"bad{number}.wav").write_bytes(b"")
    with pytest.raises(ValueError, match=rf"{bad} of {6 + bad} files could not be used"):
        open_manifest(tmp_path, min_seconds=0.5, max_skipped=most)
    manifest = open_manifest(tmp_path, min_seconds=0.5, max_skipped=0.5)
    assert manifest.unreadable == bad


def test_one_unreadable_file_is_never_too_many(tmp_path):
    (corpus(tmp_path) / "bad.wav").write_bytes(b"")
    assert len(open_manifest(tmp_path, min_seconds=0.5, max_skipped=0.05).cuts) == 3
