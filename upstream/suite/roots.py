"""Where the corpora lie: roots.yaml, one line ``task: folder`` per task.

``all: folder`` stands for every task that has no line of its own, and so does a folder given in
place of the file: each corpus is in it, or in its folder named after the task. Relative folders are
relative to the file.
"""

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path

import yaml

from mt4ssl_core.files import reading, user_path
from upstream import corpora
from upstream.door import tasks

FILE, ALL = "roots.yaml", "all"


def pick(asked: str | Sequence[str]) -> list[str]:
    """Return the tasks of ``all`` or ``pr,asr,...``, each once, in the paper's order.

    Raises:
        ValueError: one does not exist; names all of these, with the nearest names.
    """
    names = asked.split(",") if isinstance(asked, str) else list(asked)
    names = [name.strip() for name in names if name.strip()]
    if names == [ALL]:
        return in_order(tasks.names())
    if not names:
        raise ValueError(f"--tasks: no task given; choose all or some of {_known()}")
    unknown = [_unknown(name) for name in names if name not in tasks.names()]
    if unknown:
        raise ValueError(f"--tasks: {'; '.join(unknown)}; choose all or some of {_known()}")
    return in_order(set(names))


def in_order(names: Iterable[str]) -> list[str]:
    """Return tasks sorted as in the papers: content, speaker, semantics, then SUPERB-SG."""
    known = tasks.headers()
    return sorted(names, key=lambda name: (known.get(name, {}).get("order", len(known) + 1), name))


def read(given: str | Path, names: Sequence[str]) -> dict[str, Path]:
    """Return the folder of every task in ``names``: of a roots.yaml, or one folder for all.

    Raises:
        ValueError: as `read_each`, or a task is without a folder; all of these at once.
    """
    found, problems = read_each(given, names)
    if problems:
        lines = [problem for wrong in problems.values() for problem in wrong]
        raise ValueError("\n  ".join([f"{given}: {len(lines)} problem(s):", *lines]))
    return found


def read_each(
    given: str | Path, names: Sequence[str]
) -> tuple[dict[str, Path], dict[str, list[str]]]:
    """Return the folders of the tasks that have one, and by task why others have none.

    Raises:
        ValueError: no such file or folder, not such a YAML, or a line of an unknown task.
    """
    path = user_path(given).absolute()
    if path.is_dir() and (path / FILE).is_file():
        path = path / FILE
    if path.is_dir():
        return {name: path for name in names}, {}
    if not path.is_file():
        raise ValueError(
            f"--roots {given}: no such file or folder; give a YAML file of lines 'task: folder', "
            "or one folder that holds all corpora"
        )
    lines = _lines(path)
    unknown = [_unknown(name) for name in lines if name not in (ALL, *tasks.names())]
    if unknown:
        raise ValueError("\n  ".join([f"{path}: {len(unknown)} problem(s):", *unknown]))
    found, problems = {}, {}
    for name in names:
        try:
            found[name] = _place(path, name, lines.get(name, lines.get(ALL)))
        except ValueError as error:
            problems[name] = [f"{path}: {error}"]
    return found, problems


def _place(path: Path, name: str, folder: object) -> Path:
    if folder is None:
        raise ValueError(f"{name} has no line; add '{name}: FOLDER' or leave it out of --tasks")
    if not isinstance(folder, str):
        raise ValueError(f"{name}: {folder!r} is not a folder; write '{name}: FOLDER'")
    place = path.parent / user_path(folder)
    if not corpora.base(place, name).is_dir():
        raise ValueError(f"{name}: {place} is not there; correct the line")
    return place.absolute()


def _lines(path: Path) -> dict[str, object]:
    with reading(path, "write lines 'task: folder'"):
        lines = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(lines, dict):
        raise ValueError(f"{path}: expected lines 'task: folder', found {type(lines).__name__}")
    return {str(name): folder for name, folder in lines.items()}


def _unknown(name: str) -> str:
    near = difflib.get_close_matches(name, tasks.names(), 1)
    return f"unknown task {name!r}" + (f" (did you mean {near[0]}?)" if near else "")


def _known() -> str:
    return ", ".join(in_order(tasks.names()))
