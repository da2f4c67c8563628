"""The phone inventory of the PR task.

What: s3prl's PR config names a vocabulary file that its wheel does not hold.
Why: the wheel holds nothing but Python code of s3prl's downstream folder.
Since: s3prl 0.4.18.
Here: ``vocab_file: arpabet`` stands for the 39 phones of the CMU dictionary, each vowel with its
    three stress marks, and the two silence symbols of LibriSpeech's lexicon: 71 symbols, made
    below. Any other value is a file as before.
Delete when: s3prl's wheel holds its vocabulary files.
"""

import functools
from typing import Any

from upstream.compat._modules import replace
from upstream.compat.ctc_corpus import EXPERT

ARPABET = "arpabet"
VOWELS = "AA AE AH AO AW AY EH ER EY IH IY OW OY UH UW"
CONSONANTS = "B CH D DH F G HH JH K L M N NG P R S SH T TH V W Y Z ZH"


def phones() -> list[str]:
    """Return the symbols: silence, noise, then the phones in alphabetical order."""
    stressed = [vowel + mark for vowel in VOWELS.split() for mark in "012"]
    return ["SIL", "SPN", *sorted(stressed + CONSONANTS.split())]


def install() -> bool:
    """Let load_text_encoder know the name "arpabet"."""
    from s3prl.downstream.ctc import text

    if getattr(text.load_text_encoder, "knows_arpabet", False):
        return False
    original = text.load_text_encoder

    @functools.wraps(original)
    def load_text_encoder(mode: str, vocab_file: str, **kwargs: Any) -> Any:
        if vocab_file != ARPABET:
            return original(mode, vocab_file, **kwargs)
        if mode != "word":
            raise ValueError(
                f"vocab_file: {ARPABET} needs mode: word (phones are separated by spaces), not "
                f"{mode}"
            )
        return text.WordTextEncoder(phones())

    load_text_encoder.knows_arpabet = True  # type: ignore[attr-defined]
    replace("load_text_encoder", load_text_encoder, text.__name__, EXPERT)
    return True
