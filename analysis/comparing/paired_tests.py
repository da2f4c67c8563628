"""Tests for two systems on the same items, and Holm's correction for several of them."""

from collections.abc import Sequence

import numpy as np


def mcnemar(first: np.ndarray, second: np.ndarray) -> float:
    """Return the exact p of McNemar's test of two systems that are right or wrong, (N,) each.

    Only items that one of them has right and the other wrong count; each is a coin's toss where
    the two are alike.
    """
    from scipy import stats

    wins, losses = int((first > second).sum()), int((second > first).sum())
    return float(stats.binomtest(wins, wins + losses).pvalue) if wins + losses else 1.0


def matched_pairs(first: np.ndarray, second: np.ndarray) -> float:
    """Return the p of the matched pairs test on what each item added, (N,) each.

    As in Gillick and Cox (1989), with Student's distribution for few items. Items are taken to be
    independent, as utterances are.
    """
    from scipy import stats

    gaps = first - second
    if len(gaps) < 2 or not gaps.any():
        return 1.0
    deviation = gaps.std(ddof=1)
    if deviation < 1e-12:  # each item says the same
        return 2.0 ** (1 - len(gaps))
    value = gaps.mean() / (deviation / len(gaps) ** 0.5)
    return 2 * float(stats.t.sf(abs(value), len(gaps) - 1))


def holm(values: Sequence[float]) -> list[float]:
    """Return p values corrected for being several (Holm 1979), in the same order."""
    found, most = [0.0] * len(values), 0.0
    for place, at in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        most = max(most, min(1.0, (len(values) - place) * values[at]))
        found[at] = most
    return found
