"""Pre-training runs as `mt4ssl pretrain` leaves them: curves, costs, checkpoints, seeds."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from analysis.records.attempts import Attempts
from mt4ssl_core.checkpoints import checkpoint
from mt4ssl_core.config import EncoderConfig, sections
from mt4ssl_core.files import reading
from mt4ssl_core.training.journal import read_jsonl
from mt4ssl_core.training.saving import BEST, LAST
from mt4ssl_core.training.state import Training

LOG, CONFIG = "log.jsonl", "config.yaml"
VALID = "valid/"  # begins the names of what was measured on held-out audio
SEED = re.compile(r"seed[-_]?(\d+)")
_KEPT = re.compile(r"update_(\d+)\.pt")
_LARGEST = 1 << 20  # bytes of a config
_LARGEST_NUMBER = 1 << 63
_HOURS = ("train_hours", "audio_hours", "wall_hours")
_DATA = ("data.train", "data.valid", "data.labels", "data.valid_labels")
_KINDS = {  # of the settings that are computed with
    **dict.fromkeys(_DATA, str), "run.seed": int, "optim.max_updates": int,
    "data.valid_share": int | float, "data.min_seconds": int | float,
}  # fmt: skip
_HELD_OUT = (  # what the held-out audio is, with data.valid and without
    ("data.valid", "data.valid_labels"), ("data.train", "data.labels", "data.valid_share"),
)  # fmt: skip
_JUDGES = (  # of the loss on it; seeds draw other masks of the same kind
    *sorted(Training.measure - {"run.seed", "data.batch_seconds"} - {*_HELD_OUT[0], *_HELD_OUT[1]}),
    "data.min_seconds", "offline.num_classes",
)  # fmt: skip
_DEFAULTS = {  # of runs from before a setting was there
    f"{name}.{one.name}": one.default for name, kind in sections().items() for one in fields(kind)
}


@dataclass(frozen=True)
class TrainingRun:
    """A run; ``records`` are the lines of its log, ``settings`` the dotted values of its config."""

    group: str
    seed: int | None
    folder: Path
    records: list[dict[str, Any]] = field(repr=False)
    settings: dict[str, Any] = field(repr=False)
    name: str = ""

    @property
    def train_hours(self) -> float | None:
        """Hours of audio it was trained on; None where the log does not say."""
        found = [r["train_hours"] for r in self.records if "train_hours" in r]
        return found[0] if found else None

    @property
    def last_update(self) -> int:
        """The last update in the log."""
        return max((record["update"] for record in self.records), default=0)

    @cached_property
    def checkpoints(self) -> dict[int, Path]:
        """Checkpoints by update: those kept for good, and the last one.

        Raises:
            ValueError: last.pt is no checkpoint.
        """
        found = {int(m[1]): path for path in self.folder.glob("update_*.pt")
                 if (m := _KEPT.fullmatch(path.name))}  # fmt: skip
        last = self.folder / LAST
        if last.is_file():
            found.setdefault(update_of(last), last)
        return dict(sorted(found.items()))

    def spent(self, updates: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
        """Return the hours of audio and of training at some updates, from the log: 2 of (U,).

        Between two lines of the log and after the last one they grow evenly; NaN where the log
        does not have them.
        """
        lines = [r for r in self.records if {"audio_hours", "wall_hours"} <= r.keys()]
        at = np.asarray(updates, float)
        if not lines:
            return np.full(len(at), np.nan), np.full(len(at), np.nan)
        known = np.array([0, *(line["update"] for line in lines)], float)
        beyond = np.maximum(1.0, at / known[-1])
        audio, wall = (
            np.interp(at, known, [0, *(line[key] for line in lines)]) * beyond
            for key in ("audio_hours", "wall_hours")
        )
        return audio, wall


def update_of(path: Path) -> int:
    """Return the update that a checkpoint is of.

    Raises:
        ValueError: no checkpoint.
    """
    with reading(path):
        return int(checkpoint.load(path)["progress"]["update"])


def check_update(path: Path, update: int) -> None:
    """See that a run that goes on has not replaced a checkpoint while that was measured.

    Raises:
        ValueError: it has.
    """
    now = update_of(path) if path.name in (LAST, BEST) else update
    if now != update:
        raise ValueError(
            f"{path}: of update {now} by now, since the run goes on; give the command again, or "
            "later"
        )


def curves(run: str | Path) -> dict[str, list[tuple[int, float]]]:
    """The curves in a run's log.jsonl: key -> [(update, value), ...]; "valid/..." is held out.

    Raises:
        ValueError: there is no log.
    """
    found: dict[str, list[tuple[int, float]]] = {}
    for record in _records(Path(run)):
        for key, value in record.items():
            if isinstance(value, int | float) and key != "update":
                found.setdefault(key, []).append((record["update"], value))
    return found


def frame(runs: Iterable[TrainingRun], keys: Iterable[str]) -> pd.DataFrame:
    """Return the curves of ``keys`` as a table, what was measured while training and held out.

    Columns: run, group, seed, part (training or held out), metric, update, audio_hours,
    wall_hours, value.
    """
    rows = []
    for run in runs:
        for record in run.records:
            for key in keys:
                for part, name in (("training", key), ("held out", f"{VALID}{key}")):
                    if isinstance(value := record.get(name), int | float):
                        rows.append(
                            (run.name, run.group, run.seed, part, key, record["update"], value)
                        )
    columns = ["run", "group", "seed", "part", "metric", "update", "value"]
    table = pd.DataFrame(rows, columns=columns)
    table = table.drop_duplicates(["run", "part", "metric", "update"], keep="last")
    return with_costs(table, runs)


def with_costs(table: pd.DataFrame, runs: Iterable[TrainingRun]) -> pd.DataFrame:
    """Return ``table`` (columns run, update) with audio_hours and wall_hours beside the updates."""
    table = table.assign(audio_hours=np.nan, wall_hours=np.nan)
    for run in runs:
        rows = table["run"] == run.name
        audio, wall = run.spent(table.loc[rows, "update"].tolist())
        table.loc[rows, "audio_hours"], table.loc[rows, "wall_hours"] = audio, wall
    costs = ["audio_hours", "wall_hours"]
    order = [column for column in table.columns if column not in costs]
    place = order.index("update") + 1
    return table[[*order[:place], *costs, *order[place:]]]


def find_runs(
    folders: Sequence[str | Path],
    labels: Sequence[str] | None = None,
    broken: list[str] | None = None,
) -> tuple[list[TrainingRun], list[str]]:
    """Return the runs in some folders, named, and notes on what was left out.

    A folder is a run, a group of runs (GROUP/seed1, GROUP/seed2, ...) or a folder of groups. A run
    in a folder seedK is a seed of the group called after the folder above it; ``labels``, one for
    each of ``folders``, give groups other names, and folders of one label are seeds of one group.
    ``broken`` gets a line on each run that cannot be read, which is left out unless there is no
    other; None: the first one is refused.

    Raises:
        ValueError: no log, other labels than folders, a run twice, or two runs of one name.
    """
    if labels and len(labels) != len(folders):
        raise ValueError(f"--labels: {len(labels)} for {len(folders)} runs; give one for each")
    found: list[TrainingRun] = []
    notes: list[str] = []
    attempts = Attempts(broken)
    read = open_run if broken is None else _whole
    for folder, label in zip_longest(map(Path, folders), labels or []):
        places: list[Path] = []
        empty: list[Path] = []
        with attempts.one():
            places, empty = _expand(folder)
        if label and len({place.resolve().parent for place in places}) > 1:
            raise ValueError(f"--labels {label}: {folder} holds several groups; give each of them")
        notes += [f"{place}: no {LOG} yet, left out" for place in empty]
        for place in places:
            with attempts.one():
                found.append(read(place, label))
    attempts.close(found)
    twice = [str(p) for p, n in Counter(run.folder.resolve() for run in found).items() if n > 1]
    if twice:
        raise ValueError(f"{twice[0]}: given twice; give each run once")
    seeds = Counter(run.group for run in found)
    named = [replace(run, name=_name(run, seeds[run.group] > 1)) for run in found]
    for name, number in Counter(run.name for run in named).items():
        if number > 1:
            where = ", ".join(str(run.folder) for run in named if run.name == name)
            raise ValueError(
                f"{where}: all would be called {name}; give them --labels, or only one"
            )
    return named, notes


def _whole(folder: Path, label: str | None) -> TrainingRun:
    """A run whose checkpoints can be read as well."""
    run = open_run(folder, label)
    _ = run.checkpoints
    return run


def open_run(folder: Path, label: str | None = None) -> TrainingRun:
    """Return the run in a folder, called after its group; ``label`` names the group.

    Raises:
        ValueError: there is no log.
    """
    place, config = folder.resolve(), folder / CONFIG
    flat = dotted(_read_config(config)) if config.is_file() else {}
    for key, kinds in _KINDS.items():
        if not isinstance(flat.get(key), kinds | None) or isinstance(flat.get(key), bool):
            raise ValueError(
                f"{config}: {key} is {flat[key]!r:.60}; give the run as `mt4ssl pretrain` left it"
            )
    named = SEED.fullmatch(place.name)
    seed = int(named[1]) if named else flat.get("run.seed")
    group = label or (place.parent.name if named else place.name)
    return TrainingRun(group, seed, folder, _records(folder), flat, group)


def _read_config(path: Path) -> dict[str, Any]:
    if path.stat().st_size > _LARGEST:
        raise ValueError(f"{path}: larger than {_LARGEST:,} bytes; give the run as it was left")
    with reading(path, "give the run as it was left"):
        text = path.read_text(encoding="utf-8")
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text)):
            raise ValueError(f"{path}: not a config of `mt4ssl pretrain`: it has aliases")
        values = yaml.safe_load(text)
    sections = values.values() if isinstance(values, dict) else [values]
    if not all(isinstance(section, dict | None) for section in sections):
        raise ValueError(f"{path}: not a config of `mt4ssl pretrain`; give the run as it was left")
    return values or {}


def check(runs: Sequence[TrainingRun]) -> list[str]:
    """Return what a reader must know to compare the runs.

    Raises:
        ValueError: they were trained on different amounts of audio.
    """
    hours = {run.name: run.train_hours for run in runs if run.train_hours is not None}
    if len(set(hours.values())) > 1:
        listing = ", ".join(f"{name} on {value} h" for name, value in hours.items())
        raise ValueError(
            f"pre-trained on different corpora: {listing}; compare runs on the same audio"
        )
    notes = []
    for key in _DATA:
        values = {str(run.settings[key]) for run in runs if run.settings.get(key) is not None}
        if len(values) > 1:
            notes.append(f"{key} differs: {', '.join(sorted(values))}")
    for run in runs:
        total = run.settings.get("optim.max_updates")
        if total is not None and run.last_update < total:
            notes.append(f"{run.name} has done {run.last_update} of {total} updates")
        measured = [r for r in run.records if "train_files" not in r]  # not what it begins with
        broken = Counter(key for r in measured for key, value in r.items() if _is_nan(value))
        for key, count in broken.items():
            first = next(r["update"] for r in measured if key in r and _is_nan(r[key]))
            notes.append(
                f"{run.name}: {key} is no number at update {first}"
                + (f" and {count - 1} more" if count > 1 else "")
            )
    return notes


def judged_alike(runs: Sequence[TrainingRun]) -> list[TrainingRun]:
    """Return the most runs whose held-out losses of the offline target can be compared.

    These have labels, masks, frame rate and held-out audio in common. Of two such groups of one
    size neither is taken: which one was meant is not known.
    """
    kinds = Counter(judge(run.settings) for run in runs).most_common(2)
    if len({count for _, count in kinds}) < len(kinds):
        return []
    return [run for run in runs if judge(run.settings) == kinds[0][0]]


def judge(settings: Mapping[str, Any]) -> tuple[Any, ...]:
    """What the loss of a run on held-out audio depends on, but the model."""
    chosen = _HELD_OUT[0] if settings.get("data.valid") else _HELD_OUT[1]
    values = [settings.get(key, _DEFAULTS.get(key)) for key in (*chosen, *_JUDGES)]
    stack = EncoderConfig.mel_stack  # frames of 20 ms, which the other front end has
    if settings.get("encoder.frontend") == "mel":
        stack = settings.get("encoder.mel_stack", stack)
    values.append(stack)
    return tuple(str(Path(v).resolve()) if isinstance(v, str) else v for v in values)


def shared_settings(runs: Sequence[TrainingRun]) -> dict[str, Any]:
    """Return the settings that all runs share, and what each group has of its own.

    Folders are left out and paths shortened to their names; seeds stand with the runs.
    """

    def shown(run: TrainingRun) -> dict[str, Any]:
        own = {k: v for k, v in run.settings.items() if k not in ("run.out", "run.seed")}
        return {k: Path(v).name if k in _DATA and v else v for k, v in own.items()}

    groups = {run.group: shown(run) for run in runs}
    shared, own = shared_and_own(groups)
    return {
        "train_hours": next((r.train_hours for r in runs if r.train_hours is not None), None),
        "shared": shared,
        "groups": own,
    }


def shared_and_own(
    groups: Mapping[str, Mapping[str, Any]],
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Part the settings of groups: those that are alike in all, and the others of each."""
    first, *others = groups.values()
    shared = {k: v for k, v in first.items() if all(k in o and o[k] == v for o in others)}
    return shared, {g: {k: v for k, v in s.items() if k not in shared} for g, s in groups.items()}


def dotted(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a config's values by dotted names; a section that is off is null itself."""
    flat = {f"{s}.{k}": v for s, part in values.items() for k, v in (part or {}).items()}
    return flat | {section: None for section, part in values.items() if part is None}


def _records(folder: Path) -> list[dict[str, Any]]:
    path = folder / LOG
    if not path.is_file():
        raise ValueError(f"{path}: no such log; give the run.out folder of `mt4ssl pretrain`")
    found = read_jsonl(path)
    for record in found:
        for key, value in record.items():
            read = "/" in key or key in _HOURS
            if read and not _is_number(value):
                raise ValueError(
                    f"{path}: {key} is {value!r:.60} at update {record['update']}, expected a "
                    "number; give a log of `mt4ssl pretrain`"
                )
    return found


def _is_number(value: Any) -> bool:
    """Whether the log can have it: a number, which a float holds, or null."""
    if type(value) is int:
        return abs(value) <= _LARGEST_NUMBER
    return value is None or isinstance(value, float)


def _expand(folder: Path) -> tuple[list[Path], list[Path]]:
    """The runs in a folder, and folders of seeds that have not begun."""
    if (folder / LOG).is_file():
        return [folder], []
    for pattern in ("*", "*/*"):
        seeds = [p for p in folder.glob(pattern) if p.is_dir() and SEED.fullmatch(p.name)]
        seeds.sort(key=lambda p: (p.parent, int(SEED.fullmatch(p.name)[1])))  # type: ignore[index]
        if begun := [p for p in seeds if (p / LOG).is_file()]:
            return begun, [p for p in seeds if p not in begun]
    raise ValueError(
        f"{folder}: no {LOG} in it and none in folders seed1, seed2, ... below; give the run.out "
        "folder of `mt4ssl pretrain`"
    )


def _name(run: TrainingRun, several: bool) -> str:
    if not several and not SEED.fullmatch(run.folder.resolve().name):
        return run.group
    return (
        f"{run.group}/seed{run.seed}" if run.seed is not None else f"{run.group}/{run.folder.name}"
    )


def _is_nan(value: Any) -> bool:
    """The log writes null for what is no number; Python's NaN counts too."""
    return value is None or (isinstance(value, float) and not np.isfinite(value))
