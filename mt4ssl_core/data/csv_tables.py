"""CSV tables that people and other programs write, read as text with every fault by its line."""

import csv
import re
from collections.abc import Sequence
from pathlib import Path

from mt4ssl_core.files import reading

TRAIN, TEST = "train", "test"
_SPLITS = {
    **{name: TRAIN for name in ("train", "training", "dev", "valid", "validation", "val")},
    **{name: TEST for name in ("test", "testing", "eval", "evaluation")},
}
Row = tuple[int, dict[str, str]]  # the line in the file, and cells by their column


def read_table(
    path: Path, needed: Sequence[str] = (), delimiter: str = ","
) -> tuple[list[str], list[Row]]:
    """Return the columns of a table with a head, and its rows; empty lines are left out.

    Raises:
        ValueError: no such file, not UTF-8 or not CSV, a row of another length than the head, a
            column twice or one of ``needed`` not there; names file and line.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file; correct the path")
    with (
        reading(path, "write it as CSV in UTF-8"),
        open(path, encoding="utf-8-sig", newline="") as file,
    ):
        lines = csv.reader(file, delimiter=delimiter, strict=True)
        try:
            columns = [name.strip() for name in next(lines, [])]
            _check(path, columns, needed)
            rows = []
            for cells in lines:
                if not any(cells):
                    continue
                if len(cells) != len(columns):
                    raise ValueError(
                        f"{path}, line {lines.line_num}: {len(cells)} cells, expected the "
                        f"{len(columns)} of its head; correct the line"
                    )
                rows.append((lines.line_num, dict(zip(columns, cells, strict=True))))
        except csv.Error as error:
            raise ValueError(
                f"{path}, line {lines.line_num}: not a line of a table ({error}); correct it"
            ) from error
    return columns, rows


def split_of(name: str, where: str) -> str | None:
    """Return train or test, of LibriSpeech's train-clean-100 and test-other, too; None of "".

    Raises:
        ValueError: another name; begins with ``where``.
    """
    if not name:
        return None
    known = _SPLITS.get(re.split("[-_ ]", name.lower())[0])
    if known is None:
        raise ValueError(f"{where}: split {name!r}, expected train or test; correct it")
    return known


def _check(path: Path, columns: Sequence[str], needed: Sequence[str]) -> None:
    if not columns:
        raise ValueError(f"{path}: empty, not a table; write it as CSV")
    if twice := [name for name in columns if name and columns.count(name) > 1]:
        raise ValueError(f"{path}: two columns are called {twice[0]!r}; rename one")
    if lacking := [name for name in needed if name not in columns]:
        raise ValueError(
            f"{path}: no column {', '.join(lacking)} among {', '.join(columns)}; add it"
        )
