"""The synthesised corpora of ASR, slot filling and out-of-domain ASR: laid out as the real ones."""

import csv
import re

import pytest
import soundfile
from superb_data import corpus

from mini_superb import asr, librispeech, ood, sf

pytest.importorskip("espeakng_loader")


def test_asr_is_a_librispeech_with_a_language_model():
    root = corpus("asr")
    spelt = {}
    for line in (root / "librispeech_lexicon.lst").read_text().splitlines():
        word, spelling = line.split("\t")
        spelt[word] = spelling
        assert spelling == f"{' '.join(word)} |"
    for split in librispeech.FOLDERS.values():
        (first, *more) = sorted((root / "LibriSpeech" / split).glob("*/*/*.trans.txt"))
        assert re.fullmatch(r"(\d+)-(\d+)\.trans\.txt", first.name)
        for file in (first, *more):
            for line in file.read_text().splitlines():
                name, *said = line.split()
                assert set(said) <= set(spelt)
                assert soundfile.info(file.parent / f"{name}.flac").samplerate == 16000
    assert (root / "4-gram.arpa").read_text().startswith("\\data\\\nngram 1=")
    assert asr.paths(root.parent)["kenlm_model"] == root / "4-gram.arpa"


def test_sf_has_a_slot_for_every_word():
    root = corpus("sf") / "SNIPS"
    slots = (root / "slots.txt").read_text().split("\n")
    assert slots == ["O", "artist", "city", "playlist", "service", "timeRange"]
    lines = (root / "all.iob.snips.txt").read_text().splitlines()
    assert len(lines) == len(list(root.rglob("*.wav")))
    for line in lines:
        text, marks = line.split("\t")
        name, *said = text.split(" ")
        speaker, _, split, _ = name.split("-")
        assert speaker in sf.SPEAKERS[split]
        assert (root / split / f"{name}.wav").is_file()
        assert (said[0], said[-1]) == ("BOS", "EOS")
        first, *rest, intent = marks.split(" ")
        assert first == "O" and intent in sf.PHRASES
        assert len(rest) == len(said) - 2
        assert set(rest) <= set(slots) and set(rest) != {"O"}  # s3prl divides by their number


def test_ood_is_a_common_voice_with_accents_punctuation_and_mp3():
    base = corpus("ood") / "cv-corpus-7.0-2021-07-21" / "es"
    assert {path.suffix for path in (base / "clips").iterdir()} == {".mp3"}
    rows = []
    for split in ood.SPLITS.values():
        with open(base / f"{split}.tsv", encoding="utf-8", newline="") as file:
            found = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
        assert {row["accent"] for row in found} == {ood.MEXICAN, ood.OTHER}
        assert list(found[0]) == ood.COLUMNS
        rows += found
    header = soundfile.info(base / "clips" / rows[0]["path"])
    assert (header.samplerate, header.channels, header.format) == (48000, 1, "MP3")
    assert len({row["path"] for row in rows}) == len(rows) == len(list((base / "clips").iterdir()))
    assert any(row["sentence"].startswith("\u00bf") for row in rows)
