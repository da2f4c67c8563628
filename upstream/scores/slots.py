"""Errors of a single transcript: words, letters, and the slots that SUPERB's slot filling marks.

Each function takes what was said by the head and what is true, and returns what the utterance adds
to the numerator and to the denominator of the score. A slot is marked ``B-type its words E-type``.
"""

import re
from collections.abc import Sequence

import editdistance

_SLOT = re.compile(r"B-(\S+) (.+?) E-\1")


def word_errors(said: str, meant: str) -> tuple[float, int]:
    """Return the words (or phones) in error and how many there are."""
    return _errors(said.split(" "), meant.split(" "))


def letter_errors(said: str, meant: str) -> tuple[float, int]:
    """Return the letters in error and how many there are."""
    return _errors(said, meant)


def type_f1(said: str, meant: str) -> tuple[float, int]:
    """Return F1 of the kinds of slots of an utterance, and 1; where there are none, 1."""
    ours, theirs = set(_slots(said)), set(_slots(meant))
    if not ours and not theirs:
        return 1.0, 1
    return 2 * len(ours & theirs) / (len(ours) + len(theirs)), 1


def value_errors(said: str, meant: str) -> tuple[float, int]:
    """Return the letters in error of the slots that there are, and how many these have.

    Of several values of a kind, the one with fewest errors counts; none is all in error.
    """
    ours, errors, letters = _slots(said), 0.0, 0
    for kind, values in _slots(meant).items():
        for value in values:
            found = [_plain(each) for each in ours.get(kind, [""])]
            errors += min(_errors(each, value)[0] for each in found)
            letters += len(value)
    return errors, letters


def _slots(text: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for kind, value in _SLOT.findall(re.sub(" +", " ", text)):
        found.setdefault(kind, []).append(value)
    return found


def _plain(value: str) -> str:
    return re.sub(r" E-\S+", "", re.sub(r"B-\S+ ", "", value))


def _errors(said: Sequence[str], meant: Sequence[str]) -> tuple[float, int]:
    return float(editdistance.eval(said, meant)), len(meant)
