"""The SUPERB tasks: downstream_configs/*.yaml, and where their corpora lie.

Each YAML is s3prl's config plus a block ``superb:``, which s3prl ignores: the task's name and code,
s3prl's folder for it, its metrics with unit and direction, and which keys hold paths of the corpus
(``root_keys``).
"""

import difflib
import functools
import importlib.util
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

import downstream_configs
from mt4ssl_core.files import reading
from mt4ssl_core.settings.values import of_word
from upstream.door import overrides

UNSET = "???"  # a path that the user has to give
OWN = "own"  # the folder of the tasks that are none of SUPERB's
TEST = "test"  # the evaluation that every task has


def folder() -> Path:
    """Return the folder of the task files."""
    return Path(downstream_configs.__file__).parent


def names() -> list[str]:
    """Return the tasks' codes."""
    return sorted(path.stem for path in folder().glob("*.yaml"))


def own_names() -> list[str]:
    """Return the codes of the tasks that a user brings the clips of (`upstream.own_task`)."""
    return sorted(path.stem for path in (folder() / OWN).glob("*.yaml"))


def is_own(task: object) -> bool:
    """Whether a task is one of `own_names`, and so none of SUPERB's."""
    return isinstance(task, str) and task in _own_names(folder())


@functools.cache
def _own_names(_: Path) -> frozenset[str]:
    return frozenset(own_names())


def path_of(task: str) -> Path:
    """Return the YAML of a task such as "ks", or of one of `own_names`.

    Raises:
        ValueError: there is no such task.
    """
    if task in names():
        return folder() / f"{task}.yaml"
    if task in own_names():
        return folder() / OWN / f"{task}.yaml"
    near = difflib.get_close_matches(task, names(), 1)
    hint = f" Did you mean {near[0]}?" if near else ""
    raise ValueError(f"--task {task}: no such task; choose one of {', '.join(names())}.{hint}")


def read(path: str | Path) -> dict[str, Any]:
    """Read an experiment's YAML.

    Raises:
        ValueError: no such file, not a mapping, or a number that YAML reads as text, such as
            ``5e-4``.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: no such config; give one with -c, or a task with --task")
    with reading(path, "correct it"):
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
        check_sections(config, str(path))
        for key, value in overrides.flatten(config):
            number = of_word(value) if isinstance(value, str) else None
            if isinstance(number, float):
                raise ValueError(f"{path}: {key}: YAML reads {value} as text; write {number:.1e}")
    found: dict[str, Any] = config
    return found


def check_sections(config: Any, where: str) -> None:
    """See that an experiment's config has the sections that it needs.

    Raises:
        ValueError: it has not; begins with ``where``.
    """
    needed = ("runner", "downstream_expert")
    given = config if isinstance(config, dict) else {}
    if not all(isinstance(given.get(name), dict) for name in needed):
        raise ValueError(
            f"{where}: expected sections runner, optimizer and downstream_expert; add them"
        )
    kinds = {"code": str, "s3prl": str, "metrics": list, "root_keys": dict, "corpus": dict}
    if "superb" not in given:
        return
    header = given["superb"] if isinstance(given["superb"], dict) else {}
    if wrong := [name for name, kind in kinds.items() if not isinstance(header.get(name), kind)]:
        raise ValueError(f"{where}: superb: {', '.join(wrong)} missing or of another kind")


def check_steps(config: dict[str, Any]) -> None:
    """See that the numbers of steps of a training are such.

    Raises:
        ValueError: one is missing or is none; names its key.
    """
    for key in ("total_steps", "log_step", "eval_step", "save_step"):
        value = config["runner"].get(key)
        if type(value) is not int or value < 1:
            raise ValueError(f"config.runner.{key}: {value!r}; give a whole number from 1 up")


def header(task: str) -> dict[str, Any]:
    """Return the ``superb:`` block of a task such as "ks".

    Raises:
        ValueError: there is no such task.
    """
    found: dict[str, Any] = read(path_of(task))["superb"]
    return found


def headers() -> dict[str, dict[str, Any]]:
    """Return the ``superb:`` blocks of all tasks by their codes, which are read once."""
    return _headers(folder())


@functools.cache
def _headers(_: Path) -> dict[str, dict[str, Any]]:
    return {name: header(name) for name in names()}


def stage_of(metric: dict[str, Any]) -> str:
    """Return the name of the evaluation that gives a metric."""
    return str(metric.get("stage", TEST))


def all_stages(header: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the evaluations of a task after training, the optional ones too.

    Each has ``name``, ``split`` and, where the config is changed for it, ``override``.
    """
    return header.get("stages") or [{"name": TEST, "split": TEST}]


def stages(header: dict[str, Any], names: Iterable[str] | None = None) -> list[dict[str, Any]]:
    """Return those of `all_stages` that are named, or all but the optional.

    Raises:
        ValueError: the task has no evaluation of that name, or a package it needs is missing.
    """
    known = {stage["name"]: stage for stage in all_stages(header)}
    if names is None:
        names = [name for name, stage in known.items() if not stage.get("optional")]
    chosen = []
    for name in names:
        if name not in known:
            raise ValueError(f"stage {name}: {header['code']} has {', '.join(known)}; choose these")
        require(f"{header.get('code')} ({name})", known[name])
        chosen.append(known[name])
    return chosen


def require(what: str, entry: dict[str, Any]) -> None:
    """See that the ``packages`` of a task or one of its stages can be imported.

    Raises:
        ValueError: one is not installed; names the extra that has it.
    """
    if lacking := missing_packages(entry):
        raise ValueError(
            f"{what} needs {', '.join(lacking)}; "
            f'install it with: pip install "mt4ssl[{entry["extra"]}]"'
        )


def missing_packages(entry: dict[str, Any]) -> list[str]:
    """Return those of an entry's ``packages`` that are not installed."""
    return [name for name in entry.get("packages", []) if _spec(name) is None]


def _spec(name: str) -> Any:
    try:
        return importlib.util.find_spec(name)
    except ModuleNotFoundError:  # of a parent package
        return None


def paths_under(header: dict[str, Any], root: str | Path) -> dict[str, Any]:
    """Return the value of every ``root_keys`` entry for the corpus below ``root``.

    The corpus is in ``root`` itself or in its folder named after the task. An entry with ``try``
    takes the first of these relative paths that exists; one with ``files`` takes all files that
    match the first pattern with a match, as a list. One that is ``optional`` may find nothing, and
    is left out then.

    Raises:
        ValueError: nothing is there; names what was looked for.
    """
    root = Path(root).absolute()
    if not root.is_dir():
        raise ValueError(
            f"--root {root}: no such folder; give the folder that holds {_corpus(header)}"
        )
    bases = (root, root / header["code"])  # the second: several corpora in one folder
    found: dict[str, Any] = {}
    for key, entry in header["root_keys"].items():
        if "try" in entry:
            candidates = [base / relative for base in bases for relative in entry["try"]]
            fitting = [path for path in candidates if path.exists() and not _lacking(path, entry)]
            existing = fitting or [path for path in candidates if path.exists()]
            value: Any = str(existing[0]) if existing else None
        else:
            matches = (sorted(base.glob(p)) for base in bases for p in entry["files"])
            value = next(([str(path) for path in match] for match in matches if match), None)
        if value is None and entry.get("optional"):
            continue
        if value is None:
            wanted = " or ".join(entry.get("try") or entry["files"])
            raise ValueError(
                f"--root {root}: found no {wanted} ({entry['what']}); {_remedy(header, entry)}"
            )
        found[key] = value
    return found


def check_corpus(config: dict[str, Any]) -> None:
    """See that the corpus of a task's config is there.

    Raises:
        ValueError: a path was not given, does not exist or does not hold what it must; names it.
    """
    header = config.get("superb")
    if not header:
        return
    require(header["code"], header)
    for key, entry in header["root_keys"].items():
        value = get(config, key)
        for path in [value] if isinstance(value, str) else value:
            if path == UNSET and entry.get("optional"):
                continue
            if path == UNSET:
                raise ValueError(
                    f"{header['code']}: the corpus ({_corpus(header)}) is not set; give its folder "
                    f"with "
                    f"--root DIR, or {entry['what']} with -o config.{key}=PATH"
                )
            if not Path(path).exists():
                raise ValueError(
                    f"{path}: not there ({entry['what']}, config.{key}); {_remedy(header, entry)}"
                )
            if lacking := _lacking(Path(path), entry):
                raise ValueError(
                    f"{path}: {entry['what']} must hold {lacking}; {_remedy(header, entry)}"
                )


def corpus_paths(config: dict[str, Any]) -> dict[str, Any]:
    """Return the paths of the corpus that a config uses, by dotted key."""
    header = config.get("superb") or {}
    return {key: get(config, key) for key in header.get("root_keys", {})}


def get(config: dict[str, Any], key: str) -> Any:
    """Return the value at a dotted key."""
    value: Any = config
    for name in key.split("."):
        value = value[name]
    return value


def _lacking(path: Path, entry: dict[str, Any]) -> str | None:
    return next((p for p in entry.get("holds", ()) if next(path.glob(p), None) is None), None)


def _corpus(header: dict[str, Any]) -> str:
    return str(header["corpus"]["name"])


def _remedy(header: dict[str, Any], entry: dict[str, Any]) -> str:
    if entry.get("made"):
        return f"make it with: mt4ssl superb prepare --tasks {header['code']} --root DIR"
    sources = ", ".join(header["corpus"]["source"])
    return f"get {_corpus(header)} from {sources} and give its folder with --root"
