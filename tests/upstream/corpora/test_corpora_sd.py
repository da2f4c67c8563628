"""Libri2Mix for diarization: Kaldi folders checked, or built from the tree and its turns."""

import shutil

import numpy as np
import pytest
import soundfile

from upstream import corpora
from upstream.corpora import sd
from upstream.corpora.kaldi import read_scp
from upstream.corpora.rttm import read_rttm
from upstream.door import tasks

MIX = "11-22-0001_33-44-0002"


@pytest.fixture
def root(tmp_path):
    """One mixture of 2 s per split: 11 speaks 0.1-0.9 and 1.2-1.5 s, 33 speaks 0.5-1.9 s."""
    for part, libri in sd.SPLITS.values():
        folder = tmp_path / sd.TREE
        (folder / part / "mix_both").mkdir(parents=True)
        wave = 0.1 * np.random.default_rng(0).standard_normal(32000)
        audio = folder / part / "mix_both" / f"{MIX}.wav"
        soundfile.write(audio, wave, 16000)
        (folder / "metadata").mkdir(exist_ok=True)
        (folder / "metadata" / f"mixture_{part}_mix_both.csv").write_text(
            "mixture_ID,mixture_path,source_1_path,source_2_path,noise_path,length\n"
            f"{MIX},/moved/since/{MIX}.wav,a.wav,b.wav,c.wav,32000.0\n"
        )
        turns = tmp_path / sd.TURNS
        turns.mkdir(parents=True, exist_ok=True)
        (turns / f"{libri}.rttm").write_text(
            "SPEAKER 22-0001 1 0.10 0.80 <NA> <NA> 11 <NA> <NA>\n"
            "SPEAKER 22-0001 1 1.20 0.30 <NA> <NA> 11 <NA> <NA>\n"
            "SPEAKER 22-0001 1 0.00 9.00 <NA> <NA> 99 <NA> <NA>\n"  # another speaker's utterance
            "SPEAKER 44-0002 1 0.50 1.40 <NA> <NA> 33 <NA> <NA>\n"
        )
    return tmp_path


def survey(root):
    return corpora.survey("sd", root, tasks.header("sd"))


def test_a_whole_tree_has_no_problems(root):
    found = survey(root)
    assert found.problems == [] and found.counts == {"train": 1, "dev": 1, "test": 1}
    assert found.hours == pytest.approx(6 / 3600)


def test_preparation_makes_folders_that_pass_the_check(root):
    corpora.prepare("sd", root)
    folder = root / "prepared" / "sd"
    assert survey(folder).problems == [] and survey(folder).counts == survey(root).counts
    assert read_rttm(folder / "test" / "rttm") == {
        MIX: [("11", 0.1, pytest.approx(0.9)), ("11", 1.2, 1.5), ("33", 0.5, 1.9)]
    }
    segments = read_scp(folder / "train" / "segments")
    assert segments[f"33-{MIX}_000500_001900"] == [MIX, "0.500", "1.900"]
    assert read_scp(folder / "train" / "spk2utt").keys() == {"11", "33"}
    assert float(read_scp(folder / "dev" / "reco2dur")[MIX][0]) == 2.0
    before = (folder / "test" / "rttm").stat().st_mtime_ns
    corpora.prepare("sd", root)
    assert (folder / "test" / "rttm").stat().st_mtime_ns == before


def test_ready_folders_are_taken_as_they_are(root):
    corpora.prepare("sd", root)
    ready = root.with_name(f"{root.name}_ready")
    shutil.copytree(root / "prepared" / "sd", ready)
    corpora.prepare("sd", ready)
    assert not (ready / "prepared").exists()


def test_problems_of_ready_folders_come_at_once(root):
    corpora.prepare("sd", root)
    folder = root / "prepared" / "sd"
    (folder / "dev" / "reco2dur").unlink()
    (folder / "train" / "rttm").write_text("")
    (folder / "train" / "wav.scp").write_text(f"{MIX} /not here/{MIX}.wav\nother /not.wav\n")
    lines = (folder / "test" / "utt2spk").read_text().splitlines()
    (folder / "test" / "utt2spk").write_text("\n".join(lines[1:]) + "\n")
    text = "\n".join(survey(folder).problems)
    assert "dev: reco2dur missing" in text
    assert f"audio that is not there: /not here/{MIX}.wav, /not.wav" in text
    assert "train/segments: has nothing on other" in text and "train/rttm: has nothing on" in text
    assert "test/utt2spk: has nothing on 11-" in text
    with pytest.raises(ValueError, match="cannot be prepared"):
        corpora.prepare("sd", folder)


def test_more_than_two_speakers_are_named(root):
    corpora.prepare("sd", root)
    folder = root / "prepared" / "sd" / "test"
    with open(folder / "segments", "a") as segments, open(folder / "utt2spk", "a") as speakers:
        segments.write(f"55-x {MIX} 0.1 0.2\n")
        speakers.write("55-x 55\n")
    problems = survey(folder.parent).problems
    assert len(problems) == 1 and "more than 2 speakers" in problems[0]


def test_problems_of_a_tree_come_at_once(root):
    tree = root / sd.TREE
    (tree / "metadata" / "mixture_dev_mix_both.csv").unlink()
    (tree / "train-100" / "mix_both" / f"{MIX}.wav").unlink()
    soundfile.write(tree / "test" / "mix_both" / f"{MIX}.wav", np.zeros(800), 8000)
    (root / sd.TURNS / "train_clean_100.rttm").write_text("")
    (root / sd.TURNS / "test_clean.rttm").unlink()
    text = "\n".join(survey(root).problems)
    assert "mixture_dev_mix_both.csv: no such file" in text
    assert f"mix_both: {MIX}.wav missing" in text and "8000 Hz" in text
    assert "train_clean_100.rttm: turns of 11-22-0001, turns of 33-44-0002 missing" in text
    assert "test_clean.rttm: no such file" in text and "https://github.com/s3prl/LibriMix" in text


def test_the_min_version_is_named(root):
    (root / sd.TREE).rename(root / "Libri2Mix/wav16k/min")
    problems = survey(root).problems
    assert len(problems) == 3 and all("min version" in problem for problem in problems)


def test_another_table_is_refused(root):
    table = root / sd.TREE / "metadata" / "mixture_test_mix_both.csv"
    table.write_text("id,path\n1,2\n")
    with pytest.raises(ValueError, match="expected the columns mixture_ID"):
        survey(root)
