"""superb_s, as SUPERB's leaderboard computes it, and the metrics that it and its table are of.

0 points are filter banks and 1000 the best model of 2021, task by task; superb_s is the mean over
the tasks of a set, and a task with two metrics has the mean of their points. Both points of
reference are those of the tasks' YAMLs.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from analysis.records import score
from analysis.records.score import ARROWS
from upstream.door import tasks
from upstream.suite import roots

SETS = ("paper", "public")
_NAMES = {"qbe": "QbE", "ood": "OOD-ASR"}
_METRICS = {"acc": "Acc", "slot_type_f1": "F1", "slot_value_cer": "CER", "si_sdri": "SI-SDRi"}


@dataclass(frozen=True)
class Column:
    """A metric of a task, in the unit it is shown in, with its points of reference if any."""

    task: str
    metric: str
    stage: str
    unit: str
    direction: str
    fbank: float | None
    sota: float | None

    @property
    def key(self) -> str:
        """Its name in the CSV: pr/per, asr/wer@lm."""
        return f"{self.task}/{score.spoken(self.metric, self.stage)}"

    @property
    def head(self) -> str:
        """Its name in the lower head of a table."""
        stage = "" if self.stage == tasks.TEST else f" +{self.stage.upper()}"
        metric = _METRICS.get(self.metric, self.metric.replace("_", " ").upper())
        return f"{metric}{stage} {ARROWS[self.direction]}"

    def points(self, value: float) -> float:
        """Return what a value contributes: 0 for filter banks, 1000 for the best of 2021."""
        assert self.fbank is not None and self.sota is not None, self.key
        return 1000 * (value - self.fbank) / (self.sota - self.fbank)


def name_of(task: str) -> str:
    """Return a task's name in a table."""
    return _NAMES.get(task, task.upper())


def columns_of(task: str) -> list[Column]:
    """Return the metrics of a task that are published; all of them where none is."""
    found = score.metrics_of(task)
    scored = any("reference" in metric for metric in found)
    kept = [m for m in found if not scored or "reference" in m or tasks.stage_of(m) != tasks.TEST]
    return [
        Column(
            task,
            metric["name"],
            tasks.stage_of(metric),
            score.shown_unit(metric),
            metric["direction"],
            metric.get("reference", {}).get("fbank"),
            metric.get("reference", {}).get("sota"),
        )
        for metric in kept
    ]


def tasks_of(score_set: str) -> list[str]:
    """Return the tasks of a set, in the paper's order.

    Raises:
        ValueError: there is no such set.
    """
    if score_set not in SETS:
        raise ValueError(f"--set {score_set}: no such set; choose one of {', '.join(SETS)}")
    found = tasks.headers()
    return roots.in_order(name for name in found if score_set in found[name].get("score_sets", ()))


def points(values: Mapping[str, float], score_set: str) -> dict[str, float]:
    """Return the points of every task of a set that all its metrics are there of.

    Args:
        values: by `Column.key`, in the published units.
        score_set: "paper" or "public".
    """
    found = {}
    for task in tasks_of(score_set):
        scored = [column for column in columns_of(task) if column.fbank is not None]
        got = [column.points(values[c]) for column in scored if _is(values, c := column.key)]
        if len(got) == len(scored):
            found[task] = math.fsum(got) / len(got)
    return found


def superb_s(values: Mapping[str, float], score_set: str = "paper") -> float | None:
    """Return superb_s of a model; None when a task of the set is missing."""
    found = points(values, score_set)
    if len(found) < len(tasks_of(score_set)):
        return None
    return math.fsum(found.values()) / len(found)


def _is(values: Mapping[str, float], key: str) -> bool:
    return key in values and not math.isnan(values[key])
