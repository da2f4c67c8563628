"""Whether the audio files that lists name are there, and of which rate they are."""

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from mt4ssl_core.bars import Bar
from mt4ssl_core.data.audio import own_rate, read_header
from mt4ssl_core.data.audio_index import AudioIndex
from mt4ssl_core.data.columns import Columns, kept
from mt4ssl_core.data.containers import check_regular

THREADS = 8  # that look at files: file systems answer late, not slowly
_RATES_LOOKED_AT = 8  # files of a .tsv
_LOOKED_AT_AGAIN = 1000  # files of a .tsv whose files were all looked at in another run
_ROWS = 1000  # that a thread looks at in one go
_MISSING = "is missing"


def require_files(manifest: Path, paths: Iterable[Path]) -> dict[Path, str]:
    """Raise ValueError when files are missing; return what else is wrong with some."""
    found = {path: problem for path in dict.fromkeys(paths) if (problem := _problem(path))}
    _refuse_missing(manifest, [path for path, problem in found.items() if problem == _MISSING])
    return found


def look_at_files(index: AudioIndex) -> dict[int, str]:
    """Return what is wrong with the files of a ``.tsv``, by row.

    All are looked at once; of a list that is kept (see `mt4ssl_core.data.columns`) later only
    `_LOOKED_AT_AGAIN` of them, spread evenly, and those with which something was wrong.

    Raises ValueError: files are missing, or the lengths are at the files' own rate as of a few that
    are read.
    """
    looked = kept("files", [index.path], lambda: _look(index), _fits)
    some = np.linspace(0, len(index) - 1, min(len(index), _LOOKED_AT_AGAIN)).astype(np.int64)
    if looked.path and any(_problem(index.file(int(row))) == _MISSING for row in some):
        looked = _look(index)
    told = [int(row) for row in looked.facts["problems"] if int(row) < len(index)]
    found = {row: problem for row in told if (problem := _problem(index.file(row)))}
    _refuse_missing(index.path, [index.file(row) for row in told if found.get(row) == _MISSING])
    return found


def _look(index: AudioIndex) -> Columns:
    root, count = str(index.root), len(index)

    def look(first: int) -> list[tuple[int, str]]:
        rows = range(first, min(first + _ROWS, count))
        found = ((row, _problem(os.path.join(root, index.id(row)))) for row in rows)
        return [(row, problem) for row, problem in found if problem]

    problems: dict[int, str] = {}
    parts = range(0, count, _ROWS)
    with ThreadPoolExecutor(THREADS) as pool:
        bar = Bar(f"looking for the files of {index.path.name}", len(parts), show=len(parts) > 10)
        for found in bar.over(pool.map(look, parts)):
            problems |= found
    missing = [index.file(row) for row, problem in problems.items() if problem == _MISSING]
    _refuse_missing(index.path, missing)
    _check_rates(index)
    return Columns({}, {"problems": {str(row): problem for row, problem in problems.items()}})


def _fits(columns: Columns) -> bool:
    problems = columns.facts.get("problems")
    return isinstance(problems, dict) and all(
        row.isdigit() and isinstance(problem, str) for row, problem in problems.items()
    )


def _problem(path: str | Path) -> str:
    """Return why a file cannot be read, "" if nothing is to be seen."""
    try:
        check_regular(path)
    except (FileNotFoundError, NotADirectoryError):
        return _MISSING
    except (ValueError, OSError) as error:
        return str(getattr(error, "strerror", None) or error)
    return ""


def _refuse_missing(manifest: Path, missing: list[Path]) -> None:
    if missing:
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise ValueError(
            f"{manifest}: names {missing[0]}{more}, which does not exist; correct the manifest's "
            "root or remove the row"
        )


def _check_rates(index: AudioIndex) -> None:
    """Raise ValueError when lengths are at the files' own rates, as of a few files that are read.

    A row of another length is found when its file is.
    """
    readable, wrong, count = 0, [], len(index)
    for row in range(0, count, max(1, count // _RATES_LOOKED_AT))[:_RATES_LOOKED_AT]:
        path, listed = index.file(row), int(index.samples[row])
        try:
            rate, _, frames = read_header(path)
        except ValueError:
            continue
        readable += 1
        if hint := own_rate(listed, frames, rate):
            wrong.append(f"{path} has {listed} samples{hint}")
    if wrong and 2 * len(wrong) >= readable:
        raise ValueError(
            f"{index.path}: lengths at another rate: {wrong[0]}; multiply them by 16000 / rate, or "
            "give the folder itself"
        )
