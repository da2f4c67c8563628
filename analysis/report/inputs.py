"""What a report is made of: the files of a run, wherever below its folder they lie."""

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from analysis.records import decodings, model_names, score_files, training_runs
from analysis.records import score as results
from analysis.records.score_files import EXPERIMENT, SUPERB, ModelScores
from analysis.records.training_runs import CONFIG, LOG, TrainingRun
from mt4ssl_core.files import read_json
from mt4ssl_core.settings import finetuning
from mt4ssl_core.settings.recognition_defaults import RECORD
from upstream.heads import results as experiments
from upstream.suite import run_folder

PROBE, CONVERGENCE = "probe.json", "convergence.json"
DEPTH = 3  # folders below the run's
_NUMBER = float | int | None
_OPTIONAL = dict.fromkeys(("low", "high", "baseline", "control", "ratio"), _NUMBER)
_NEEDED: dict[str, dict[str, Any]] = {  # keys and their types; of lists, the keys of their lines
    PROBE: {
        "model": str,
        "fingerprint": str,
        "layers": int,
        "rows": {"measure": str, "layer": int, "value": _NUMBER, "direction": str},
        "matrices": {"measure": str, "values": list},
    },
    CONVERGENCE: {
        "runs": {"run": str},
        "points": {
            **{"metric": str, "group": str, "run": str, "update": int, "unit": str},
            **{"value": _NUMBER, "direction": str},
            **dict.fromkeys(("audio_hours", "wall_hours"), _NUMBER),
        },
        "reach": {
            **{"metric": str, "group": str, "target": float | int, "seeds": int},
            **{"seeds_reached": int, "updates": _NUMBER},
        },
    },
}
_MADE_BY = {PROBE: "mt4ssl probe", CONVERGENCE: "mt4ssl convergence"}


@dataclass(frozen=True)
class RunFiles:
    """The files of one run; ``name`` is what it is called in tables and plots."""

    name: str
    folder: Path
    suites: list[Path] = field(default_factory=list)  # folders with a results.jsonl
    experiments: list[Path] = field(default_factory=list)  # folders of s3prl, with a results.json
    logs: list[Path] = field(default_factory=list)  # folders with a log.jsonl
    probes: list[Path] = field(default_factory=list)
    convergences: list[Path] = field(default_factory=list)
    decodings: list[Path] = field(default_factory=list)  # of `mt4ssl decode`

    @property
    def empty(self) -> bool:
        """Whether nothing was found."""
        found = (self.suites, self.experiments, self.logs, self.probes, self.convergences)
        return not any((*found, self.decodings))

    @property
    def scored(self) -> list[tuple[str, list[Path]]]:
        """Names of what was scored, each with the folders to be read together."""
        groups = [(self.label(f), [f]) for f in self.suites if f not in self.own_folders]
        if alone := [f for f in self.experiments if f not in self.own_folders]:
            above = Path(os.path.commonpath(alone))
            apart = any(folder.is_relative_to(above) for folder in self.suites)
            groups.append((self.name, alone if apart else [above]))
        return groups if len(groups) != 1 else [(self.name, groups[0][1])]

    @cached_property
    def records(self) -> list[dict[str, Any]]:
        """The lines of every results.jsonl, and the records of s3prl's experiments."""
        found = [record for folder in self.suites for record in run_folder.read_results(folder)]
        return found + [r for folder in self.experiments for r in experiments.read(folder)]

    @cached_property
    def own_folders(self) -> list[Path]:
        """The suites and experiments of tasks of one's own alone, which have no SUPERB scores."""
        folders = (*self.suites, *self.experiments)
        return [folder for folder in folders if score_files.holds_own_only(folder)]

    @property
    def files(self) -> list[Path]:
        """Everything that is read, in order."""
        return [
            *(folder / run_folder.RESULTS for folder in self.suites),
            *(folder / EXPERIMENT for folder in self.experiments),
            *self.probes,
            *(folder / LOG for folder in self.logs),
            *self.convergences,
            *self.decodings,
        ]

    def name_of(self, path: Path, among: Sequence[Path]) -> str:
        """Return what a file is called in plots: NAME, or where there are several NAME/PART."""
        return self.name if len(among) == 1 else self.label(path.parent)

    def label(self, folder: Path) -> str:
        """Return what a folder below the run's is called: NAME, NAME/PART."""
        parts = [part for part in folder.relative_to(self.folder).parts if part != SUPERB]
        return "/".join([self.name, *parts])


def find(run: str | Path, name: str | None = None) -> RunFiles:
    """Return what there is in a run's folder and up to three folders below.

    ``name``: what it is called; the folder's name by default.

    Raises:
        ValueError: no such folder.
    """
    folder = Path(run)
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder; give the folder of a run")
    found = RunFiles(name or score_files.run_name(folder), folder)
    for here, names in _walk(folder, DEPTH):
        if run_folder.RESULTS in names:
            found.suites.append(here)
        elif EXPERIMENT in names and not any(here.is_relative_to(s) for s in found.suites):
            found.experiments.append(here)
        if LOG in names and not _is_finetuning(here / CONFIG):
            found.logs.append(here)
        found.probes.extend([here / PROBE] if PROBE in names else [])
        found.convergences.extend([here / CONVERGENCE] if CONVERGENCE in names else [])
        found.decodings.extend([here / RECORD] if RECORD in names else [])
    return found


def _is_finetuning(config: Path) -> bool:
    """Whether the log beside a run's config is that of fine-tuning, which no section shows."""
    with suppress(ValueError, OSError):
        return finetuning.is_one(config)
    return False


def model_name(run: RunFiles) -> str | None:
    """Return the name of the checkpoint that a run's scores, else its probes, are of, if of one.

    Raises:
        ValueError: a damaged file.
    """
    records = [r for r in run.records if not model_names.kind(str(r.get("upstream")))]
    own = {(r.get("ckpt") or r.get("upstream_ckpt"), r.get("name")) for r in records}
    if not run.records:
        own = {(read(path).get("checkpoint"), None) for path in run.probes}
    names = {n or model_names.of_checkpoint(ckpt) for ckpt, n in own if isinstance(ckpt, str)}
    return names.pop() if len(own) == len(names) == 1 else None


def _walk(folder: Path, depth: int) -> Iterator[tuple[Path, set[str]]]:
    """Yield folders, from the top, with the names of their files; scores of single checkpoints
    (superb/update_N), which `mt4ssl convergence` reads, are left out, and those of other heads,
    which are read with their suite.
    """
    entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    yield folder, {entry.name for entry in entries if entry.is_file()}
    for entry in entries if depth else ():
        hidden = entry.name.startswith((".", "update_"))
        hidden = hidden or run_folder.of_other_heads(Path(entry.path))
        if entry.is_dir(follow_symlinks=False) and not hidden:
            yield from _walk(folder / entry.name, depth - 1)


def check(run: RunFiles) -> None:
    """See that everything in a run can be read.

    Raises:
        ValueError: a damaged or foreign file.
    """
    scores([run])
    training(run)
    for path in (*run.probes, *run.convergences):
        read(path)
    for path in run.decodings:
        decodings.read_record(path)


def scores(runs: Sequence[RunFiles]) -> dict[str, ModelScores]:
    """Return the scores of every run by its name; models are called after their run.

    Of a single run, what its model is compared with has no more than its own name.

    Raises:
        ValueError: what `score_files.read` refuses, or two models of one name.
    """
    found: dict[str, ModelScores] = {}
    taken: dict[str, Path] = {}
    alone = len(runs) == 1 and len(runs[0].scored) == 1
    for run in runs:
        merged = ModelScores([], {})
        for name, folders in run.scored:
            part = score_files.read(folders, called=[name] if len(folders) == 1 else [])
            models = list(dict.fromkeys(score.model for score in part.scores))
            names = {m: _called(name, m, len(models), alone) for m in models}
            for model in names.values():
                if taken.setdefault(model, folders[0]) != folders[0]:
                    raise ValueError(
                        f"{taken[model]} and {folders[0]}: both would be called {model!r}; rename "
                        "a folder, or give --name"
                    )
            merged.scores.extend(replace(s, model=names[s.model]) for s in part.scores)
            merged.sizes.update({names[m]: size for m, size in part.sizes.items() if m in names})
            merged.upstreams.update({names[m]: u for m, u in part.upstreams.items() if m in names})
        found[run.name] = merged
    results.check([score for part in found.values() for score in part.scores])
    return found


def _called(name: str, model: str, models: int, alone: bool) -> str:
    if model == name or model.startswith(f"{name} ("):  # with other heads
        return model
    if models == 1:
        return name
    rest = model.removeprefix(f"{name}: ")
    return rest if alone else f"{name}: {rest}"


def training(run: RunFiles, named: bool = False) -> list[TrainingRun]:
    """Return the pre-training runs in a run's folder, several called after their folders.

    ``named``: with the run's name before the folders'.

    Raises:
        ValueError: what `training_runs.find_runs` refuses.
    """
    if not run.logs:
        return []
    labels = [_group(run, log) for log in run.logs]
    if len(set(labels)) == 1:
        labels = [run.name] * len(labels)
    elif not named:
        labels = [label.removeprefix(f"{run.name}/") for label in labels]
    return training_runs.find_runs(run.logs, labels)[0]


def _group(run: RunFiles, log: Path) -> str:
    """What the training in a folder is called, without its seed."""
    if not training_runs.SEED.fullmatch(log.resolve().name):
        return run.label(log)
    return log.resolve().parent.name if log == run.folder else run.label(log.parent)


def read(path: Path) -> dict[str, Any]:
    """Return the contents of a probe.json or convergence.json.

    Raises:
        ValueError: it is damaged, or lacks a part.
    """
    again = f"write it again with `{_MADE_BY[path.name]}`"
    found = read_json(path, remedy=again)
    if not isinstance(found, dict):
        raise ValueError(f"{path}: expected an object; {again}")
    lacking = [key for key in _NEEDED[path.name] if key not in found]
    if lacking:
        raise ValueError(f"{path}: has no {', '.join(lacking)}; {again}")
    for key, kind in _NEEDED[path.name].items():
        _check(found[key], kind, f"{path}: {key}", again)
    return found


def _check(found: Any, kind: Any, name: str, remedy: str) -> None:
    """See that a value has a type, or is a list of objects with keys of some types."""
    if not isinstance(kind, dict):
        wrong = not isinstance(found, kind) or (isinstance(found, bool) and kind is not bool)
        if wrong or (isinstance(found, int) and abs(found) > 10**15):
            raise ValueError(f"{name} cannot be {_short(found)}; {remedy}")
        return
    lines = found if isinstance(found, list) else [found]
    for line in lines:
        for key, own in kind.items():
            if not isinstance(line, dict) or key not in line:
                raise ValueError(f"{name}: a line has no {key}; {remedy}")
            _check(line[key], own, f"{name}: {key}", remedy)
        for key in _OPTIONAL.keys() & line.keys():
            _check(line[key], _NUMBER, f"{name}: {key}", remedy)
        if "values" in line and kind.get("values") is list:
            _check_matrix(line["values"], name, remedy)
        if line.get("direction", "max") not in ("min", "max"):
            raise ValueError(f"{name}: direction cannot be {_short(line['direction'])}; {remedy}")


def _check_matrix(values: Any, name: str, remedy: str) -> None:
    rows = [len(row) if isinstance(row, list) else 0 for row in values]
    if not rows or 0 in rows or len(set(rows)) > 1:
        raise ValueError(f"{name}: values are no table of numbers; {remedy}")
    if not all(type(value) in (int, float) for row in values for value in row):
        raise ValueError(f"{name}: values are not all numbers; {remedy}")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 100 else f"{text[:100]} ..."


def inventory(runs: Sequence[RunFiles]) -> list[tuple[str, str, str]]:
    """Return every file that is read: its path from the run's folder, date (UTC), bytes."""
    rows = []
    for run in runs:
        for path in run.files:
            facts = path.stat()
            date = datetime.fromtimestamp(facts.st_mtime, UTC)
            name = f"{run.folder.resolve().name}/{path.relative_to(run.folder)}"
            rows.append((name, f"{date:%Y-%m-%d %H:%M}", f"{facts.st_size:,}"))
    return rows
