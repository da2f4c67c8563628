"""What a score is worth: bootstrap intervals, the majority baseline and the control task.

Shapes: N labels, U utterances. What is drawn at random follows from ``seed``.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from mt4ssl_core.data.cuts import stable_hash


@dataclass(frozen=True)
class Estimate:
    """A value and its confidence interval.

    ``bias``: by how much the mean of the bootstrap's draws is above the value.
    """

    value: float
    low: float
    high: float
    bias: float


def bootstrap(
    statistic: Callable[[np.ndarray], float],
    utterances: int,
    draws: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    centred: bool = False,
) -> Estimate:
    """Percentile interval of a statistic, drawing whole utterances again with replacement.

    Frames of an utterance are alike, so drawing frames would give intervals far too narrow; where
    speakers matter, let speakers be the units. ``statistic`` gets how often each unit was drawn,
    (U,) int64. With sums per utterance, the accuracy is ``lambda w: (w @ right) / (w @ frames)``,
    PNMI ``lambda w: pnmi(np.tensordot(w, counts, 1))``; the difference of two models, drawn
    together, is as simple.

    Each draw has fewer distinct utterances than there are. What grows when there is less data
    (PNMI, purity, CCA on its own data) is higher in the draws than its value, which may lie outside
    their interval: ``centred`` moves it back by ``bias``. It then says how much the value scatters;
    the value's own bias is another matter (:class:`Null`).

    Raises:
        ValueError: fewer than two utterances, settings out of range, a statistic that is not
            finite.
    """
    if utterances < 2 or draws < 1 or not 0 < level < 1:
        raise ValueError(
            f"{utterances} utterances, {draws} draws, level {level}: expected two or more "
            "utterances, a draw, and a level between 0 and 1; correct them"
        )
    shares = np.full(utterances, 1 / utterances)
    weights = np.random.default_rng(seed).multinomial(utterances, shares, draws)  # (draws, U)
    value = float(statistic(np.ones(utterances, np.int64)))
    found = np.array([statistic(row) for row in weights], dtype=float)
    if not np.isfinite([value, *found]).all():
        raise ValueError(
            "the statistic is not finite in every draw; give more utterances, or leave out rare "
            "labels"
        )
    low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2])
    bias = float(found.mean()) - value
    shift = bias if centred else 0.0
    return Estimate(value, float(low) - shift, float(high) - shift, bias)


def majority(train: Sequence | np.ndarray, test: Sequence | np.ndarray | None = None) -> float:
    """Accuracy on ``test`` of always saying the commonest label of ``train`` (the first of equals).

    Without ``test``, on ``train`` itself.
    """
    if not len(train) or (test is not None and not len(test)):
        raise ValueError("no labels; give one per frame or utterance")
    names, counts = np.unique(np.asarray(train), return_counts=True)
    return float(np.mean(np.asarray(train if test is None else test) == names[counts.argmax()]))


def control_labels(
    types: Sequence[Hashable], labels: Sequence | np.ndarray, seed: int = 0
) -> np.ndarray:
    """Labels of a control task (Hewitt & Liang 2019): one per type, at random, (N,) for N tokens.

    ``types`` says what each token is (a word, a cluster, a speaker); all tokens of a type get the
    same label, drawn from the distribution of ``labels`` (those of the real task). A probe learns
    these by memory alone: real minus control accuracy is its selectivity. The label depends on
    (seed, type, ``labels``) only, so training and test data agree when ``labels`` is the same.
    """
    names, counts = np.unique(np.asarray(labels), return_counts=True)
    if not len(names):
        raise ValueError("no labels; give those of the real task")
    edges = np.cumsum(counts) / counts.sum()
    at = {kind: stable_hash("control task", seed, kind) / 2**64 for kind in set(types)}
    return names[np.searchsorted(edges[:-1], [at[kind] for kind in types], side="right")]
