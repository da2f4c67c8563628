"""The units that a recogniser writes: letters, phones or others, each with its number."""

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mt4ssl_core.data.tsv import is_count, read_lines
from mt4ssl_core.files import read_json, user_path

FAIRSEQ = ("<s>", "<pad>", "</s>", "<unk>")  # before the lines of its dict.*.txt; <s> is the blank
SEPARATORS = ("|", " ")  # between words: fairseq's and Hugging Face's, and some models' there
PADS = ("<pad>", "[PAD]")  # Hugging Face's blank
LIMIT, MOST = 1 << 24, 100_000  # bytes of a file, tokens
SHOWN = 12  # unknown tokens in a message
_SILENT = re.compile(r"</?s>|<pad>|\[(PAD|CLS|SEP)\]")


@dataclass(frozen=True)
class Vocabulary:
    """Tokens in the order of a model's outputs.

    tokens: all of them, no two alike. blank: the number of CTC's blank. Where there is a token
    between words ("|") and every other one is a single letter, text is spelled: "HI YOU" is H I |
    Y O U |, with a separator after the last word as in fairseq's .ltr files. Otherwise text is
    tokens with spaces between them, such as phones.

    Raises ValueError: tokens that are no such list, or a blank that is none of them.
    """

    tokens: tuple[str, ...]
    blank: int = 0

    def __post_init__(self) -> None:
        named = all(isinstance(token, str) and token for token in self.tokens)
        if not named or not 2 <= len(self.tokens) <= MOST:
            raise ValueError(f"expected 2 to {MOST:,} tokens, each a text that is not empty")
        if twice := [token for token, count in Counter(self.tokens).items() if count > 1]:
            raise ValueError(f"the token {twice[0]!r:.40} is there twice; remove one")
        if type(self.blank) is not int or not 0 <= self.blank < len(self.tokens):
            raise ValueError(f"the blank is {self.blank!r:.40}, which is the number of no token")

    def __len__(self) -> int:
        return len(self.tokens)

    @classmethod
    def from_transcripts(cls, texts: Iterable[str], spelled: bool = True) -> "Vocabulary":
        """Return what ``texts`` are made of, most frequent first, after fairseq's special tokens.

        spelled: of letters, with "|" between words; False: of what stands between spaces.
        """
        counts: Counter[str] = Counter()
        for text in texts:
            counts.update(_spell(text, SEPARATORS[0]) if spelled else text.split())
        if special := counts.keys() & set(FAIRSEQ):
            raise ValueError(f"{min(special)} in a transcript is a special token; remove it")
        return cls((*FAIRSEQ, *sorted(counts, key=lambda token: (-counts[token], token))))

    @classmethod
    def read(cls, path: str | Path, blank: str | None = None) -> "Vocabulary":
        """Read fairseq's dict.ltr.txt (``token count`` in each line) or Hugging Face's vocab.json
        ({token: number}).

        blank: the token of a .json that is CTC's blank; None: the first of `PADS` that is there.

        Raises:
            ValueError: of another form, a token twice, numbers with gaps, no such blank; names it.
        """
        path = user_path(path)
        try:
            if path.suffix == ".json":
                return cls._numbered(read_json(path, LIMIT), blank)
            if path.is_file() and path.stat().st_size > LIMIT:
                raise ValueError("too large for a dictionary")
            return cls((*FAIRSEQ, *map(_token, range(1, MOST), read_lines(path))))
        except ValueError as error:
            if str(path) in str(error):
                raise
            raise ValueError(f"{path}: {error}; give a dict.ltr.txt or a vocab.json") from None

    @classmethod
    def _numbered(cls, values: Any, blank: str | None) -> "Vocabulary":
        whole = isinstance(values, dict) and all(type(n) is int for n in values.values())
        if not whole or sorted(values.values()) != list(range(len(values))):
            raise ValueError("expected an object that gives tokens the numbers from 0 on")
        tokens = tuple(sorted(values, key=values.__getitem__))
        wanted = (blank,) if blank else PADS
        found = [token for token in wanted if token in values]
        if not found:
            raise ValueError(f"has no {' or '.join(wanted)}, the blank of CTC")
        return cls(tokens, values[found[0]])

    @classmethod
    def from_dict(cls, values: Any) -> "Vocabulary":
        """Return what `to_dict` was made of; ValueError: it is of another form."""
        if not isinstance(values, dict) or not isinstance(values.get("tokens"), list):
            raise ValueError("holds no vocabulary ({tokens, blank})")
        return cls(tuple(values["tokens"]), values.get("blank", 0))

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for a checkpoint."""
        return {"tokens": list(self.tokens), "blank": self.blank}

    @cached_property
    def separator(self) -> str | None:
        """The token between words, if there is one."""
        return next((token for token in SEPARATORS if token in self._numbers), None)

    @cached_property
    def spelled(self) -> bool:
        """Whether text is read letter by letter."""
        rest = {token for i, token in enumerate(self.tokens) if not self.is_special(i)}
        return self.separator is not None and all(len(token) == 1 for token in rest)

    def is_special(self, id: int) -> bool:
        """Whether a token is none of a text: the blank, or a mark such as ``<pad>``, ``[UNK]``."""
        token = self.tokens[id]
        return id == self.blank or re.fullmatch(r"<.+>|\[.+\]", token) is not None

    def units(self, text: str) -> list[str]:
        """Return the tokens that a text consists of, known or not."""
        if not self.spelled:
            return text.split()
        assert self.separator is not None
        return _spell(text, self.separator)

    def encode(self, text: str) -> list[int]:
        """Return the numbers of a text's tokens.

        Raises:
            ValueError: a token is unknown (nothing is dropped); names all of them with counts.
        """
        units = self.units(text)
        if unknown := self.unknown([text]):
            raise ValueError(self.said(unknown))
        return [self._numbers[unit] for unit in units]

    def unknown(self, texts: Iterable[str]) -> Counter[str]:
        """Return how often each token that is not known, or is special, stands in ``texts``."""
        counts: Counter[str] = Counter()
        for text in texts:
            counts.update(self.units(text))
        known = {token for i, token in enumerate(self.tokens) if not self.is_special(i)}
        return Counter({token: count for token, count in counts.items() if token not in known})

    def said(self, unknown: Counter[str]) -> str:
        """Return what a message says of unknown tokens: each with its count, and what is known."""
        listed = ", ".join(f"{token!r} {count}" for token, count in unknown.most_common(SHOWN))
        more = f" and {len(unknown) - SHOWN} more" if len(unknown) > SHOWN else ""
        there = [token for i, token in enumerate(self.tokens) if not self.is_special(i)]
        known = " ".join(sorted(there)[:60])
        return f"not in the vocabulary (with counts): {listed}{more}; it has {known}"

    def text(self, ids: Iterable[int]) -> str:
        """Return the text of tokens, as they are left when repeats and blanks are gone."""
        found = [self.tokens[i] for i in ids if i != self.blank]
        found = [token for token in found if not _SILENT.fullmatch(token)]
        if not self.spelled:
            return " ".join(found)
        return " ".join("".join(" " if t == self.separator else t for t in found).split())

    def collapse(self, path: Sequence[int]) -> list[int]:
        """Return what a CTC path (a token per frame) stands for: repeats merged, blanks removed."""
        before: list[int | None] = [None, *path]
        return [
            id for last, id in zip(before, path, strict=False) if id != last and id != self.blank
        ]

    def fairseq_lines(self) -> str:
        """Return its dict.ltr.txt; only of one that begins with fairseq's special tokens."""
        assert self.tokens[: len(FAIRSEQ)] == FAIRSEQ
        return "".join(f"{token} 1\n" for token in self.tokens[len(FAIRSEQ) :])

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {token: i for i, token in enumerate(self.tokens)}


def frames_needed(tokens: Sequence[int]) -> int:
    """Return the fewest frames in which CTC can say ``tokens``: a blank between two alike."""
    return len(tokens) + sum(a == b for a, b in itertools.pairwise(tokens))


def _spell(text: str, separator: str) -> list[str]:
    """The letters of a text, a separator after each word."""
    return [unit for word in text.split() for unit in (*word, separator)]


def _token(number: int, line: str) -> str:
    """The token of a line of a fairseq dictionary."""
    token, _, count = line.removesuffix(" #fairseq:overwrite").rpartition(" ")
    if not token or not is_count(count):
        raise ValueError(f"line {number} is {line!r:.60}, not `token count`")
    return token
