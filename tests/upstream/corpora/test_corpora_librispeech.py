"""LibriSpeech for PR and ASR: what the survey finds, what the preparation makes."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from upstream import corpora
from upstream.corpora import asr, librispeech, prepared
from upstream.door import tasks

LEXICON = "HI\tHH AY1\nTHERE\tDH EH1 R\n"


@pytest.fixture
def root(tmp_path):
    """Three utterances in each of the three splits, and a lexicon."""
    for split in librispeech.SPLITS:
        chapter = tmp_path / "LibriSpeech" / split / "1" / "2"
        chapter.mkdir(parents=True)
        lines = [f"1-2-000{k} HI THERE{' HI' * k}" for k in range(3)]
        (chapter / "1-2.trans.txt").write_text("\n".join(lines) + "\n")
        for k in range(3):
            write(chapter / f"1-2-000{k}.flac", 1600 * (k + 1))
    (tmp_path / "librispeech-lexicon-200k-g2p.txt").write_text(LEXICON)
    return tmp_path


def write(path, samples, rate=16000):
    soundfile.write(path, np.zeros(samples), rate)


def survey(code, root):
    return corpora.survey(code, root, tasks.header(code))


def problems(code, root):
    return "\n".join(survey(code, root).problems)


@pytest.mark.parametrize("code", ["pr", "asr"])
def test_a_whole_corpus_has_counts_and_no_problems(code, root):
    found = survey(code, root)
    assert found.counts == dict.fromkeys(librispeech.SPLITS, 3)
    assert found.problems == []
    assert found.hours == pytest.approx(3 * 6 * 1600 / 16000 / 3600)
    (root / "LibriSpeech").rename(root / code)  # the folder of the task, without the upper one
    shutil.copy(root / "librispeech-lexicon-200k-g2p.txt", root / code)
    assert survey(code, root) == found


def test_all_problems_come_at_once_with_paths_and_remedies(root):
    base = root / "LibriSpeech"
    shutil.rmtree(base / "test-clean")
    chapter = base / "dev-clean" / "1" / "2"
    (chapter / "1-2-0001.flac").unlink()
    write(chapter / "1-2-0002.flac", 2400, 24000)
    (base / "train-clean-100" / "1" / "2" / "1-2-0000.flac").write_text("no audio")
    found = survey("asr", root)
    assert found.counts == {"train-clean-100": 3, "dev-clean": 3, "test-clean": 0}
    text = "\n".join(found.problems)
    assert f"{base / 'test-clean'}: no such folder; download it from https://www.openslr" in text
    assert "name 1 utterances whose audio is missing (1-2-0001)" in text
    assert f"{chapter / '1-2-0002.flac'}: 24000 Hz, the corpus has 16000 Hz" in text
    assert "1-2-0000.flac: not readable as audio" in text
    assert len(found.problems) == 4


def test_another_corpus_is_recognised(root):
    chapter = root / "LibriSpeech" / "dev-clean" / "1" / "2"
    (chapter / "1-2.trans.txt").rename(chapter / "1_2_0.normalized.txt")
    assert "dev-clean: this is LibriTTS" in problems("pr", root)
    (chapter / "1_2_0.normalized.txt").unlink()
    assert "dev-clean: no SPEAKER/CHAPTER/*.trans.txt" in problems("pr", root)


def test_pr_wants_phones_for_every_word(root):
    lexicon = root / "librispeech-lexicon-200k-g2p.txt"
    lexicon.write_text("HI\tHH AY9\n")
    text = problems("pr", root)
    assert "no phones for 1 words of the transcripts (THERE)" in text
    assert "AY9 are not among the 71" in text
    lexicon.write_text("HI\n")
    assert "line 1: no phones after 'HI'; add them; or download it again from" in problems(
        "pr", root
    )
    lexicon.unlink()
    assert "no pronunciation lexicon" in problems("pr", root)
    assert "librispeech-lexicon-allothers-g2p.txt and put them there" in problems("pr", root)


def test_asr_wants_plain_letters(root):
    file = root / "LibriSpeech" / "dev-clean" / "1" / "2" / "1-2.trans.txt"
    file.write_text(file.read_text().replace("THERE", "42", 1))
    assert "have 2, 4, not only the letters A-Z" in problems("asr", root)


def test_prepare_writes_lengths_and_characters(root):
    corpora.prepare("asr", root)
    made = root / prepared.FOLDER / "asr"
    table = (made / asr.BUCKETS / "dev-clean.csv").read_text()
    rows = list(csv.DictReader(table.splitlines()))
    assert [row["file_path"] for row in rows] == [
        f"dev-clean/1/2/1-2-000{k}.flac" for k in (2, 1, 0)
    ]
    assert [int(row["length"]) for row in rows] == [4800, 3200, 1600]
    assert list(rows[0]) == ["", "file_path", "length", "label"]
    lines = [line.split() for line in (made / asr.DICTIONARY).read_text().splitlines()]
    assert lines[:3] == [["H", "9"], ["|", "9"], ["E", "6"]]
    assert sorted(symbol for symbol, _ in lines) == sorted(asr.SYMBOLS)
    config = tasks.read(tasks.path_of("asr"))
    assert tasks.paths_under(config["superb"], root) == {
        "downstream_expert.datarc.libri_root": str(root / "LibriSpeech"),
        "downstream_expert.datarc.bucket_file": str(made / asr.BUCKETS),
        "downstream_expert.datarc.dict_path": str(made / asr.DICTIONARY),
    }


def test_prepare_does_nothing_twice_and_follows_the_corpus(root, monkeypatch):
    corpora.prepare("asr", root)
    table = root / prepared.FOLDER / "asr" / asr.BUCKETS / "dev-clean.csv"
    with monkeypatch.context() as patch:
        patch.setattr(asr, "_make", lambda *_: pytest.fail("made again"))
        corpora.prepare("asr", root)
    write(root / "LibriSpeech" / "dev-clean" / "1" / "2" / "1-2-0000.flac", 16000)
    corpora.prepare("asr", root)
    assert "1-2-0000.flac,16000," in table.read_text().splitlines()[1]


def test_prepare_refuses_half_a_corpus(root, tmp_path_factory):
    next((root / "LibriSpeech" / "test-clean").rglob("*.flac")).unlink()
    with pytest.raises(ValueError, match=r"test-clean.*audio is missing.*unpack LibriSpeech"):
        corpora.prepare("asr", root)
    assert not (root / prepared.FOLDER / "asr" / prepared.STAMP).exists()
    with pytest.raises(ValueError, match="no such folder; download it"):
        corpora.prepare("asr", tmp_path_factory.mktemp("empty"))


def test_an_interrupted_preparation_is_not_taken_for_a_whole_one(tmp_path):
    def fail():
        (tmp_path / "half").touch()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepared.remake(tmp_path, {"files": 1}, fail)
    made: list[int] = []
    for _ in range(2):
        prepared.remake(tmp_path, {"files": 1}, lambda: made.append(1))
    assert made == [1]


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path):
    def refuse():
        raise PermissionError(13, "Permission denied")

    with pytest.raises(ValueError, match=r"cannot be written to.*symbolic link"):
        prepared.remake(tmp_path, {}, refuse)
    with pytest.raises(OSError, match="No space"):
        prepared.remake(tmp_path, {}, lambda: raise_(OSError(28, "No space left on device")))


def raise_(error):
    raise error


def test_the_synthesised_corpora_are_whole():
    from superb_data import corpus

    for code in ("pr", "asr"):
        found = survey(code, corpus(code))
        assert found.problems == []
        assert all(found.counts.values())
    assert Path(corpus("asr"), "prepared", "asr", "char.dict").is_file()
