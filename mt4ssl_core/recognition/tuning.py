"""Which weight of a language model and score of a word are best, on speech that is not tested."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mt4ssl_core.bars import Bar
from mt4ssl_core.data.vocabulary import Vocabulary
from mt4ssl_core.recognition.search_request import search_through
from mt4ssl_core.recognition.word_scores import total, word_errors
from mt4ssl_core.search.beam_search import BeamSearch


@dataclass(frozen=True)
class GridPoint:
    """The word error rate at one place of the grid."""

    lm_weight: float
    word_score: float
    wer: float

    def record(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)


def tune(
    search: BeamSearch,
    emissions: Sequence[tuple[str, np.ndarray]],
    vocabulary: Vocabulary,
    frame_seconds: float,
    lm_weights: Sequence[float],
    word_scores: Sequence[float],
) -> list[GridPoint]:
    """Search (reference, log probabilities) with every pair of weights; the best pair is first.

    Of pairs that are equally good the one that comes first in the lists is.
    """
    found = []
    pairs = [(weight, score) for weight in lm_weights for score in word_scores]
    for weight, score in Bar("tuning", len(pairs), unit=" pairs").over(pairs):
        tuned = search.with_weights(weight, score)
        errors = [
            word_errors(
                reference, search_through(tuned, log_probs, vocabulary, frame_seconds)[0].text
            )
            for reference, log_probs in emissions
        ]
        found.append(GridPoint(weight, score, total(errors).rate))
    return sorted(found, key=lambda point: point.wer)
