"""Audio SNIPS: what the survey finds."""

import shutil

import numpy as np
import pytest
import soundfile
from superb_data import corpus

from upstream import corpora
from upstream.door import tasks

SPEAKERS = {"train": "Ivy", "valid": "Aditi", "test": "Brian"}
LINE = "BOS PLAY BOB DYLAN EOS\tO O artist artist PlayMusic"


@pytest.fixture
def root(tmp_path):
    """One utterance of one speaker in every split, and one of a speaker of another split."""
    base, lines = tmp_path / "SNIPS", []
    for split, speaker in SPEAKERS.items():
        (base / split).mkdir(parents=True)
        for name in (f"{speaker}-snips-{split}-0", f"Zed-snips-{split}-0"):
            soundfile.write(base / split / f"{name}.wav", np.zeros(1600), 16000)
            lines.append(f"{name} {LINE}\n")
    (base / "all.iob.snips.txt").write_text("".join(lines))
    (base / "slots.txt").write_text("O\nartist\n")
    return tmp_path


def survey(root):
    return corpora.survey("sf", root, tasks.header("sf"))


def test_only_the_speakers_of_a_split_count(root):
    found = survey(root)
    assert found.problems == []
    assert found.counts == {"train": 1, "valid": 1, "test": 1}
    assert found.hours == pytest.approx(3 * 0.1 / 3600)


def test_all_problems_come_at_once(root):
    base = root / "SNIPS"
    shutil.rmtree(base / "test")
    transcripts = base / "all.iob.snips.txt"
    text = transcripts.read_text().replace("Ivy-snips-train-0", "Ivy-snips-train-9")
    transcripts.write_text(text.replace("EOS\tO O artist", "EOS\tO artist city", 1) + "bad line\n")
    (base / "slots.txt").write_text("artist\n")
    soundfile.write(base / "valid" / "Aditi-snips-valid-0.wav", np.zeros(800), 8000)
    found = survey(root)
    text = "\n".join(found.problems)
    assert "in 1 lines (7)" in text
    assert "the first line is 'artist', expected O" in text
    assert "lacks the slots artist, city of" in text
    assert "no line for 1 files of" in text and "(Ivy-snips-train-0.wav)" in text
    assert "no audio for 1 lines" in text and "(Ivy-snips-train-9)" in text
    assert "8000 Hz, the corpus has 16000 Hz" in text
    assert "no .wav of the speakers Brian, Emma, Raveena, Russell" in text
    assert found.counts["test"] == 0
    assert all("drive.google.com" in p for p in found.problems if "first line" not in p)


def test_missing_text_files_are_named(root):
    (root / "SNIPS" / "all.iob.snips.txt").unlink()
    (root / "SNIPS" / "slots.txt").unlink()
    text = "\n".join(survey(root).problems)
    assert "all.iob.snips.txt: no such file; get Audio SNIPS from" in text
    assert "slots.txt: no such file; get Audio SNIPS from" in text


def test_the_synthesised_corpus_is_whole():
    found = survey(corpus("sf"))
    assert found.problems == []
    assert found.counts == {"train": 16, "valid": 4, "test": 4}
