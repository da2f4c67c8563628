"""Libri2Mix for separation: what the survey finds, what the preparation makes."""

import shutil

import numpy as np
import pytest
import soundfile

from upstream import corpora
from upstream.corpora import ss
from upstream.corpora.kaldi import read_scp
from upstream.door import tasks


@pytest.fixture
def root(tmp_path):
    rng = np.random.default_rng(0)
    for part, count in (("train-100", 3), ("dev", 4), ("test", 1)):
        for condition in (*ss.NEEDED, "noise"):
            folder = tmp_path / "Libri2Mix/wav16k/min" / part / condition
            folder.mkdir(parents=True)
            for k in range(count):
                wave = 0.1 * rng.standard_normal(1600 + k)
                soundfile.write(folder / f"{k}-1-0000_{k + 10}-2-0001.wav", wave, 16000)
    return tmp_path


def survey(root):
    return corpora.survey("ss", root, tasks.header("ss"))


def test_a_whole_corpus_has_no_problems(root):
    found = survey(root)
    assert found.problems == [] and found.counts == {"train-100": 3, "dev": 4, "test": 1}
    assert survey(root / "Libri2Mix").counts == survey(root / "Libri2Mix/wav16k/min").counts


def test_preparation_makes_kaldi_folders(root, monkeypatch):
    monkeypatch.setattr(ss, "DEV_SIZE", 2)
    corpora.prepare("ss", root)
    folder = root / "prepared" / "ss"
    assert sorted(path.name for path in folder.iterdir()) == [
        "dev", "dev_2", "stamp.json", "test", "train-100",
    ]  # fmt: skip
    chosen = read_scp(folder / "dev_2" / "s1" / "wav.scp").keys()
    for condition in (*ss.NEEDED, "noise"):
        listed = read_scp(folder / "train-100" / condition / "wav.scp")
        assert len(listed) == 3 and all(condition in path for (path,) in listed.values())
        assert read_scp(folder / "dev_2" / condition / "spk2utt").keys() == chosen
    assert len(chosen) == 2 and chosen < read_scp(folder / "dev" / "s1" / "wav.scp").keys()


def test_dev_1000_is_drawn_as_in_superb():
    """The first 1000 of 3000 sorted names, after ``random.seed(7)`` and ``random.shuffle``."""
    names = [f"{k:04d}" for k in range(3000)]
    found = ss.subset(names[::-1])
    assert len(found) == 1000
    assert sorted(found)[:5] == ["0001", "0006", "0010", "0015", "0018"]


def test_all_problems_come_at_once(root):
    base = root / "Libri2Mix/wav16k/min"
    shutil.rmtree(base / "test" / "s2")
    (base / "train-100" / "mix_clean" / "1-1-0000_11-2-0001.wav").unlink()
    soundfile.write(base / "dev" / "s1" / "0-1-0000_10-2-0001.wav", np.zeros(900), 8000)
    text = "\n".join(survey(root).problems)
    assert f"{base / 'test' / 's2'}: no such folder" in text
    assert "mix_clean: 1-1-0000_11-2-0001.wav missing" in text
    assert "8000 Hz" in text and "must be equally long" in text
    with pytest.raises(ValueError, match="cannot be prepared"):
        corpora.prepare("ss", root)


@pytest.mark.parametrize(
    ("version", "named"), [("wav8k/min", "8 kHz version"), ("wav16k/max", "max version")]
)
def test_another_version_is_named(root, version, named):
    target = root / "Libri2Mix" / version
    target.parent.mkdir(exist_ok=True)
    (root / "Libri2Mix/wav16k/min").rename(target)
    assert all(named in problem for problem in survey(root).problems)


def test_train_360_is_named(root):
    base = root / "Libri2Mix/wav16k/min"
    (base / "train-100").rename(base / "train-360")
    problems = survey(root).problems
    assert len(problems) == 3 and all("train-360 version" in problem for problem in problems)


def test_a_path_with_a_blank_is_refused(root):
    spaced = root.with_name("my corpora")
    root.rename(spaced)
    assert any("has a blank" in problem for problem in survey(spaced).problems)
