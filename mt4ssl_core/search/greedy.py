"""The best token of each frame: no language model, no search."""

import numpy as np

from mt4ssl_core.data.vocabulary import Vocabulary
from mt4ssl_core.search.hypothesis import Hypothesis, words_of_path


def greedy(log_probs: np.ndarray, vocabulary: Vocabulary, frame_seconds: float) -> Hypothesis:
    """Return the text of the most probable path.

    Args:
        log_probs: (T, V), natural logarithm.
        vocabulary: what the tokens are.
        frame_seconds: from one frame to the next.
    """
    path = log_probs.argmax(axis=1)
    score = float(log_probs.max(axis=1).sum())
    return Hypothesis(words_of_path(path, log_probs, vocabulary, frame_seconds), score)
