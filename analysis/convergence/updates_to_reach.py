"""How soon a score is reached: in updates, hours of audio and hours of training."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from analysis.tables.formats import markdown_text

COSTS = ("update", "audio_hours", "wall_hours")  # columns of the points


@dataclass(frozen=True)
class TargetScore:
    """A score to reach, and where it is from."""

    metric: str
    value: float
    origin: str


def read_targets(words: Sequence[str], known: Sequence[str] | None = None) -> list[TargetScore]:
    """Read METRIC=VALUE words; ``known``: the metrics that were measured, None before that.

    Raises:
        ValueError: not of this form, no number, or a metric that was not measured.
    """
    found = []
    for word in words:
        metric, equals, text = word.rpartition("=")
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not equals or not math.isfinite(value):
            raise ValueError(f"--target {word}: expected METRIC=VALUE, such as phone_ctc=0.6")
        if known is not None and metric not in known:
            raise ValueError(
                f"--target {word}: {metric} was not measured; choose from {', '.join(known)}"
            )
        found.append(TargetScore(metric, value, "asked for"))
    return found


def default_target(points: pd.DataFrame, metric: str) -> tuple[TargetScore | None, list[str]]:
    """Return the score that every run of every group that makes progress has in the end.

    A group makes progress if the last score of each of its runs is better than the first. The
    worst last score among all these runs is the target. None where no group makes progress; the
    notes name those that make none.
    """
    part = points[points["metric"] == metric].sort_values("update")
    sign = 1 if part["direction"].iloc[0] == "max" else -1
    moving: dict[str, float] = {}  # the last score of each run of the groups that make progress
    still = []
    for group in dict.fromkeys(points["group"]):
        runs = part[part["group"] == group].groupby("run", sort=False)["value"]
        ends = {str(run): (float(v.iloc[0]), float(v.iloc[-1])) for run, v in runs}
        if len(runs) and runs.size().max() == 1:
            still.append(f"{group} has {metric} at one checkpoint only")
        elif all(sign * last > sign * first for first, last in ends.values()):
            moving |= {run: last for run, (_, last) in ends.items()}
        elif not all(map(math.isfinite, itertools.chain(*ends.values()))):
            still.append(f"{group} has runs whose first or last {metric} is no number")
        else:
            still.append(f"{group} makes no progress on {metric}")
    if not moving:
        return None, still
    worst = min(moving, key=lambda run: sign * moving[run])
    return TargetScore(
        metric, moving[worst], f"last score of {worst}, the worst to make progress"
    ), still


def targets_of(points: pd.DataFrame, asked: Sequence[str]) -> tuple[list[TargetScore], list[str]]:
    """Return what METRIC=VALUE words ask for, of each other metric its default; and notes.

    Raises:
        ValueError: words that `read_targets` refuses.
    """
    metrics = list(dict.fromkeys(points["metric"]))
    targets, notes = read_targets(asked, metrics), []
    for metric in metrics:
        if metric not in {target.metric for target in targets}:
            target, still = default_target(points, metric)
            targets += [target] if target else []
            notes += still
    return sorted(targets, key=lambda target: metrics.index(target.metric)), notes


def first_reached(
    values: Sequence[float], target: float, direction: str
) -> tuple[float, bool] | None:
    """Return where a curve first is as good as ``target``, in steps between its points.

    1.25: a quarter of the way from point 1 to point 2, by linear interpolation. The flag is True
    at the first point: it was reached there or before. None: never.
    """
    sign = 1.0 if direction == "max" else -1.0
    ahead = sign * (np.asarray(values, float) - target)
    ahead[~np.isfinite(ahead)] = -np.inf  # what is no number reaches nothing
    (good,) = np.nonzero(ahead >= 0)
    if not len(good):
        return None
    at = int(good[0])
    if at == 0:
        return 0.0, True
    return float(at - ahead[at] / (ahead[at] - ahead[at - 1])), False


def reach_rows(points: pd.DataFrame, targets: Sequence[TargetScore]) -> list[dict[str, Any]]:
    """Return a row for every target and group, in the order of the points' groups.

    updates, audio_hours, wall_hours: the mean over the seeds that reach the target, with updates'
    range; None where none does. by_seed: {seed: its updates}. at_most: some seed had reached it by
    its first checkpoint, so that these are upper bounds. ratio, audio_ratio, wall_ratio: over the
    least of all groups, a lower bound (ratio_at_least, ...) where that one is an upper bound; None
    where the row is one, or one of the two lacks a seed that reaches the target.
    """
    rows = []
    for target in targets:
        part = points[points["metric"] == target.metric]
        group_rows = [
            _row(target, group, runs) for group, runs in part.groupby("group", sort=False)
        ]
        for cost, ratio in (
            ("updates", "ratio"),
            ("audio_hours", "audio_ratio"),
            ("wall_hours", "wall_ratio"),
        ):
            _add_ratios(group_rows, cost, ratio)
        rows += group_rows
    return rows


def _row(target: TargetScore, group: Any, points: pd.DataFrame) -> dict[str, Any]:
    spent: dict[str, list[float]] = {cost: [] for cost in COSTS}
    at_most, by_seed = False, {}
    runs = [run.sort_values("update") for _, run in points.groupby("run", sort=False)]
    for run in runs:
        reached = first_reached(run["value"].tolist(), target.value, run["direction"].iloc[0])
        if reached is None:
            continue
        place, early = reached
        at_most |= early
        for cost in COSTS:
            spent[cost].append(float(np.interp(place, np.arange(len(run)), run[cost])))
        by_seed[str(run["seed"].iloc[0])] = spent["update"][-1]
    updates = spent["update"]
    return {
        "metric": target.metric,
        "target": target.value,
        "origin": target.origin,
        "group": group,
        "updates": _mean(updates),
        "low": min(updates, default=None),
        "high": max(updates, default=None),
        "audio_hours": _mean(spent["audio_hours"]),
        "wall_hours": _mean(spent["wall_hours"]),
        "by_seed": by_seed,
        "at_most": at_most,
        "seeds_reached": len(updates),
        "seeds": len(runs),
    }


def _add_ratios(rows: Sequence[dict[str, Any]], cost: str, ratio: str) -> None:
    whole = [row for row in rows if row[cost] is not None and row["seeds_reached"] == row["seeds"]]
    least = min(whole, key=lambda row: row[cost], default=None)
    for row in rows:
        known = least is not None and row in whole and (row is least or not row["at_most"])
        row[ratio] = row[cost] / least[cost] if known and least and least[cost] else None
        other = least is not None and row is not least and least["at_most"]
        row[f"{ratio}_at_least"] = bool(other and row[ratio] is not None)


def half_width(values: Sequence[float]) -> float | None:
    """Half of the 95 % t interval of the mean of (S,) values; None of fewer than two."""
    if len(values) < 2:
        return None
    deviation = float(np.std(values, ddof=1)) / math.sqrt(len(values))
    return float(stats.t.ppf(0.975, len(values) - 1)) * deviation


def paired_ratio(
    first: Mapping[str, Any] | None, second: Mapping[str, Any] | None
) -> tuple[float, float, float] | None:
    """Return the ratio of two rows' updates, seed by seed, with its 95 % t interval.

    The mean and the interval are of logarithms. None without two seeds in common, where some seed
    does not reach the score, and where only a bound is known.
    """
    if first is None or second is None or first["at_most"] or second["at_most"]:
        return None
    if any(row["seeds_reached"] < row["seeds"] for row in (first, second)):
        return None
    mine, theirs = first["by_seed"], second["by_seed"]
    logs = [math.log(mine[seed] / theirs[seed]) for seed in mine.keys() & theirs.keys()]
    width = half_width(logs)
    if width is None:
        return None
    mean = float(np.mean(logs))
    return math.exp(mean), math.exp(mean - width), math.exp(mean + width)


def _mean(values: Sequence[float]) -> float | None:
    known = [value for value in values if math.isfinite(value)]
    return sum(known) / len(known) if known and len(known) == len(values) else None


_HEADS = (
    *("score", "group", "updates (range)", "ratio", "audio h", "ratio", "training h", "ratio"),
    "seeds",
)


def markdown(rows: Sequence[Mapping[str, Any]], directions: Mapping[str, str]) -> str:
    """Return the table "updates to reach" for readers."""
    arrows = {"max": "≥", "min": "≤"}
    lines = [
        f"| {' | '.join(_HEADS)} |",
        "| --- | --- |" + " ---: |" * 7,
    ]
    for row in rows:
        sign = arrows[directions[row["metric"]]]
        cells = [
            f"{markdown_text(row['metric'])} {sign} {row['target']:.4g}",
            markdown_text(str(row["group"])),
            _range(row),
            _ratio(row, "ratio"),
            _number(row["audio_hours"], "{:.2f}", row["at_most"]),
            _ratio(row, "audio_ratio"),
            _number(row["wall_hours"], "{:.3g}", row["at_most"]),
            _ratio(row, "wall_ratio"),
            f"{row['seeds_reached']} of {row['seeds']}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _range(row: Mapping[str, Any]) -> str:
    if row["updates"] is None:
        return "not reached"
    text = _number(row["updates"], "{:.0f}", row["at_most"])
    return f"{text} ({row['low']:.0f}-{row['high']:.0f})" if row["seeds_reached"] > 1 else text


def _ratio(row: Mapping[str, Any], name: str) -> str:
    bound = "≥ " if row[f"{name}_at_least"] else ""
    return bound + _number(row[name], "{:.2f}")


def _number(value: float | None, form: str, at_most: bool = False) -> str:
    return "-" if value is None else ("≤ " if at_most else "") + form.format(value)
