"""What MiniSUPERB's recipe trains on is drawn once, and always the same."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from upstream.corpora import asr, minisuperb, prepared
from upstream.door import tasks


def write_split(root, lines):
    root.mkdir(parents=True, exist_ok=True)
    (root / "iden_split.txt").write_text("".join(f"{split} {path}\n" for split, path in lines))


def utterances(speakers=12):
    """Lines of a split, speakers in no order."""
    names = [f"id{10001 + k % speakers}/video{k % 5}/{k:05d}.wav" for k in range(speakers * 9)]
    return [({7: 2, 8: 3}.get(k // speakers, 1), name) for k, name in enumerate(names)]


def test_one_utterance_of_every_speaker_is_trained_on_and_it_is_that_of_minisuperb(tmp_path):
    lines = utterances()
    write_split(tmp_path, lines)
    part = minisuperb.one_per_speaker(tmp_path)
    [made] = part.paths.values()
    chosen = [line.split() for line in Path(made).read_text().splitlines()]
    trained = [path for split, path in chosen if split == "1"]
    assert len({path.split("/")[0] for path in trained}) == len(trained) == 12
    assert [c for c in chosen if c[0] != "1"] == [
        [str(s), path] for split in (2, 3) for s, path in lines if s == split
    ]
    frame = pd.DataFrame(lines, columns=["split", "path"])
    frame = frame[frame.split == 1].assign(speaker=lambda f: f.path.str[:7])
    theirs = frame.groupby("speaker")["path"].apply(lambda x: x.sample(1, random_state=42))
    assert sorted(trained) == sorted(theirs)
    assert part.about["utterances"] == 12 and part.about["seed"] == 42
    assert minisuperb.one_per_speaker(tmp_path) == part


def test_empty_lines_of_a_split_are_skipped(tmp_path):
    write_split(tmp_path, utterances())
    split = tmp_path / "iden_split.txt"
    split.write_text(split.read_text().replace("\n", "\n\n", 3) + "\n")
    assert minisuperb.one_per_speaker(tmp_path).about["utterances"] == 12


def test_another_split_is_drawn_anew(tmp_path):
    write_split(tmp_path, utterances())
    first = minisuperb.one_per_speaker(tmp_path)
    write_split(tmp_path, utterances(speakers=13))
    other = minisuperb.one_per_speaker(tmp_path)
    assert other.about["utterances"] == 13
    assert other.about["fingerprint"] != first.about["fingerprint"]


def test_without_the_split_it_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"no iden_split\.txt or veri_test_class\.txt; download"):
        minisuperb.one_per_speaker(tmp_path)


@pytest.fixture
def libri(tmp_path):
    """Prepared lengths of a train-clean-100 of 30 hours; no audio."""
    folder = tmp_path / prepared.FOLDER / "asr" / asr.BUCKETS
    folder.mkdir(parents=True)
    lengths = np.random.default_rng(0).integers(50_000, 400_000, 5000).tolist()
    for split, rows in (("train-clean-100", lengths), ("dev-clean", [5]), ("test-clean", [6])):
        named = [(f"{split}/{k % 50}/1/{k % 50}-1-{k:04d}.flac", n) for k, n in enumerate(rows)]
        (folder / f"{split}.csv").write_text(asr.table(named))
    return tmp_path


def read(part, name):
    return pd.read_csv(f"{part.paths['downstream_expert.datarc.bucket_file']}/{name}.csv")


def test_ten_hours_are_drawn_over_all_speakers(libri):
    part = minisuperb.ten_hours(libri)
    chosen = read(part, minisuperb.TEN_HOURS)
    assert chosen.length.sum() / 16_000 / 3600 == pytest.approx(10, abs=0.01)
    assert part.about["hours"] == pytest.approx(10, abs=0.01)
    assert chosen.length.is_monotonic_decreasing and chosen.file_path.is_unique
    assert chosen.file_path.str.split("/").str[1].nunique() == 50
    assert read(part, "dev-clean").length.tolist() == [5]
    [(key, folder)] = part.paths.items()
    for name in tasks.header("asr")["root_keys"][key]["holds"]:
        assert Path(folder, name).is_file()
    assert minisuperb.ten_hours(libri) == part
    assert part.about["list"] == "10 hours of train-clean-100"


def test_libri_light_s_ten_hours_are_taken_where_they_are(libri):
    folder = libri / "LibriSpeech" / "librispeech_finetuning" / "1h" / "0" / "other" / "7" / "8"
    folder.mkdir(parents=True)
    for k in range(3):
        soundfile.write(folder / f"7-8-{k:04d}.flac", np.zeros(1600 * (k + 1)), 16_000)
    part = minisuperb.part("asr", libri)
    chosen = read(part, minisuperb.TEN_HOURS)
    assert chosen.length.tolist() == [4800, 3200, 1600]
    assert chosen.file_path[0] == "librispeech_finetuning/1h/0/other/7/8/7-8-0002.flac"
    assert part.about["list"] == "librispeech_finetuning" and part.about["utterances"] == 3
