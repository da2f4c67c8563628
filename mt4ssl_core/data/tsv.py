"""fairseq's ``.tsv`` of audio: the root folder, then ``relative/path<TAB>samples`` (at 16 kHz)."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mt4ssl_core.data.containers import check_regular
from mt4ssl_core.files import atomic_path, reading, user_path


@dataclass(frozen=True)
class TsvRow:
    """One utterance of a ``.tsv``."""

    id: str  # its path as written, relative to the root
    path: Path
    num_samples: int  # at 16 kHz
    line: int = 0  # of the file; 0: of none


def read_tsv(path: str | Path) -> list[TsvRow]:
    """Read a fairseq ``.tsv``; the audio files themselves are not looked at.

    A byte order mark, Windows' line ends and ``~`` in the root are understood. Rows may be
    absolute paths.

    Raises ValueError naming file and line: no root line, no rows, a row that is not
    ``path<TAB>samples``, a path listed twice.
    """
    path = Path(path)
    lines = read_lines(path)
    if not lines or not lines[0].strip() or "\t" in lines[0]:
        found = repr(lines[0]) if lines else "an empty file"
        raise ValueError(f"{path}:1: expected the root folder, got {found}; write it on this line")
    if len(lines) == 1:
        raise ValueError(f"{path}: no audio after the root line; add `path<TAB>samples` rows")
    root = user_path(lines[0].strip())
    rows: list[TsvRow] = []
    seen: dict[str, int] = {}
    for number, line in enumerate(lines[1:], start=2):
        where = f"{path}:{number}:"
        name, _, samples = line.partition("\t")
        if not name or not is_count(samples):
            raise ValueError(
                f"{where} expected `path<TAB>samples`, got {line[:200]!r}; correct this line"
            )
        if name in seen:
            raise ValueError(f"{where} {name} is already on line {seen[name]}; remove one of them")
        seen[name] = number
        rows.append(TsvRow(name, root / name, int(samples), number))
    return rows


def read_root(path: str | Path) -> Path:
    """Return the root folder that a ``.tsv`` names."""
    return user_path(read_lines(Path(path))[0].strip())


def write_tsv(path: str | Path, root: str | Path, rows: Iterable[TsvRow]) -> None:
    """Write a fairseq ``.tsv`` atomically, row by row. ValueError: an id that no row can hold."""
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.write(f"{root}\n")
        for row in rows:
            file.write(format_row(row.id, row.num_samples))


def format_row(id: str, num_samples: int) -> str:
    """Return an utterance's line of a ``.tsv``; ValueError: an id that no row can hold."""
    if problem := id_problem(id):
        raise ValueError(f"{id!r} {problem}")
    return f"{id}\t{num_samples}\n"


def id_problem(id: str) -> str:
    """Return why an id cannot stand in a ``.tsv``, "" if it can."""
    if not id or any(mark in id for mark in "\t\n\r"):
        return "cannot stand in a .tsv (tab, line break or empty); rename it"
    try:
        id.encode()
    except UnicodeEncodeError:
        return "cannot stand in a .tsv (its name is not UTF-8); rename it"
    return ""


def read_lines(path: Path) -> list[str]:
    """Lines of a text file, whoever wrote it; not splitlines: names may hold U+2028."""
    with reading(path, "give a text file"):
        check_regular(path)
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            lines = [line.removesuffix("\r") for line in file.read().split("\n")]
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 text ({error}); give a text file") from None
    return lines[:-1] if lines[-1] == "" else lines


def is_count(text: str) -> bool:
    """Whether a text is an integer from 0."""
    text = text.strip()
    return text.isascii() and text.isdigit() and len(text) < 1000
