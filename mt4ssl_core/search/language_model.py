"""An n-gram language model's file: looked through before KenLM, which trusts it, opens it.

ARPA text, the same compressed with gzip, or KenLM's binary.
"""

import gzip
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from mt4ssl_core.files import reading

SPECIAL = {"<s>", "</s>", "<unk>", "<UNK>"}
MAX_ORDER = 6  # what KenLM is built for
_GZIP, _BINARY = b"\x1f\x8b", b"mmap lm http://kheafield.com/code"
_LONGEST = 1 << 16  # bytes of a line
_COUNT = re.compile(rb"ngram\s+(\d+)\s*=\s*(\d{1,18})\s*")
_LOADED = 600  # seconds to try a binary
_REMEDY = "copy it again, or make it again with KenLM's lmplz"
UNKNOWN = "<unk>"


@dataclass(frozen=True)
class LanguageModel:
    """A file that can be opened; ``words``: its vocabulary, None where the file is binary.

    counts: of n-grams by order; empty where the file is binary.
    """

    path: Path
    words: frozenset[str] | None = None
    counts: tuple[int, ...] = ()

    def is_of_letters(self, letters: Sequence[str]) -> bool:
        """Whether all that it predicts are tokens of the model: then no lexicon is needed."""
        return self.words is not None and self.words <= set(letters)


def look_through(path: str | Path) -> LanguageModel:
    """Read a language model's file once, from its first line to its last.

    Raises:
        ValueError: no such file, neither ARPA nor KenLM's binary, damaged, cut short, or with
            another number of n-grams than its header says.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: no such language model; correct the path (--lm)")
    with open(path, "rb") as file:
        head = file.read(len(_BINARY))
    if head == _BINARY:
        _try_in_another_process(path)
        return LanguageModel(path)
    with reading(path, _REMEDY), open_text(path) as file:
        return _arpa(path, file)


def open_text(path: Path) -> IO[bytes]:
    """Open an ARPA file, compressed or not, for its bytes."""
    with open(path, "rb") as file:
        zipped = file.read(len(_GZIP)) == _GZIP
    return cast(IO[bytes], gzip.open(path)) if zipped else open(path, "rb")


def _arpa(path: Path, file: IO[bytes]) -> LanguageModel:
    lines = _lines(path, file)
    if next(lines, b"") != b"\\data\\":
        raise ValueError(
            f"{path}: neither ARPA (its first line is \\data\\) nor KenLM's binary; give one"
        )
    counts, line = _header(path, lines)
    words: set[str] = set()
    for order, claimed in enumerate(counts, 1):
        if line != b"\\%d-grams:" % order:
            raise _cut_short(path, f"\\{order}-grams: is missing")
        found = 0
        for line in lines:
            if line.startswith(b"\\"):
                break
            found += 1
            if found > claimed:
                break
            if order == 1:
                words.add(_word(path, line))
        else:
            line = b""
        if found != claimed:
            more = "more" if found > claimed else f"{found:,}"
            raise _cut_short(path, f"its header says {claimed:,} {order}-grams, there are {more}")
    if line != b"\\end\\":
        raise _cut_short(path, "\\end\\ is missing")
    for _ in lines:  # to the checksum of gzip
        pass
    return LanguageModel(path, frozenset(words - SPECIAL), tuple(counts))


def _lines(path: Path, file: IO[bytes]) -> Iterator[bytes]:
    """The lines that are not empty, without white space around them."""
    for line in iter(lambda: file.readline(_LONGEST), b""):
        if len(line) == _LONGEST:
            raise ValueError(f"{path}: a line of more than {_LONGEST:,} bytes; {_REMEDY}")
        if line := line.strip():
            yield line


def _header(path: Path, lines: Iterator[bytes]) -> tuple[list[int], bytes]:
    """Return the counts that the header claims, by order, and the line after it."""
    counts: list[int] = []
    for line in lines:
        found = _COUNT.fullmatch(line)
        if found is None:
            break
        if int(found[1]) != len(counts) + 1:
            raise _cut_short(path, f"ngram {len(counts) + 1}= is missing")
        counts.append(int(found[2]))
    else:
        line = b""
    if not counts or len(counts) > MAX_ORDER:
        raise ValueError(
            f"{path}: {len(counts)} orders of n-grams; expected 1 to {MAX_ORDER}; give another"
        )
    return counts, line


def _word(path: Path, line: bytes) -> str:
    parts = line.split()
    if len(parts) not in (2, 3):
        raise ValueError(
            f"{path}: {ascii(line[:60])[1:]} is no 1-gram (log probability, word, back-off); "
            f"{_REMEDY}"
        )
    return parts[1].decode()


def _cut_short(path: Path, what: str) -> ValueError:
    return ValueError(f"{path}: {what}: cut short or damaged; {_REMEDY}")


def _try_in_another_process(path: Path) -> None:
    """Open a binary where a crash of KenLM over damaged bytes ends nothing of ours."""
    flashlight()
    code = (
        "import sys; from flashlight.lib.text.decoder.kenlm import KenLM; "
        "from flashlight.lib.text.dictionary import Dictionary; "
        "lm = KenLM(sys.argv[1], Dictionary(['<unk>', 'A'])); "
        "state = lm.start(False); [lm.score(state, n) for n in (0, 1)]; lm.finish(state)"
    )
    command = [sys.executable, "-c", code, str(path)]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=_LOADED)
    except subprocess.TimeoutExpired:
        raise ValueError(
            f"{path}: KenLM did not open it within {_LOADED} s; copy it to a faster disk, or give "
            "a smaller one"
        ) from None
    if found.returncode:
        said = _last_line(found.stderr).removeprefix("RuntimeError: ")
        raise ValueError(f"{path}: KenLM cannot read it ({said or 'it crashed'}); {_REMEDY}")


def open_kenlm(model: LanguageModel, words: Sequence[str]) -> Any:
    """Return flashlight's KenLM of a file, asked by the numbers of ``words``.

    Raises:
        ValueError: KenLM refuses it.
    """
    text = flashlight()
    try:
        with _quiet():
            return text.KenLM(str(model.path), text.Dictionary([*words]))
    except RuntimeError as error:  # begins with places in KenLM's source
        said = _last_line(str(error))
        raise ValueError(f"{model.path}: KenLM cannot read it ({said}); {_REMEDY}") from None


def _last_line(text: str) -> str:
    return " ".join((text.strip().splitlines() or [""])[-1].split())[:200]


@dataclass(frozen=True)
class _Flashlight:
    """What is used of flashlight-text."""

    decoder: Any
    KenLM: Any
    Dictionary: Any


def flashlight() -> _Flashlight:
    """Import flashlight-text when it is needed.

    Raises:
        ValueError: it is not installed.
    """
    try:
        from flashlight.lib.text import decoder
        from flashlight.lib.text.decoder.kenlm import KenLM
        from flashlight.lib.text.dictionary import Dictionary
    except ModuleNotFoundError:
        raise ValueError('beam search needs flashlight-text; pip install "mt4ssl[asr]"') from None
    return _Flashlight(decoder, KenLM, Dictionary)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep KenLM's progress, which it writes past Python, off standard error."""
    sys.stderr.flush()
    try:
        kept = os.dup(2)
    except OSError:  # closed
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        with suppress(OSError):
            os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
