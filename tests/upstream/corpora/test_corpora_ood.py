"""Common Voice 7.0: sentences, what the survey finds, what the preparation makes."""

import numpy as np
import pytest
import soundfile
from superb_data import corpus

from upstream import corpora
from upstream.corpora import ood
from upstream.door import tasks

HEADER = "client_id\tpath\tsentence\tup_votes\tdown_votes\tage\tgender\taccent\tlocale\tsegment"


def row(name, sentence, accent="mexicano"):
    return f"speaker\t{name}.mp3\t{sentence}\t2\t0\t\t\t{accent}\tes\t"


@pytest.fixture
def root(tmp_path):
    base = tmp_path / ood.RELEASE / "es"
    (base / "clips").mkdir(parents=True)
    for split in ood.SPLITS:
        rows = [
            row(f"{split}1", "\u00bfQu\u00e9 \u201chora\u201d es?"),
            row(f"{split}2", "Ma\u00f1ana, no."),
        ]
        rows += [row(f"{split}3", "Vale", "central"), row(f"{split}4", "\u65e5\u672c")]
        (base / f"{split}.tsv").write_text("\n".join([HEADER, *rows, ""]))
        for number, samples in ((1, 4800), (2, 9600)):
            soundfile.write(base / "clips" / f"{split}{number}.mp3", np.zeros(samples), 48000)
    return tmp_path


def survey(root):
    return corpora.survey("ood", root, tasks.header("ood"))


@pytest.mark.parametrize(
    ("language", "said", "kept"),
    [
        ("es", "\u00bfQu\u00e9 \u00abtal\u00bb, Jos\u00e9?", "QU\u00c9 TAL JOS\u00c9"),
        ("es", "O\u2019Neill\u2014s\u00ed", "O'NEILL S\u00cd"),
        ("es", "A\u0301rbol", "\u00c1RBOL"),  # composed
        ("es", "la \u30b4 letra", ""),
        ("zh-CN", "\u4f60\u597d\uff0c \u4e16\u754c\u3002", "\u4f60\u597d\u4e16\u754c"),
        ("zh-CN", "T\u6064\u886b", ""),
        ("zh-CN", "\u0418\u5b57", ""),
        (
            "ar",
            "\u0645\u0631\u062d\u0628\u0627\u060c \u0643\u064a\u0641\u061f",
            "\u0645\u0631\u062d\u0628\u0627 \u0643\u064a\u0641",
        ),
        ("ar", "ok \u0645\u0631\u062d\u0628\u0627", ""),
        ("es", "...", ""),
    ],
)
def test_sentences_are_in_capitals_without_punctuation(language, said, kept):
    assert ood.plain_sentence(said, language) == kept


def test_only_mexican_clips_with_latin_letters_count(root):
    found = survey(root)
    assert found.counts == {"train": 2, "dev": 2, "test": 2}
    assert found.problems == []
    assert survey(root / ood.RELEASE) == survey(root / ood.RELEASE / "es") == found


def test_all_problems_come_at_once(root):
    base = root / ood.RELEASE / "es"
    (base / "clips" / "train1.mp3").unlink()
    (base / "clips" / "train2.mp3").write_text("no audio")
    (base / "dev.tsv").write_text((base / "dev.tsv").read_text().replace("accent", "accents"))
    (base / "test.tsv").unlink()
    text = "\n".join(survey(root).problems)
    assert "1 clips of train.tsv are missing (train1.mp3); unpack" in text
    assert "train2.mp3: not readable as audio" in text
    assert "dev.tsv: no column accent; is it release 7.0" in text
    assert "test.tsv: no such file; unpack Common Voice 7.0 (es) again" in text
    with pytest.raises(ValueError, match=r"train1\.mp3|no column"):
        corpora.prepare("ood", root)


def test_another_release_is_named(root):
    (root / ood.RELEASE).rename(root / "cv-corpus-12.0-2022-12-07")
    (problem,) = survey(root).problems
    assert "cv-corpus-12.0-2022-12-07: another release" in problem
    assert "get Common Voice Corpus 7.0, language es, from https://commonvoice" in problem
    with pytest.raises(ValueError, match="another release"):
        corpora.prepare("ood", root)


def test_prepare_makes_lists_vocabulary_and_16_khz_clips(root, monkeypatch):
    corpora.prepare("ood", root)
    made = root / "prepared" / "ood" / "es"
    lines = (made / "train.tsv").read_text(encoding="utf-8").splitlines()
    assert lines == ["path\tsentence", "train2.wav\tMA\u00d1ANA NO", "train1.wav\tQU\u00c9 HORA ES"]
    letters = (made / "vocab.txt").read_text(encoding="utf-8").split("\n")
    assert letters == [" ", *"AEHMNOQRSU\u00c9\u00d1", ""]
    header = soundfile.info(made / "clips" / "train2.wav")
    assert header.samplerate == 16000
    assert abs(header.frames - 3200) < 800  # mp3 frames are 24 ms
    paths = tasks.paths_under(tasks.header("ood"), root)
    assert paths["downstream_expert.corpus.dev"] == [str(made / "dev.tsv")]
    monkeypatch.setattr(ood, "_make", lambda *_: pytest.fail("made again"))
    corpora.prepare("ood", root)


def test_other_languages_are_prepared_beside_spanish(root):
    base = root / ood.RELEASE / "ar"
    (base / "clips").mkdir(parents=True)
    for split in ood.SPLITS:
        (base / f"{split}.tsv").write_text(f"{HEADER}\n{row(split, chr(0x645) * 3, '')}\n")
        soundfile.write(base / "clips" / f"{split}.mp3", np.zeros(4800), 48000)
    assert survey(root).counts["ar/dev"] == 1
    corpora.prepare("ood", root)
    made = root / "prepared" / "ood" / "ar"
    assert (made / "vocab.txt").read_text(encoding="utf-8") == "\u0645\n"
    assert (made / "clips" / "test.wav").is_file()


def test_the_synthesised_corpus_is_whole():
    root = corpus("ood")
    found = survey(root)
    assert found.problems == []
    assert set(found.counts) == {"train", "dev", "test"}
    assert found.counts["train"] == 9  # of twelve: one of four speakers is not from Mexico
    assert len(list((root / "prepared" / "ood" / "es" / "clips").glob("*.wav"))) == 9 + 4 + 4
