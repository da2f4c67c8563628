"""How far a difference of two scores scatters: items, speakers and head seeds are drawn again.

Shapes: N items, S seeds of heads, B draws, U units (items, or speakers) that are drawn as a whole.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

DRAWS, SEED = 2000, 0
_CELLS = 4_000_000  # numbers of a chunk of draws


@dataclass(frozen=True)
class Outcome:
    """What a system did with each item of a test, by the heads of all its seeds.

    ``values`` (S, N); ``sizes`` (S, N), or None where the score is the equal error rate, and then
    ``targets`` (N,) is True for pairs of one speaker. ``folds`` (N,): the score is the mean of the
    folds' ratios of sums.
    """

    values: np.ndarray
    sizes: np.ndarray | None
    folds: np.ndarray
    targets: np.ndarray

    def score(self, weights: np.ndarray) -> np.ndarray:
        """Return the score of each seed, (B, S), with each item counted ``weights`` (B, N) times.

        NaN where nothing is left to count.
        """
        if self.sizes is None:
            return np.stack([self._eer(seed, weights) for seed in self.values], axis=1)
        ratios = []
        for fold in np.unique(self.folds):
            inside = self.folds == fold
            counted = weights[:, inside]
            with np.errstate(divide="ignore", invalid="ignore"):
                ratios.append(
                    (counted @ self.values[:, inside].T) / (counted @ self.sizes[:, inside].T)
                )
        stacked = np.stack(ratios)  # (folds, B, S)
        there = np.isfinite(stacked)
        with np.errstate(invalid="ignore"):
            return np.where(there, stacked, 0).sum(0) / there.sum(0)

    def _eer(self, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Return the rate at which as many targets are missed as others pass, (B,).

        Between the thresholds there are, both rates are joined by straight lines.
        """
        order = np.argsort(-scores, kind="stable")
        ends = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)  # of equal scores
        drawn, target = weights[:, order], self.targets[order]
        first = np.zeros((len(drawn), 1))
        passed = np.hstack([first, np.cumsum(drawn * ~target, axis=1)[:, ends]])
        hit = np.hstack([first, np.cumsum(drawn * target, axis=1)[:, ends]])
        with np.errstate(divide="ignore", invalid="ignore"):
            false, missed = passed / passed[:, -1:], 1 - hit / hit[:, -1:]
        gap = missed - false  # falls from 1 to -1
        after = np.argmax(gap <= 0, axis=1)
        row = np.arange(len(drawn))
        above, below = gap[row, after - 1], gap[row, after]
        with np.errstate(divide="ignore", invalid="ignore"):
            share = above / (above - below)
        low, high = false[row, after - 1], false[row, after]
        return np.asarray(low + share * (high - low))


@dataclass(frozen=True)
class Spread:
    """A difference, its 95 % interval, and how likely one as large is where there is none."""

    low: float
    high: float
    p: float
    units: int


def difference(first: Outcome, second: Outcome) -> float:
    """Return the score of the first minus that of the second, each the mean over its seeds."""
    one = np.ones((1, first.values.shape[1]))
    return float(first.score(one).mean() - second.score(one).mean())


def spread(
    first: Outcome, second: Outcome, units: Sequence[tuple[int, ...]], draws: int = DRAWS
) -> Spread | None:
    """Return what drawing units again, of both systems alike, says of their difference.

    The variance is the bootstrap's over U units, times U / (U - 1), and that of the means over
    seeds; the interval is Student's, with Satterthwaite's degrees of freedom. An item of two units
    (a trial of two speakers) counts as often as both, multiplied.

    Returns None where there are fewer than two units, or a draw mostly leaves no score.
    """
    from scipy import stats

    count = 1 + max(unit for each in units for unit in each)
    if count < 2:
        return None
    found = np.concatenate([*_drawn(first, second, units, count, draws)])
    kept = found[np.isfinite(found)]
    if 2 * len(kept) < draws:
        return None
    parts = [(float(kept.var(ddof=1)) * count / (count - 1), count - 1)]
    parts += [part for outcome in (first, second) if (part := _of_seeds(outcome))]
    variance = sum(part for part, _ in parts)
    value = difference(first, second)
    if variance <= 1e-18:
        return Spread(value, value, 1.0 if abs(value) < 1e-12 else 0.0, count)
    freedom = variance**2 / sum(part**2 / degrees for part, degrees in parts)
    wide = float(stats.t.ppf(0.975, freedom)) * variance**0.5
    p = 2 * float(stats.t.sf(abs(value) / variance**0.5, freedom))
    return Spread(value - wide, value + wide, p, count)


def _of_seeds(outcome: Outcome) -> tuple[float, int] | None:
    """Return the variance of the mean over seeds, and its degrees of freedom."""
    scores = outcome.score(np.ones((1, outcome.values.shape[1])))[0]
    return (float(scores.var(ddof=1)) / len(scores), len(scores) - 1) if len(scores) > 1 else None


def _drawn(
    first: Outcome, second: Outcome, units: Sequence[tuple[int, ...]], count: int, draws: int
):
    """Yield differences, a chunk of draws at a time."""
    generator = np.random.default_rng(SEED)
    one = np.array([each[0] for each in units])
    other = np.array([each[-1] for each in units])
    chunk = max(1, _CELLS // len(units))
    for start in range(0, draws, chunk):
        size = min(chunk, draws - start)
        times = generator.multinomial(count, np.full(count, 1 / count), size)  # (b, U)
        weights = np.where(one == other, times[:, one], times[:, one] * times[:, other])
        yield first.score(weights).mean(1) - second.score(weights).mean(1)
