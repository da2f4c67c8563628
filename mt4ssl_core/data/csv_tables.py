"""CSV tables that people and other programs write, read as text with every fault by its line."""

import csv
from collections.abc import Sequence
from pathlib import Path

from mt4ssl_core.files import reading

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


def _check(path: Path, columns: Sequence[str], needed: Sequence[str]) -> None:
    if not columns:
        raise ValueError(f"{path}: empty, not a table; write it as CSV")
    if twice := [name for name in columns if name and columns.count(name) > 1]:
        raise ValueError(f"{path}: two columns are called {twice[0]!r}; rename one")
    if lacking := [name for name in needed if name not in columns]:
        raise ValueError(
            f"{path}: no column {', '.join(lacking)} among {', '.join(columns)}; add it"
        )
