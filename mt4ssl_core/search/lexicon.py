"""Which words there are, and how each is spelled with the model's tokens.

A lexicon is text: a word, white space, its tokens with spaces between them (fairseq's and
torchaudio's form: ``HELLO<tab>H E L L O |``). A word may have several lines. The separator at the
end may be missing: it is added, since every word ends with it.
"""

import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mt4ssl_core.data.vocabulary import Vocabulary
from mt4ssl_core.files import reading
from mt4ssl_core.lines import say
from mt4ssl_core.search.hypothesis import separator_of

LIMIT = 1 << 30  # bytes; a lexicon of ten million words is below that
Spelling = tuple[int, ...]


@dataclass(frozen=True)
class Lexicon:
    """Words, and the spellings of each as token numbers that end with the separator.

    source: what a message calls it. left_out: words that the tokens cannot spell.
    """

    spellings: dict[str, list[Spelling]]
    source: str
    left_out: int = 0

    @property
    def words(self) -> list[str]:
        """The words, in their order."""
        return list(self.spellings)


def read_lexicon(path: str | Path, vocabulary: Vocabulary) -> Lexicon:
    """Read a lexicon file.

    Raises:
        ValueError: no such file, empty, a line without a spelling, tokens that the vocabulary lacks
            (named with counts), or a vocabulary without a token between words.
    """
    path = Path(path)
    speller = _Speller(vocabulary, str(path))
    if not path.is_file():
        raise ValueError(f"{path}: no such lexicon; correct the path (--lexicon)")
    if path.stat().st_size > LIMIT:
        raise ValueError(f"{path}: {path.stat().st_size:,} bytes are no lexicon; give another")
    with reading(path, "give a text file of lines such as: HELLO H E L L O |"):
        lines = path.read_text(encoding="utf-8").splitlines()
    spellings: dict[str, list[Spelling]] = {}
    for number, line in enumerate(lines, 1):
        word, *tokens = line.split() or [""]
        if word and set(tokens) <= {vocabulary.separator}:
            raise ValueError(
                f"{path}: line {number} ({word[:40]}) has no spelling; write it as in: "
                "HELLO H E L L O |"
            )
        found = speller.spell(tokens)
        if found and found not in spellings.setdefault(word, []):
            spellings[word].append(found)
    if speller.unknown:
        raise ValueError(f"{path}: {speller.problem()}")
    if not spellings:
        raise ValueError(f"{path}: no word in this lexicon; give another")
    return Lexicon(spellings, str(path))


def spelled_words(words: Iterable[str], vocabulary: Vocabulary, source: str) -> Lexicon:
    """Make a lexicon of words that are spelled as they are written, such as a language model's.

    Those with letters that the vocabulary lacks are left out, counted and said.

    Raises:
        ValueError: most words have such letters: another alphabet, or another case; or the model
            does not spell.
    """
    speller = _Speller(vocabulary, source)
    if not vocabulary.spelled:
        raise ValueError(
            f"{source}: the model's tokens are not letters, so that its words cannot be spelled "
            "with them; give --lexicon as well"
        )
    found = {word: speller.spell(list(word)) for word in words}
    spellings = {word: [spelling] for word, spelling in found.items() if spelling}
    left_out = len(found) - len(spellings)
    if left_out > len(spellings):
        raise ValueError(
            f"{source}: {left_out:,} of its {len(found):,} words cannot be spelled: "
            f"{speller.problem()}"
        )
    if left_out:
        say(
            f"{source}: {left_out:,} of its {len(found):,} words are left out: "
            f"{vocabulary.said(speller.unknown)}",
            sys.stderr,
        )
    return Lexicon(spellings, source, left_out)


class _Speller:
    """Makes numbers of tokens, and counts those that the vocabulary lacks."""

    def __init__(self, vocabulary: Vocabulary, source: str) -> None:
        separator = separator_of(vocabulary)
        if separator is None:
            raise ValueError(
                f"{source}: words need a token between them, and the model has only "
                f"{' '.join(vocabulary.tokens)[:120]}; decode without lexicon and language model"
            )
        self.separator, self.vocabulary = separator, vocabulary
        self.unknown: Counter[str] = Counter()
        self._numbers = {
            token: number
            for number, token in enumerate(vocabulary.tokens)
            if not vocabulary.is_special(number) and number != separator
        }

    def spell(self, tokens: Sequence[str]) -> Spelling | None:
        """The numbers of the tokens and of the separator; None if there is none, or not of all."""
        if tokens and tokens[-1] == self.vocabulary.separator:
            tokens = tokens[:-1]
        wrong = [token for token in tokens if token not in self._numbers]
        self.unknown.update(wrong)
        if wrong or not tokens:
            return None
        return (*(self._numbers[token] for token in tokens), self.separator)

    def problem(self) -> str:
        """Say which tokens the vocabulary lacks, and whether it has them in the other case."""
        swapped = [token for token in self.unknown if token.swapcase() in self._numbers]
        remedy = "give one of the model's alphabet, or remove these words"
        if 2 * len(swapped) > len(self.unknown):
            remedy = "write it in the case of the model's letters"
        return f"{self.vocabulary.said(self.unknown)}; {remedy}"
