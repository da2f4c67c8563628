"""Praat's TextGrids: the interval tiers in their text."""

import re
from collections.abc import Iterator
from pathlib import Path

from analysis.labelled_speech.alignments import Row

# Praat reads strings, numbers and <flags> that stand alone, and takes all else for comments: long
# and short files are the same to it.
_TOKENS = re.compile(
    r'"((?:[^"]|"")*)"|<(exists|absent)>|(?<!\S)([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)(?!\S)'
    r"|(?<!\S)!.*"
)


def parse(text: str, path: Path) -> tuple[dict[str, list[Row]], float]:
    """Return the interval tiers of a TextGrid, and where it ends in seconds.

    Raises:
        ValueError: not a TextGrid, or one with something missing; names ``path``.
    """
    tokens = _tokens(text)
    if [next(tokens, None), next(tokens, None)][1] != "TextGrid":
        raise ValueError(f"{path}: not a TextGrid in text form; save it in Praat as a text file")
    try:
        begin, end = _number(next(tokens)), _number(next(tokens))
        tiers: dict[str, list[Row]] = {}
        for _ in range(_tier_count(tokens)):
            kind, name = _string(next(tokens)), _string(next(tokens))
            _, _, size = next(tokens), next(tokens), int(_number(next(tokens)))
            if kind == "IntervalTier":
                rows = [_row(tokens) for _ in range(size)]
                if name in tiers:
                    raise ValueError(f"{path}: two tiers are named {name!r}; rename one")
                tiers[name] = rows
            else:
                for _ in range(2 * size):  # time and mark
                    next(tokens)
    except (StopIteration, TypeError, OverflowError) as error:
        raise ValueError(
            f"{path}: breaks off, or has text where a number belongs "
            f"({str(error) or 'end of file'}); save it in Praat again"
        ) from error
    if abs(begin) > 1e-6:
        raise ValueError(
            f"{path}: begins at {begin:g} s, expected 0; shift its times to 0 in Praat"
        )
    return tiers, end


def _tokens(text: str) -> Iterator[str | float]:
    """Strings (flags as <exists>) and numbers."""
    for found in _TOKENS.finditer(text):
        string, flag, number = found.groups()
        if string is not None:
            yield string.replace('""', '"')
        elif flag is not None:
            yield f"<{flag}>"
        elif number is not None:
            yield float(number)


def _tier_count(tokens: Iterator[str | float]) -> int:
    return int(_number(next(tokens))) if next(tokens) == "<exists>" else 0


def _number(token: str | float) -> float:
    if isinstance(token, str):
        raise TypeError(repr(token))
    return token


def _string(token: str | float) -> str:
    if not isinstance(token, str):
        raise TypeError(f"{token:g}")
    return token


def _row(tokens: Iterator[str | float]) -> Row:
    start, end, label = _number(next(tokens)), _number(next(tokens)), _string(next(tokens))
    return 0.0 if abs(start) < 1e-6 else start, end, " ".join(label.split())
