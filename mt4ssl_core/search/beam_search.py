"""Beam search with flashlight-text: over the words of a lexicon, or over letters.

The search is for the path of the highest sum: the model's log probabilities, the language model's
(log10, as KenLM gives them) times ``lm_weight``, ``word_score`` for every word and ``sil_score``
for every separator. This is the criterion of the wav2vec 2.0, HuBERT and MT4SSL papers. One path
counts for a text, not the sum of its paths.
"""

import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from mt4ssl_core.data.vocabulary import Vocabulary
from mt4ssl_core.lines import say
from mt4ssl_core.search.hypothesis import (
    Hypothesis,
    Word,
    separator_of,
    words_of_path,
)
from mt4ssl_core.search.language_model import (
    UNKNOWN,
    LanguageModel,
    flashlight,
    look_through,
    open_kenlm,
)
from mt4ssl_core.search.lexicon import Lexicon, Spelling, read_lexicon, spelled_words
from mt4ssl_core.settings.recognition_defaults import BeamSettings

HOMOPHONES = 6  # words of one spelling that flashlight-text keeps (Trie.h: kTrieMaxLabel)
_SHOWN = 12  # words in a message
_IMPOSSIBLE = -1e4  # log probability of what may not be in the frame after the last


class BeamSearch:
    """A search that is ready for utterances.

    Args:
        vocabulary: the model's tokens.
        settings: of the search.
        lm: a language model's file, of words or of letters; None: none.
        lexicon: a lexicon's file; None: the words of ``lm``, spelled as they are written, or none
            where it is of letters.

    Raises:
        ValueError: a file that cannot be used, or files that do not belong together.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        settings: BeamSettings,
        lm: str | None = None,
        lexicon: str | None = None,
    ) -> None:
        self.vocabulary, self.settings = vocabulary, settings
        self._separator = separator_of(vocabulary)
        self._text = flashlight()
        model = self.model = None if lm is None else look_through(lm)
        self.lexicon = _lexicon(vocabulary, model, lexicon)
        names = list(vocabulary.tokens)
        if self.lexicon is not None:
            names = [UNKNOWN, *(word for word in self.lexicon.words if word != UNKNOWN)]
        self._words = names
        self._lm = self._text.decoder.ZeroLM() if model is None else open_kenlm(model, names)
        if model is not None and self.lexicon is not None:
            _check_pair(self._lm, names, model, self.lexicon)
        self._trie = None if self.lexicon is None else self._spelled(self.lexicon)
        self._decoder = self._made()

    def with_weights(self, lm_weight: float, word_score: float) -> "BeamSearch":
        """Return the same search with other weights, without reading anything again."""
        other = object.__new__(BeamSearch)
        other.__dict__.update(self.__dict__)
        other.settings = replace(self.settings, lm_weight=lm_weight, word_score=word_score)
        other._decoder = other._made()
        return other

    def __call__(self, log_probs: np.ndarray, frame_seconds: float) -> list[Hypothesis]:
        """Return the best hypotheses of log probabilities (T, V), the best first."""
        frames, size = log_probs.shape
        given = np.full((frames + 1, size), _IMPOSSIBLE, np.float32)
        given[:frames] = np.maximum(log_probs, _IMPOSSIBLE)
        given[frames, self.vocabulary.blank] = 0  # after the last frame a word may end
        if self._separator is not None:
            given[frames, self._separator] = 0
        found = self._decoder.decode(given.ctypes.data, frames + 1, size)
        return [
            self._hypothesis(result, log_probs, frame_seconds)
            for result in found[: self.settings.nbest]
        ]

    def _hypothesis(self, result: Any, log_probs: np.ndarray, seconds: float) -> Hypothesis:
        path = result.tokens[1 : len(log_probs) + 1]  # between the silences that the search adds
        by_word = None if self.lexicon is None else True
        words = words_of_path(path, log_probs, self.vocabulary, seconds, by_word)
        if self.lexicon is not None:  # a spelling may be that of another word
            texts = [self._words[number] for number in result.words if number >= 0]
            words = _renamed(words, texts)
        return Hypothesis(words, float(result.score))

    def _spelled(self, lexicon: Lexicon) -> Any:
        """Return the tree of all spellings, with the language model's score of each word."""
        decoder = self._text.decoder
        trie = decoder.Trie(len(self.vocabulary.tokens), self._separator)
        start, number = self._lm.start(False), {word: n for n, word in enumerate(self._words)}
        scores = {w: self._lm.score(start, number[w])[1] for w in lexicon.spellings}
        for word, spelling in _likeliest(lexicon, scores):
            trie.insert(spelling, number[word], scores[word])
        trie.smear(decoder.SmearingMode.MAX)
        return trie

    def _made(self) -> Any:
        decoder, asked = self._text.decoder, self.settings
        common = {
            "beam_size": asked.beam, "beam_size_token": len(self.vocabulary.tokens),
            "beam_threshold": asked.threshold, "lm_weight": asked.lm_weight,
            "sil_score": asked.sil_score, "log_add": False,
            "criterion_type": decoder.CriterionType.CTC,
        }  # fmt: skip
        blank = self.vocabulary.blank
        silence = blank if self._separator is None else self._separator
        if self._trie is None:
            options = decoder.LexiconFreeDecoderOptions(**common)
            return decoder.LexiconFreeDecoder(options, self._lm, silence, blank, [])
        options = decoder.LexiconDecoderOptions(
            **common, word_score=asked.word_score, unk_score=-np.inf
        )
        return decoder.LexiconDecoder(options, self._trie, self._lm, silence, blank, 0, [], False)


def _lexicon(
    vocabulary: Vocabulary, model: LanguageModel | None, path: str | None
) -> Lexicon | None:
    if path is not None:
        return read_lexicon(path, vocabulary)
    if model is None:
        return None
    if model.words is None:
        raise ValueError(
            f"{model.path}: a binary language model does not tell its words; give --lexicon as well"
        )
    if not model.words:
        raise ValueError(f"{model.path}: no word in this language model; give another")
    if model.is_of_letters(vocabulary.tokens):
        return None
    return spelled_words(sorted(model.words), vocabulary, str(model.path))


def _likeliest(lexicon: Lexicon, scores: Mapping[str, float]) -> Iterator[tuple[str, Spelling]]:
    """Yield words and spellings, of one spelling the likeliest; what is left out is named."""
    by_spelling = defaultdict[Spelling, list[str]](list)
    for word, spellings in lexicon.spellings.items():
        for spelling in spellings:
            by_spelling[spelling].append(word)
    dropped = list[str]()
    for spelling, words in by_spelling.items():
        if len(words) > HOMOPHONES:
            words.sort(key=scores.__getitem__, reverse=True)
            dropped += words[HOMOPHONES:]
        yield from ((word, spelling) for word in words[:HOMOPHONES])
    if dropped:
        shown = ", ".join(word[:40] for word in dropped[:_SHOWN])
        say(
            f"{lexicon.source}: {len(dropped)} spellings are left out, since the search keeps "
            f"{HOMOPHONES} words of one spelling, those that the language model finds likeliest "
            f"(without one the first): of {shown}; take out what nobody says",
            sys.stderr,
        )


def _check_pair(lm: Any, names: Sequence[str], model: LanguageModel, lexicon: Lexicon) -> None:
    """Say which words of the lexicon the language model does not know; it must know one.

    Raises:
        ValueError: it knows none.
    """
    if model.words is not None:
        unknown = [word for word in lexicon.words if word not in model.words]
    else:  # a word that it does not know has the score of <unk>
        start = lm.start(False)
        score = lm.score(start, 0)[1]
        unknown = [word for n, word in enumerate(names) if n and lm.score(start, n)[1] == score]
    if not unknown:
        return
    all_words = f"{len(lexicon.words):,} words of {lexicon.source}"
    if len(unknown) < len(lexicon.words):
        shown = ", ".join(word[:40] for word in unknown[:_SHOWN])
        say(
            f"{model.path}: {len(unknown):,} of the {all_words} are searched for with the score of "
            f"an unknown word, such as {shown}",
            sys.stderr,
        )
        return
    other = "" if model.words is None else f"; it has words such as {min(model.words)[:40]}"
    raise ValueError(
        f"{model.path}: knows none of the {all_words}, such as {unknown[0][:40]}{other}; give a "
        "language model and a lexicon of one language and case"
    )


def _renamed(words: Sequence[Word], texts: Sequence[str]) -> tuple[Word, ...]:
    """Give words that the separators tell apart the texts that the lexicon has for them."""
    return tuple(replace(word, text=text) for word, text in zip(words, texts, strict=False))
