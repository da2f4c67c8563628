"""Which search finds the words: greedy, or a beam with a lexicon and a language model."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from mt4ssl_core.data.vocabulary import Vocabulary
from mt4ssl_core.files import user_path
from mt4ssl_core.recognition.long_audio import LONGEST, stretches
from mt4ssl_core.search.beam_search import BeamSearch
from mt4ssl_core.search.greedy import greedy
from mt4ssl_core.search.hypothesis import Hypothesis, Word, moved
from mt4ssl_core.settings.recognition_defaults import BeamSettings

Search = Callable[[np.ndarray, float], list[Hypothesis]]


@dataclass(frozen=True)
class SearchRequest:
    """What is searched with. Without files, and for one hypothesis, the search is greedy.

    lm: a KenLM or ARPA file of words or of letters. lexicon: a file of spellings; None: the words
    of ``lm``. beam: settings of the search.

    Raises:
        ValueError: settings that nothing would use.
    """

    lm: str | None = None
    lexicon: str | None = None
    beam: BeamSettings = field(default_factory=BeamSettings)

    def __post_init__(self) -> None:
        """Refuse settings of a beam for a search without one."""
        if self.is_greedy and self.beam != BeamSettings():
            raise ValueError(
                "beam, threshold, weights and scores are of a search with a language model or a "
                "lexicon, and without one it is greedy; give --lm or --lexicon, or leave them out"
            )

    @property
    def is_greedy(self) -> bool:
        """Whether no beam is needed."""
        return self.lm is None and self.lexicon is None and self.beam.nbest == 1

    def searcher(self, vocabulary: Vocabulary) -> Search:
        """Return a search for a model's tokens.

        Raises:
            ValueError: files that cannot be used.
        """
        if self.is_greedy:
            return lambda log_probs, seconds: [greedy(log_probs, vocabulary, seconds)]
        files = (None if p is None else str(user_path(p)) for p in (self.lm, self.lexicon))
        return BeamSearch(vocabulary, self.beam, *files)


def search_through(
    search: Search, log_probs: np.ndarray, vocabulary: Vocabulary, frame_seconds: float
) -> list[Hypothesis]:
    """Search utterances of any length; of long ones, part by part, there is one hypothesis."""
    frames = round(LONGEST / frame_seconds)
    if len(log_probs) <= frames:
        return search(log_probs, frame_seconds)
    words: list[Word] = []
    score = 0.0
    for first, part in stretches(log_probs, vocabulary, frames):
        best = search(part, frame_seconds)[0]
        words += moved(best.words, first * frame_seconds)
        score += best.score
    return [Hypothesis(tuple(words), score)]
