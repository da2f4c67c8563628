"""Symbols and their numbers, as in fairseq: <s> 0, <pad> 1, </s> 2, <unk> 3, then the rest."""

import re
from collections.abc import Iterable
from pathlib import Path

import torch

from mt4ssl_core.files import write_text

SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")
_OVERWRITE = "#fairseq:overwrite"


class Dictionary:
    """A vocabulary; its text file has a line ``symbol count`` for each but the special symbols."""

    def __init__(self) -> None:
        self.symbols: list[str] = []
        self.count: list[int] = []
        self.indices: dict[str, int] = {}
        for symbol in SPECIAL:
            self.add_symbol(symbol)
        self.nspecial = len(self.symbols)

    @classmethod
    def load(cls, path: str | Path) -> "Dictionary":
        """Read a text file.

        Raises:
            ValueError: a line is not ``symbol count``, or a symbol is there twice.
        """
        made = cls()
        with open(path, encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                made._add_line(line.rstrip(), f"{path}, line {number}")
        return made

    def _add_line(self, line: str, where: str) -> None:
        word, _, count = line.rpartition(" ")
        overwrite = count == _OVERWRITE
        if overwrite:
            word, _, count = word.rpartition(" ")
        if not word or not count.isdigit():
            raise ValueError(f"{where}: expected 'symbol count', found {line!r}; correct it")
        if word in self and not overwrite:
            raise ValueError(
                f"{where}: symbol {word!r} is there already; remove the line, or end it with "
                f"{_OVERWRITE}"
            )
        self.add_symbol(word, int(count), overwrite)

    def save(self, path: str | Path) -> None:
        """Write the text file."""
        entries = zip(self.symbols[self.nspecial :], self.count[self.nspecial :], strict=True)
        write_text(path, "".join(f"{symbol} {count}\n" for symbol, count in entries))

    def add_symbol(self, word: str, n: int = 1, overwrite: bool = False) -> int:
        """Add a symbol, or ``n`` to the count of one that is there; return its number."""
        if word in self.indices and not overwrite:
            self.count[self.indices[word]] += n
        else:
            self.indices[word] = len(self.symbols)
            self.symbols.append(word)
            self.count.append(n)
        return self.indices[word]

    def pad_to_multiple_(self, padding_factor: int) -> None:
        """Add ``madeupword0000``, ... until the size is a multiple of ``padding_factor``."""
        for number in range(-len(self) % padding_factor):
            self.add_symbol(f"madeupword{number:04d}", 0)

    def __len__(self) -> int:
        return len(self.symbols)

    def __contains__(self, symbol: str) -> bool:
        return symbol in self.indices

    def __getitem__(self, index: int) -> str:
        return self.symbols[index] if index < len(self.symbols) else SPECIAL[3]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Dictionary) and self.indices == other.indices

    __hash__ = object.__hash__

    def index(self, symbol: str) -> int:
        """Return the number of a symbol, that of <unk> when it is not known."""
        return self.indices.get(symbol, self.unk())

    def bos(self) -> int:
        """Return the number of <s>."""
        return 0

    def pad(self) -> int:
        """Return the number of <pad>."""
        return 1

    def eos(self) -> int:
        """Return the number of </s>, which begins a decoder's input too."""
        return 2

    def unk(self) -> int:
        """Return the number of <unk>."""
        return 3

    def encode_line(
        self, line: str, add_if_not_exist: bool = True, append_eos: bool = True
    ) -> torch.Tensor:
        """Return the numbers (N,), int32, of the symbols between white space."""
        words = re.sub(r"\s+", " ", line).split()
        find = self.add_symbol if add_if_not_exist else self.index
        numbers = [find(word) for word in words] + [self.eos()] * append_eos
        return torch.tensor(numbers, dtype=torch.int32)

    def string(self, tensor: Iterable[int] | torch.Tensor, bpe_symbol: str | None = None) -> str:
        """Return the text of numbers (N,) without <s> and </s>, its pieces joined to words."""
        numbers = tensor.tolist() if isinstance(tensor, torch.Tensor) else list(tensor)
        hidden = {self.bos(), self.eos()}
        return post_process(" ".join(self[n] for n in numbers if n not in hidden), bpe_symbol)


def post_process(sentence: str, symbol: str | None) -> str:
    """Join the pieces of a sentence: "sentencepiece", or a mark at the end of inner pieces."""
    if symbol == "sentencepiece":
        return sentence.replace(" ", "").replace("\u2581", " ").strip()
    if symbol is None or symbol == "none":
        return sentence
    return (sentence + " ").replace(symbol, "").rstrip()
