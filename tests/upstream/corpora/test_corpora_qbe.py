"""QUESST 2014: checked before anything is searched in it."""

import shutil

import numpy as np
import pytest
import soundfile
from superb_data import corpus

from upstream import corpora
from upstream.door import tasks


@pytest.fixture
def root(tmp_path):
    return shutil.copytree(corpus("qbe"), tmp_path / "qbe")


def survey(root):
    return corpora.survey("qbe", root, tasks.header("qbe"))


def test_a_whole_corpus_is_counted(root):
    found = survey(root)
    assert found.problems == []
    assert found.counts == {"utterances": 16, "dev": 5, "eval": 5}
    assert set(found.counts) == set(tasks.header("qbe")["corpus"]["counts"])
    assert survey(root / "quesst14Database").counts == found.counts


def test_everything_wrong_is_reported_at_once(root):
    base = root / "quesst14Database"
    (base / "Audio" / "quesst14_00001.wav").unlink()
    soundfile.write(base / "dev_queries" / "quesst14_dev_0001.wav", np.zeros(16000), 16000)
    (base / "scoring" / "groundtruth_quesst14_eval" / "quesst14_eval.rttm").unlink()
    ecf = base / "scoring" / "groundtruth_quesst14_dev" / "quesst14.ecf.xml"
    ecf.write_text(ecf.read_text().replace("quesst14_00003.wav", "other.wav"))
    text = " ".join(survey(root).problems)
    assert "names 1 missing files (quesst14_00001.wav)" in text
    assert "16000 Hz, the corpus has 8000 Hz" in text
    assert "groundtruth_quesst14_eval: expected one *.rttm, found 0" in text
    if "nnenglish" in language_of(base, "quesst14_00003"):
        assert "lacks 1 recordings of the list (quesst14_00003)" in text


def language_of(base, name):
    lines = (base / "scoring" / "language_key_utterances.lst").read_text().splitlines()
    return next(line for line in lines if name in line)


def test_lists_that_are_missing_or_broken(root):
    scoring = root / "quesst14Database" / "scoring"
    (scoring / "language_key_dev.lst").write_text("dev_queries/quesst14_dev_0001.wav\n")
    text = " ".join(survey(root).problems)
    assert "line 1: expected 'FOLDER/PATH.wav LANGUAGE'" in text
    lines = (scoring / "language_key_eval.lst").read_text().replace("nnenglish", "romanian")
    (scoring / "language_key_eval.lst").write_text(lines)
    assert "nothing in nnenglish" in " ".join(survey(root).problems)
    (scoring / "language_key_utterances.lst").unlink()
    assert "no such list; unpack https" in " ".join(survey(root).problems)
