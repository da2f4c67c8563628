"""fairseq's ``.tsv`` of audio: the root folder, then ``relative/path<TAB>samples`` (at 16 kHz)."""

from collections.abc import Iterable, Iterator
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

    Raises ValueError: as of `read_rows`, or a path listed twice; names file and line.
    """
    path = Path(path)
    root = read_root(path)
    rows: list[TsvRow] = []
    seen: dict[str, int] = {}
    for name, samples, number in read_rows(path):
        if name in seen:
            raise ValueError(listed_twice(path, name, number, seen[name]))
        seen[name] = number
        rows.append(TsvRow(name, root / name, samples, number))
    return rows


def read_rows(path: Path) -> Iterator[tuple[str, int, int]]:
    """Yield the name, samples and line number of each row of a ``.tsv``, as they are read.

    A byte order mark, Windows' line ends and ``~`` in the root are understood. Rows may be
    absolute paths.

    Raises ValueError naming file and line: no root line, no rows, a row that is not
    ``path<TAB>samples``.
    """
    lines = each_line(path)
    _root_line(path, next(lines, None))
    number = 1
    for number, line in enumerate(lines, start=2):
        name, _, samples = line.partition("\t")
        if not name or not is_count(samples):
            raise ValueError(
                f"{path}:{number}: expected `path<TAB>samples`, got {line[:200]!r}; correct this "
                "line"
            )
        yield name, int(samples), number
    if number == 1:
        raise ValueError(f"{path}: no audio after the root line; add `path<TAB>samples` rows")


def listed_twice(path: Path, name: str, line: int, first: int) -> str:
    """Return what to say of a path that is on two lines of a ``.tsv``."""
    return f"{path}:{line}: {name} is already on line {first}; remove one of them"


def read_root(path: str | Path) -> Path:
    """Return the root folder that a ``.tsv`` names.

    Raises ValueError: there is no such line.
    """
    return user_path(_root_line(Path(path), next(each_line(Path(path)), None)))


def _root_line(path: Path, line: str | None) -> str:
    if line is None or not line.strip() or "\t" in line:
        found = "an empty file" if line is None else repr(line)
        raise ValueError(f"{path}:1: expected the root folder, got {found}; write it on this line")
    return line.strip()


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
    """Return the lines of `each_line`."""
    return list(each_line(path))


def each_line(path: Path) -> Iterator[str]:
    """Yield the lines of a text file, whoever wrote it; only "\\n" ends one: names may hold U+2028.

    Raises ValueError naming the file: missing, no regular file, not UTF-8.
    """
    with reading(path, "give a text file"):
        check_regular(path)
    try:
        with open(path, encoding="utf-8-sig", newline="\n") as file:
            for line in file:
                yield line.removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 text ({error}); give a text file") from None


def is_count(text: str) -> bool:
    """Whether a text is an integer from 0."""
    text = text.strip()
    return text.isascii() and text.isdigit() and len(text) < 1000
