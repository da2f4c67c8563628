"""Decoding of the ASR task with a language model."""

import importlib.util
import math

import pytest
import torch

from mini_superb.ngram import BackOff
from upstream import compat

compat.install_for("asr")
from s3prl.downstream.asr import expert  # noqa: E402
from s3prl.downstream.asr.dictionary import Dictionary  # noqa: E402

from upstream.compat import asr_decoder  # noqa: E402

LEXICON = "AB\tA B |\nBA\tB A |\n"


@pytest.fixture
def settings(tmp_path):
    """s3prl's defaults, with a language model that knows AB BA and nothing else."""
    (tmp_path / "lexicon.lst").write_text(LEXICON)
    (tmp_path / "4-gram.arpa").write_text(BackOff(["AB BA"] * 5, 4).arpa())
    (tmp_path / "char.dict").write_text("| 2\nA 2\nB 2\n")
    return {
        "decoder_type": "kenlm",
        "nbest": 1,
        "criterion": "ctc",
        "beam": 5,
        "beam_threshold": 25,
        "kenlm_model": str(tmp_path / "4-gram.arpa"),
        "lexicon": str(tmp_path / "lexicon.lst"),
        "lm_weight": 2,
        "word_score": -1,
        "unk_weight": "-math.inf",
        "sil_weight": 0,
    }


def dictionary(settings):
    return Dictionary.load(settings["lexicon"].replace("lexicon.lst", "char.dict"))


def emissions(text, symbols, sure=0.9):
    """Log probabilities (1, T, C): each character for a frame, a blank between two."""
    frames = [frame for letter in text for frame in (symbols.index(letter), symbols.bos())]
    probs = torch.full((1, len(frames), len(symbols)), (1 - sure) / (len(symbols) - 1))
    probs[0, range(len(frames)), frames] = sure
    return probs.log().contiguous()


def test_without_a_language_model_nothing_changes(settings):
    assert expert.get_decoder({**settings, "decoder_type": "none"}, None) is None


def test_words_are_found_with_kenlm(settings):
    pytest.importorskip("flashlight.lib.text")
    symbols = dictionary(settings)
    decoder = expert.get_decoder(settings, symbols)
    assert settings["unk_weight"] == "-math.inf"  # the config stays what it was
    assert decoder.decoder_opts.unk_score == -math.inf
    (best,) = decoder.decode(emissions("AB|BA|", symbols))[0]
    assert best["words"] == ["AB", "BA"]


def test_the_language_model_weighs_in(settings):
    pytest.importorskip("flashlight.lib.text")
    symbols = dictionary(settings)
    heard = emissions("AB|BA|", symbols)
    heard[0, 6], heard[0, 8] = heard[0, 8].clone(), heard[0, 6].clone()  # it sounds like AB|AB|
    heard = (heard.exp() * 0.5 + emissions("AB|BA|", symbols).exp() * 0.45).log().contiguous()
    weak = expert.get_decoder({**settings, "lm_weight": 0}, symbols).decode(heard)[0][0]
    strong = expert.get_decoder({**settings, "lm_weight": 1}, symbols).decode(heard)[0][0]
    assert weak["words"] == ["AB", "AB"]
    assert strong["words"] == ["AB", "BA"]


@pytest.mark.parametrize(
    ("key", "source"), [("kenlm_model", r"openslr.*4-gram"), ("lexicon", "librispeech_lexicon")]
)
def test_a_missing_file_is_named_with_its_source(settings, key, source):
    pytest.importorskip("flashlight.lib.text")
    with pytest.raises(ValueError, match=rf"\?\?\?: no such file.*{key}.*{source}"):
        expert.get_decoder({**settings, key: "???"}, dictionary(settings))


def test_a_missing_decoder_is_named_with_its_extra(settings, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r'pip install "mt4ssl\[lm\]"'):
        expert.get_decoder(settings, dictionary(settings))
    assert asr_decoder.install() is False
