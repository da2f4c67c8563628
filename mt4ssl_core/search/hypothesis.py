"""What was recognised: a text, and its words with their times and confidences."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np

from mt4ssl_core.data.vocabulary import Vocabulary


@dataclass(frozen=True)
class Word:
    """A word from ``start`` to ``end``, in seconds.

    confidence: from 0 to 1; the geometric mean over its letters of the model's own probability of
    each, at the frame where that is highest.
    """

    text: str
    start: float
    end: float
    confidence: float


@dataclass(frozen=True)
class Hypothesis:
    """Words in order; ``score``: the search's log score, comparable within an utterance."""

    words: tuple[Word, ...]
    score: float

    @property
    def text(self) -> str:
        """The words with single spaces between them."""
        return " ".join(word.text for word in self.words)

    @property
    def confidence(self) -> float | None:
        """The mean of the words' confidences; None where there are none."""
        return float(np.mean([word.confidence for word in self.words])) if self.words else None


def separator_of(vocabulary: Vocabulary) -> int | None:
    """Return the number of the token between words, if there is one."""
    separator = vocabulary.separator
    return None if separator is None else vocabulary.tokens.index(separator)


def words_of_path(
    path: Sequence[int] | np.ndarray,
    log_probs: np.ndarray,
    vocabulary: Vocabulary,
    frame_seconds: float,
    split: bool | None = None,
) -> tuple[Word, ...]:
    """Return the words of a CTC path: repeats are one token, blanks and special tokens are none.

    Args:
        path: the token of each frame (T,).
        log_probs: of the model, (T, V), natural logarithm.
        vocabulary: what the tokens are.
        frame_seconds: from one frame to the next.
        split: whether words are what stands between separators; False: each token is a word; None:
            as the vocabulary is spelled.
    """
    words: list[Word] = []
    letters: list[tuple[str, int, int, float]] = []  # text, first frame, one past its last, log p

    def end() -> None:
        if letters:
            confidence = math.exp(sum(letter[3] for letter in letters) / len(letters))
            text = "".join(letter[0] for letter in letters)
            start, stop = letters[0][1] * frame_seconds, letters[-1][2] * frame_seconds
            words.append(Word(text, start, stop, min(1.0, confidence)))
            letters.clear()

    between = vocabulary.spelled if split is None else split
    separator, frame = separator_of(vocabulary) if between else None, 0
    for token, run in groupby(int(token) for token in path):
        first, frame = frame, frame + len(list(run))
        if token == separator:
            end()
        elif text := vocabulary.text([token]):
            letters.append((text, first, frame, float(log_probs[first:frame, token].max())))
            if not between:
                end()
    end()
    return tuple(words)


def moved(words: Sequence[Word], seconds: float) -> tuple[Word, ...]:
    """Return words that are ``seconds`` later."""
    return tuple(
        replace(word, start=word.start + seconds, end=word.end + seconds) for word in words
    )
