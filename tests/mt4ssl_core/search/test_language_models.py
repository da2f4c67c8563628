"""Language models and lexicons of others: what cannot be used is one line that says why."""

import gzip
import re

import numpy as np
import pytest

from mini_superb.ngram import BackOff
from mt4ssl_core.data.vocabulary import Vocabulary
from mt4ssl_core.search import language_model
from mt4ssl_core.search.beam_search import BeamSearch
from mt4ssl_core.search.language_model import look_through
from mt4ssl_core.search.lexicon import read_lexicon
from mt4ssl_core.settings.recognition_defaults import BeamSettings

LETTERS = Vocabulary(("<s>", "<pad>", "</s>", "<unk>", "|", "A", "B"))
ARPA = BackOff(["AB BA", "BA BA AB", "A AB"], 3).arpa()
BINARY = b"mmap lm http://kheafield.com/code format version 5\n\0"


def written(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


@pytest.fixture
def lm(tmp_path):
    return written(tmp_path / "lm.arpa", ARPA)


@pytest.fixture
def lexicon(tmp_path):
    return written(tmp_path / "lexicon.txt", "AB\tA B |\nBA B A\n\nA A |\n")


def test_arpa_text_and_gzip_are_the_same_model(tmp_path, lm):
    packed = written(tmp_path / "lm.arpa.gz", gzip.compress(ARPA.encode()))
    found = [look_through(path) for path in (lm, packed)]
    assert found[0].words == found[1].words == {"A", "AB", "BA"}
    assert found[0].counts == found[1].counts
    scores = np.log(np.random.default_rng(0).dirichlet(np.ones(7), 20)).astype(np.float32)
    text, other = (BeamSearch(LETTERS, BeamSettings(), path)(scores, 0.02) for path in (lm, packed))
    assert text == other


DAMAGED = {
    "empty": ("", "neither ARPA"),
    "another format": ("hello\n", "neither ARPA"),
    "only its head": ("\\data\\\nngram 1=3\n", "1-grams: is missing"),
    "no counts": ("\\data\\\n\\1-grams:\n", "0 orders"),
    "cut in the middle": (ARPA[: len(ARPA) // 2], "cut short"),
    "cut at the end": (ARPA[:-8], "end"),
    "huge counts": (
        ARPA.replace("ngram 2=", "ngram 2=9999999999"),
        "its header says 99,999,999,99",
    ),
    "absurd counts": (ARPA.replace("ngram 1=", "ngram 1=" + "9" * 30), "0 orders"),
    "too few counted": (ARPA.replace("ngram 1=6", "ngram 1=2"), "says 2 1-grams, there are more"),
    "an order left out": (ARPA.replace("ngram 2=", "ngram 7="), "ngram 2= is missing"),
    "no number": (ARPA.replace("\\1-grams:\n-", "\\1-grams:\nx-"), "KenLM cannot read it"),
    "no 1-gram": (
        ARPA.replace("\\1-grams:\n", "\\1-grams:\nA\n").replace("1=6", "1=7"),
        "no 1-gram",
    ),
    "no end of line": ("\\data\\\n" + "x" * 100_000, "a line of more than"),
    "not UTF-8": (ARPA.encode().replace(b"\tA\t", b"\t\xff\t"), "codec"),
    "a damaged archive": (gzip.compress(ARPA.encode())[:-20], "cannot be read"),
    "another archive": (b"\x1f\x8b" + b"\0" * 50, "cannot be read"),
    "a binary's head": (BINARY, "KenLM cannot read it"),
    "a binary of noise": (BINARY + bytes(range(256)) * 40, "KenLM cannot read it"),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_model_is_refused_by_name(tmp_path, lexicon, kind):
    content, said = DAMAGED[kind]
    path = written(tmp_path / "lm.arpa", content)
    with pytest.raises(ValueError, match=f"lm.arpa.*{said}.*; .*"):
        BeamSearch(LETTERS, BeamSettings(), path, lexicon)


def test_damaged_bytes_that_crash_a_process_end_only_that_one(tmp_path, monkeypatch):
    class Crashed:
        returncode, stderr = -11, ""

    monkeypatch.setattr(language_model.subprocess, "run", lambda *_, **__: Crashed)
    with pytest.raises(ValueError, match="it crashed"):
        look_through(written(tmp_path / "lm.bin", BINARY))


def test_kenlm_keeps_quiet(lm, capfd):
    BeamSearch(LETTERS, BeamSettings(), lm)
    assert capfd.readouterr() == ("", "")


PAIRS = {
    "a model in the other case": (ARPA.lower(), None, "cannot be spelled.*'a'.*in the case of"),
    "a model of another alphabet": (
        ARPA.replace("A", "Д").replace("B", "Ж"),
        None,
        "cannot be spelled.*'Д'.*one of the model's alphabet",
    ),
    "no word in common": (ARPA.replace("A", "X"), "AB A B |\n", "knows none of the 1 words"),
    "no word in the model": (BackOff([""], 1).arpa(), None, "no word in this language model"),
    "letters that are unknown": (ARPA, "AB A B |\nCB C B |\n", "'C' 1"),
    "special tokens as letters": (ARPA, "AB A <unk> |\n", "'<unk>' 1"),
    "a separator inside": (ARPA, "AB A | B |\n", "'[|]' 1"),
    "the other case": (ARPA, "AB a b |\n", "in the case of the model's letters"),
    "an empty lexicon": (ARPA, "\n \n", "no word in this lexicon"),
    "a word without letters": (ARPA, "AB A B |\nBA\n", r"line 2 \(BA\) has no spelling"),
    "a separator alone": (ARPA, "A A |\nAB |\n", r"line 2 \(AB\) has no spelling"),
    "not text": (ARPA, b"\xff\xfe\x00AB", "cannot be read"),
}


@pytest.mark.parametrize("kind", PAIRS)
def test_files_that_do_not_belong_together_are_refused(tmp_path, kind):
    model, words, said = PAIRS[kind]
    lm = written(tmp_path / "lm.arpa", model)
    lexicon = None if words is None else written(tmp_path / "lexicon.txt", words)
    with pytest.raises(ValueError, match=r"(lm\.arpa|lexicon\.txt): .*; ") as raised:
        BeamSearch(LETTERS, BeamSettings(), lm, lexicon)
    assert re.search(said, str(raised.value))


def test_words_that_cannot_be_spelled_are_left_out_and_counted(tmp_path, capsys):
    lm = written(tmp_path / "lm.arpa", BackOff(["AB BA C3"], 2).arpa())
    lexicon = BeamSearch(LETTERS, BeamSettings(), lm).lexicon
    assert (set(lexicon.words), lexicon.left_out) == ({"AB", "BA"}, 1)
    assert "1 of its 3 words are left out: not in the vocabulary" in capsys.readouterr().err


def test_words_of_a_lexicon_that_the_model_does_not_know_are_said(tmp_path, lm, capsys):
    path = written(tmp_path / "lexicon.txt", "AB A B |\nBB B B |\nAA A A |\n")
    BeamSearch(LETTERS, BeamSettings(), lm, path)
    said = "2 of the 3 words of .*lexicon.txt are .* an unknown word, such as BB, AA\n"
    assert re.search(said, capsys.readouterr().err)


def test_a_missing_file_is_named(tmp_path, lm):
    with pytest.raises(ValueError, match=r"gone\.arpa: no such language model"):
        BeamSearch(LETTERS, BeamSettings(), str(tmp_path / "gone.arpa"))
    with pytest.raises(ValueError, match=r"gone\.txt: no such lexicon"):
        BeamSearch(LETTERS, BeamSettings(), lm, str(tmp_path / "gone.txt"))


def test_a_binary_model_needs_a_lexicon(tmp_path, monkeypatch):
    monkeypatch.setattr(language_model, "_try_in_another_process", lambda path: None)
    with pytest.raises(ValueError, match="give --lexicon as well"):
        BeamSearch(LETTERS, BeamSettings(), written(tmp_path / "lm.bin", BINARY))


def test_phones_have_no_words(tmp_path, lm):
    phones = Vocabulary(("<s>", "AH", "B"))
    path = written(tmp_path / "lexicon.txt", "AB AH B\n")
    with pytest.raises(ValueError, match="a token between them, and the model has only <s> AH B"):
        read_lexicon(path, phones)
    with pytest.raises(ValueError, match="a token between them"):
        BeamSearch(phones, BeamSettings(), lm)


def test_a_lexicon_of_phones_gives_words(tmp_path):
    phones = Vocabulary(("<s>", "|", "AH", "B"))
    path = written(tmp_path / "lexicon.txt", "OB\tAH B\nBO B AH |\n")
    scores = np.log(np.full((6, 4), 0.01, np.float32))
    scores[np.arange(6), [2, 3, 1, 3, 2, 0]] = np.log(0.97)
    (found,) = BeamSearch(phones, BeamSettings(), None, path)(scores, 0.02)
    assert found.text == "OB BO"


def test_settings_of_the_search_have_bounds():
    with pytest.raises(ValueError, match="beam: 0; must be at least 1"):
        BeamSettings(beam=0)
    with pytest.raises(ValueError, match="lm_weight: nan"):
        BeamSettings(lm_weight=float("nan"))
    with pytest.raises(ValueError, match="nbest: 6, more than the 5 hypotheses of the beam"):
        BeamSettings(beam=5, nbest=6)


def test_flashlight_is_asked_for_when_it_is_missing(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "flashlight.lib.text", None)
    with pytest.raises(ValueError, match=r'pip install "mt4ssl\[asr\]"'):
        BeamSearch(LETTERS, BeamSettings())
