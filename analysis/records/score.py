"""One score as a typed record, checked when it is made, and what must hold among several."""

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from upstream.door import tasks

ARROWS = {"max": "↑", "min": "↓"}
REAL, PARTIAL, MINI, UNKNOWN = "real", "partial", "mini", "unknown"  # kinds of corpora
SMOKE, CHANGED, UNCHECKED = "smoke", "changed", "unchecked"  # what is not as SUPERB has it
AGAIN = "score the task again with `mt4ssl superb run`"
_MOST = 1e300
_SCALES = {("fraction", "percent"): 100.0, ("percent", "fraction"): 0.01}


@dataclass(frozen=True)
class Setting:
    """What a value was measured under.

    ``corpus``: real (the whole published one), partial, mini (synthesised) or unknown;
    ``corpus_id`` tells one corpus of a task from another, ``made`` says how a mini one was made.
    ``state``: "" (as SUPERB has it), smoke, changed, or unchecked.
    """

    stage: str = tasks.TEST
    corpus: str = REAL
    corpus_id: str | None = None
    made: str | None = None
    state: str = ""
    seed: int | None = None
    remarks: tuple[str, ...] = ()
    heads: str = ""  # "" (those of the protocol), or another kind
    protocol: str = ""  # "" (SUPERB's), or another

    @property
    def comparable(self) -> bool:
        """Whether published scores may stand beside it."""
        return self.corpus == REAL and not self.state and not self.protocol

    @property
    def table(self) -> tuple[str, str, str]:
        """What scores of one table have in common."""
        return self.corpus, self.state, self.protocol


@dataclass(frozen=True)
class Score:
    """One number: a model's on a metric of a task, with what it was measured under.

    Raises:
        ValueError: no such task or metric, another unit or direction than the metric's, or no
            number; names ``source``, the file and line it is from.
    """

    model: str
    task: str
    metric: str
    value: float
    unit: str
    direction: str
    setting: Setting
    source: str
    deviation: float | None = None  # over the seeds of heads, in the value's unit
    seeds: int = 1

    def __post_init__(self) -> None:
        """Check all of it."""
        metric = metric_of(self.task, self.metric, self.setting.stage, self.source)
        name = f"{self.source}: {self.task} {self.metric}"
        if isinstance(self.value, bool) or not isinstance(self.value, int | float | None):
            raise ValueError(f"{name}: value {self.value!r} is no number; {AGAIN}")
        if self.value is None or abs(self.value) > _MOST or not math.isfinite(self.value):
            raise ValueError(
                f"{name}: value {self.value} is no finite number; score the task again (with a "
                "lower learning rate where training diverged), or leave the model out"
            )
        if self.unit == "fraction" and metric["direction"] == "max" and self.value > 1:
            raise ValueError(f"{name}: value {self.value} is no fraction (at most 1); {AGAIN}")
        if self.direction != metric["direction"]:
            raise ValueError(
                f"{name}: direction {self.direction!r}, downstream_configs/{self.task}.yaml says "
                f"{metric['direction']!r}; {AGAIN}"
            )
        self.value_in(shown_unit(metric))

    @property
    def folder(self) -> Path:
        """The folder of the suite or experiment that it is from."""
        return Path(self.source).parent

    def value_in(self, unit: str) -> float:
        """Return the value in another unit.

        Raises:
            ValueError: it cannot be converted.
        """
        return self.value * self._scale(unit)

    def deviation_in(self, unit: str) -> float | None:
        """Return the deviation over seeds in another unit; None where there is one seed.

        Raises:
            ValueError: it cannot be converted.
        """
        return None if self.deviation is None else self.deviation * self._scale(unit)

    def _scale(self, unit: str) -> float:
        scale = 1.0 if unit == self.unit else _SCALES.get((self.unit, unit))
        if scale is None:
            raise ValueError(
                f"{self.source}: {self.task} {self.metric}: unit {self.unit!r}, expected {unit!r}; "
                f"{AGAIN}"
            )
        return scale


def metrics_of(task: str, source: str = "") -> list[dict[str, Any]]:
    """Return the metrics of a task, as its YAML lists them.

    Raises:
        ValueError: there is no such task; names the nearest, and ``source``.
    """
    if task not in _names(tasks.folder()):
        near = difflib.get_close_matches(str(task), tasks.names(), 1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise ValueError(f"{source}: task {task!r}: {hint}choose among {', '.join(tasks.names())}")
    return _metrics(tasks.folder(), task)


def metric_of(task: str, name: str, stage: str = tasks.TEST, source: str = "") -> dict[str, Any]:
    """Return one metric of a task and an evaluation.

    Raises:
        ValueError: there is no such metric.
    """
    found = metrics_of(task, source)
    for metric in found:
        if (metric["name"], tasks.stage_of(metric)) == (name, stage):
            return metric
    known = list(dict.fromkeys(spoken(m["name"], tasks.stage_of(m)) for m in found))
    near = difflib.get_close_matches(spoken(name, stage), known, 1)
    hint = f"did you mean {near[0]}? " if near else ""
    raise ValueError(
        f"{source}: {task}: unknown metric {spoken(name, stage)!r}; {hint}{task} has "
        f"{', '.join(known)}: correct it, or add it to downstream_configs/{task}.yaml"
    )


def shown_unit(metric: Mapping[str, Any]) -> str:
    """Return the unit that a metric is shown in: the published one, and percent for fractions."""
    unit = (metric.get("reference") or metric)["unit"]
    return "percent" if unit == "fraction" else str(unit)


def spoken(name: str, stage: str) -> str:
    """Return a metric's name with its evaluation: wer, wer@lm."""
    return name if stage == tasks.TEST else f"{name}@{stage}"


@cache
def _names(folder: Path) -> frozenset[str]:
    return frozenset(path.stem for path in folder.glob("*.yaml"))


@cache
def _metrics(folder: Path, task: str) -> list[dict[str, Any]]:
    return list(tasks.read(folder / f"{task}.yaml")["superb"]["metrics"])


def check(scores: Sequence[Score]) -> None:
    """See that every model has one value of a metric, and that mini corpora were made alike.

    Raises:
        ValueError: they do not; names both files.
    """
    seen: dict[tuple[Any, ...], Score] = {}
    made: dict[tuple[Any, ...], Score] = {}
    for score in scores:
        setting = score.setting
        row = (score.model, *setting.table)
        first = seen.setdefault((*row, score.task, score.metric, setting.stage), score)
        if first is not score:
            raise ValueError(
                f"{score.model}: {score.task} {spoken(score.metric, setting.stage)} twice: "
                f"{_told(first)} and {_told(score)}; give only one of the two"
            )
        other = made.setdefault(row, score)
        if other.setting.made != setting.made:
            raise ValueError(
                f"{score.model}: different corpora in one row: {other.task} of mini_superb "
                f"{other.setting.made} ({other.source}), {score.task} of {setting.made} "
                f"({score.source}); score both on one, or give only one"
            )


def _told(score: Score) -> str:
    seed = "" if score.setting.seed is None else f", seed {score.setting.seed}"
    return f"{score.value:g} ({score.source}{seed})"
