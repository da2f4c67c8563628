"""Making the corpora on disk so that half of one is never taken for a whole."""

import difflib
import json
import os
import shutil
from collections import defaultdict
from importlib import import_module
from pathlib import Path
from typing import Any

from mini_superb.clip import SAMPLE_RATE
from mini_superb.plan import SIZES, Paths, Task
from mini_superb.synthesis import synthesise

# A new task is a module with a TASK, and its name here. `pretrain` is always made as well.
NAMES = (
    "pr",
    "asr",
    "ks",
    "qbe",
    "sid",
    "asv",
    "sd",
    "ic",
    "sf",
    "er",
    "se",
    "ss",
    "st",
    "vc",
    "ood",
    "pretrain",
)
TASKS: dict[str, Task] = {name: import_module(f"mini_superb.{name}").TASK for name in NAMES}

VERSION = 1  # raise it when the same seed would give other files
DONE, UNDERWAY = "mini_superb.json", "mini_superb.partial.json"
ROOTS = "roots.yaml"  # task -> folder, for `mt4ssl superb run --roots`
_ALIGNMENTS = "alignments"


def make(
    out: Path,
    tasks: list[str],
    seed: int = 0,
    size: str = "default",
    jobs: int | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Synthesise corpora of ``tasks`` and unlabelled speech under ``out``; what is there is kept.

    The files depend on ``seed`` and ``size`` alone, not on ``jobs`` (processes; default: one per
    core) nor on which other tasks are made. ``out/alignments/TASK.jsonl`` has, per audio file, the
    speaker, the text and the phones (IPA) with their start in seconds. ``out/roots.yaml`` has the
    folder of every task.

    Returns absolute paths for the tasks asked for, by the keys of s3prl's configs: ``{"ks":
    {"root", "speech_commands_root", "speech_commands_test_root"}, "sid": {"root", "file_path",
    "meta_data"}, "pr": {"root", "path", "lexicon": [2 paths], "vocab_file"}, "pretrain": Path}``.

    Raises ValueError for an unknown task or size, an ``out`` that holds something else or a corpus
    of other settings, and when the synthesiser is not installed.
    """
    out = Path(out).absolute()
    names = _checked(tasks, seed, size, jobs)
    settings = {"version": VERSION, "seed": seed, "size": size}
    made = _made(out, settings)
    missing = [name for name in names if name not in made]
    if missing:
        plans = {name: TASKS[name].plan(seed, size) for name in missing}
        out.mkdir(parents=True, exist_ok=True)
        _write_json(out / UNDERWAY, {**settings, "tasks": missing})
        for name in missing:
            shutil.rmtree(out / name, ignore_errors=True)
            for path, text in plans[name].texts.items():
                (out / path).parent.mkdir(parents=True, exist_ok=True)
                (out / path).write_text(text, encoding="utf-8")
        clips = [clip for name in missing for clip in plans[name].clips]
        lines = synthesise(out, clips, jobs or _cores(), progress)
        for name in missing:
            if finish := plans[name].finish:
                finish(out)
            made[name] = _finish(out, name, [line for line in lines if _task_of(line) == name])
        in_order = {name: made[name] for name in TASKS if name in made}
        _write_json(out / DONE, {**settings, "tasks": in_order})
        (out / UNDERWAY).unlink()
    _write_roots(out, made)  # always: the folder may have been moved
    paths: dict[str, Path | Paths] = {name: TASKS[name].paths(out) for name in names}
    return {**paths, "pretrain": out / "pretrain"}


def make_some(
    out: Path, tasks: str, seed: int = 0, size: str = "default", jobs: int | None = None
) -> None:
    """Make the corpora of ``all`` tasks, or of some such as ``ks,pr``, and print what there is.

    Raises:
        ValueError: as `make`.
    """
    every = [name for name in TASKS if name != "pretrain"]
    names = every if tasks == "all" else [name.strip() for name in tasks.split(",") if name.strip()]
    make(out, names, seed, size, jobs)
    made = json.loads((out / DONE).read_text(encoding="utf-8"))["tasks"]
    for name, splits in made.items():
        counts = ", ".join(
            f"{split} {s['clips']} clips {s['hours'] * 60:.1f} min" for split, s in splits.items()
        )
        print(f"{out / name}: {counts}")


def _cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _checked(tasks: list[str], seed: int, size: str, jobs: int | None) -> list[str]:
    """The tasks to make, in the registry's order."""
    for name in tasks:
        if name not in TASKS:
            near = difflib.get_close_matches(name, TASKS, 1, 0.0)[0]
            raise ValueError(
                f"unknown task {name!r}; did you mean {near!r}? Choose from {', '.join(TASKS)}"
            )
    if not hasattr(os, "fork"):
        raise ValueError("mini_superb needs os.fork; run it under Linux, macOS or WSL")
    if size not in SIZES:
        raise ValueError(f"unknown size {size!r}; choose from {', '.join(SIZES)}")
    if seed < 0:
        raise ValueError(f"seed is {seed}; give 0 or a larger whole number")
    if jobs is not None and jobs < 1:
        raise ValueError(f"jobs is {jobs}; give 1 or a larger whole number")
    return [name for name in TASKS if name in tasks or name == "pretrain"]


def _made(out: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """What ``out`` holds complete, by task; ValueError when it is not ours to write to."""
    remedy = "choose another folder or remove this one"
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out} is a file; {remedy}")
    if not (out / DONE).is_file():
        if out.is_dir() and any(out.iterdir()) and not (out / UNDERWAY).is_file():
            raise ValueError(f"{out} holds other files and no {DONE}; {remedy}")
        return {}
    try:
        found = json.loads((out / DONE).read_text(encoding="utf-8"))
        tasks, there = dict(found["tasks"]), {key: found[key] for key in settings}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{out / DONE} cannot be read ({error!r}); {remedy}") from error
    if there != settings:
        raise ValueError(
            f"{out} holds a corpus made with {_show(there)}, "
            f"asked for is {_show(settings)}; {remedy}"
        )
    return {name: entry for name, entry in tasks.items() if (out / name).is_dir()}


def _show(settings: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in settings.items())


def _task_of(line: dict[str, Any]) -> str:
    return str(line["path"]).split("/", 1)[0]


def _finish(out: Path, name: str, lines: list[dict[str, Any]]) -> dict[str, Any]:
    """Write the alignment file of a task; returns its counts and hours per split."""
    (out / _ALIGNMENTS).mkdir(exist_ok=True)
    with open(out / _ALIGNMENTS / f"{name}.jsonl", "w", encoding="utf-8") as file:
        for line in lines:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
    samples: dict[str, list[int]] = defaultdict(list)
    for line in lines:
        samples[line["split"]].append(line["samples"])
    return {
        split: {"clips": len(counts), "hours": round(sum(counts) / SAMPLE_RATE / 3600, 4)}
        for split, counts in samples.items()
    }


def _write_roots(out: Path, made: dict[str, Any]) -> None:
    """The folder of every task there is, as YAML (in which a JSON string is a string)."""
    tasks = [name for name in TASKS if name in made and name != "pretrain"]
    lines = [f"{name}: {json.dumps(str(out / name), ensure_ascii=False)}\n" for name in tasks]
    _write(out / ROOTS, "".join(lines))


def _write_json(path: Path, value: dict[str, Any]) -> None:
    _write(path, json.dumps(value, indent=2) + "\n")


def _write(path: Path, text: str) -> None:
    """Through a temporary file and a rename: the file is whole or not there."""
    temporary = path.with_name(f".{path.name}.tmp")
    with open(temporary, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
