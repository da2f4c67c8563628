"""Speech Commands: checked before anything is trained on it."""

import shutil

import numpy as np
import pytest
import soundfile

from upstream import corpora
from upstream.corpora.ks import KEYWORDS, NOISE, SILENCE, UNKNOWN
from upstream.door import tasks

TRAIN, TEST = "speech_commands_v0.01", "speech_commands_test_set_v0.01"


def write(path, seconds=0.1, rate=16000):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.zeros(int(seconds * rate)), rate)


@pytest.fixture
def root(tmp_path):
    for word in (*KEYWORDS, "bed"):
        write(tmp_path / TRAIN / word / "0a7c2a8d_nohash_0.wav")
    write(tmp_path / TRAIN / NOISE / "running_tap.wav", 2)
    for name in (*KEYWORDS, UNKNOWN, SILENCE):
        write(tmp_path / TEST / name / "0a7c2a8d_nohash_0.wav")
    return tmp_path


def survey(root):
    return corpora.survey("ks", root, tasks.header("ks"))


def test_a_whole_corpus_is_counted(root):
    found = survey(root)
    assert found.problems == []
    assert found.counts == {"words": 11, "noises": 1, "test": 12}
    assert set(found.counts) == set(tasks.header("ks")["corpus"]["counts"])
    assert found.hours == pytest.approx(23 * 0.1 / 3600)


def test_everything_wrong_is_reported_at_once(root):
    shutil.rmtree(root / TRAIN / "stop")
    shutil.rmtree(root / TEST / SILENCE)
    write(root / TRAIN / "go" / "0a7c2a8d_nohash_0.wav", rate=8000)
    (root / TEST / "yes" / "0a7c2a8d_nohash_0.wav").write_text("no audio")
    write(root / TRAIN / "backward" / "0a7c2a8d_nohash_0.wav")
    write(root / TRAIN / NOISE / "running_tap.wav", 1)
    found = survey(root)
    text, lacking = " ".join(found.problems), " ".join(found.lacking)
    assert "no wav files in stop; unpack http" in lacking
    assert "no wav files in _silence_" in lacking
    assert "8000 Hz" in text
    assert "not readable as audio" in text
    assert "backward are words of Speech Commands v0.02" in text
    assert "running_tap.wav: not longer than a second" in text


def test_folders_that_are_missing(root):
    shutil.rmtree(root / TRAIN / NOISE)
    assert "no background noises" in survey(root).problems[0]
    shutil.rmtree(root / TEST)
    assert any(f"no {TEST} or test" in problem for problem in survey(root).problems)
    shutil.rmtree(root / TRAIN)
    found = survey(root)
    assert len(found.problems) == 2
    assert found.counts == {"words": 0, "noises": 0, "test": 0}
