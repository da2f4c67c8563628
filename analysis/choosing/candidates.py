"""The checkpoints to choose from, with what their runs logged of them on held-out audio."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

from analysis.records import training_runs
from analysis.records.attempts import Attempts
from analysis.records.training_runs import BEST, VALID, TrainingRun
from mt4ssl_core import shipped
from upstream.door import hub


@dataclass(frozen=True)
class Candidate:
    """A checkpoint; ``logged``: what its run measured on held-out audio there, or last before."""

    name: str
    path: Path
    run: TrainingRun | None = None
    update: int | None = None
    logged: dict[str, float] = field(default_factory=dict)

    def check_update(self) -> None:
        """See that its run has not replaced it since it was found (ValueError: it has)."""
        if self.update is not None:
            training_runs.check_update(self.path, self.update)


def find(given: Sequence[str], broken: list[str]) -> tuple[list[Candidate], list[str]]:
    """Return the checkpoints of runs and those given one by one, and notes.

    ``broken`` gets a line on each that cannot be read, unless there is no other.

    Raises:
        ValueError: a run without checkpoints, a checkpoint twice, or nothing to choose from.
    """
    folders = [name for name in given if Path(name).is_dir() and not _is_model(Path(name))]
    runs, notes = training_runs.find_runs(folders, broken=broken) if folders else ([], [])
    single = [hub.own("mt4ssl", name)[1] or name for name in given if name not in folders]
    called = Counter(Path(path).name for path in single)
    found = [
        Candidate(str(path) if called[Path(path).name] > 1 else Path(path).name, Path(path))
        for path in single
    ]
    attempts = Attempts(broken)
    alike = len(training_runs.judged_alike(runs)) == len(runs)
    if not alike:
        notes.append("held-out losses are not compared: labels, masks, frames or audio differ")
    for run in runs:
        with attempts.one():
            found += _of_run(run, alike, notes, attempts)
    attempts.close(found)
    twice = [str(path) for path, n in Counter(c.path.resolve() for c in found).items() if n > 1]
    if twice:
        raise ValueError(f"{twice[0]}: given twice; give each checkpoint once")
    return found, notes


def _is_model(folder: Path) -> bool:
    """Whether a folder is a checkpoint itself, as Hugging Face's and compact ones are."""
    return any((folder / name).is_file() for name in ("config.json", shipped.WEIGHTS))


def _of_run(
    run: TrainingRun, losses: bool, notes: list[str], attempts: Attempts
) -> list[Candidate]:
    checkpoints, best = run.checkpoints, run.folder / BEST
    if best.is_file():
        with attempts.one():
            checkpoints = {training_runs.update_of(best): best} | checkpoints
    if not checkpoints:
        raise ValueError(
            f"{run.folder}: no checkpoints; pre-train with run.keep_every=N, or give another"
        )
    measured: dict[int, dict[str, Any]] = {}
    for record in run.records:
        values = {k.removeprefix(VALID): v for k, v in record.items() if k.startswith(VALID)}
        known = {k: v for k, v in values.items() if isinstance(v, int | float) and isfinite(v)}
        if known:
            measured.setdefault(record["update"], {}).update(known)
    found = []
    for update, path in sorted(checkpoints.items()):
        before = [number for number in measured if number <= update]
        last = max(before, default=None) if losses else None
        values = {} if last is None else measured[last]
        if last not in (None, update):
            notes.append(f"{run.name} {update}: what was held out was last measured at {last}")
        found.append(Candidate(f"{run.name} {update}", path, run, update, values))
    return found
