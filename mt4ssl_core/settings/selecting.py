"""Which part of a corpus is learned from: ``longest:0.5``, ``shortest:0.5`` or ``random:0.1``."""

import difflib
from typing import NamedTuple

from mt4ssl_core.settings.bounds import Bounds

KINDS = ("longest", "shortest", "random")
_SHARE = Bounds(above=0, at_most=1)


class Selection(NamedTuple):
    """Utterances of a kind that are together a share of all audio."""

    kind: str
    share: float


def parse(text: str) -> Selection:
    """Read KIND:SHARE, strictly.

    Raises:
        ValueError: it is none; says what was expected, or may have been meant.
    """
    kind, colon, share = text.partition(":")
    example = "longest:0.5 (half of the audio)"
    if kind not in KINDS:
        near = difflib.get_close_matches(kind.strip().lower(), KINDS, 1)
        remedy = f"did you mean {near[0]}:{share or '0.5'}?" if near else f"expected {example}"
        raise ValueError(f"{text!r}: {remedy} (all: {', '.join(KINDS)})")
    try:
        number = float(share)
    except ValueError:
        said = "no share behind the colon" if colon else "no colon with a share behind it"
        raise ValueError(f"{text!r}: {said}; expected such as {example}") from None
    if problem := _SHARE.problem(number):
        raise ValueError(f"{text!r}: a share of {problem}, as in {example}")
    return Selection(kind, number)
