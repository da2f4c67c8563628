"""A table of points: what the checkpoints of pre-training runs score.

Its columns are run, group, seed, update, metric, value, unit, direction, layer (-1: none was
chosen).
"""

import difflib
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.records.training_runs import TrainingRun
from mt4ssl_core.data import csv_tables

COLUMNS = ["run", "group", "seed", "update", "metric", "value", "unit", "direction", "layer"]
GIVEN = ("run", "update", "metric", "value")  # columns that a CSV must have
NO_LAYER = -1
_LOWER = {
    "wer", "per", "cer", "eer", "der", "ter", "mcd", "mse", "mae", "nll", "loss", "error",
    "perplexity",
}  # fmt: skip


def point(
    run: TrainingRun,
    update: int,
    metric: str,
    value: float,
    unit: str,
    direction: str,
    layer: int = NO_LAYER,
) -> tuple[Any, ...]:
    """Return a point: what a checkpoint scores, and on which layer."""
    return (run.name, run.group, run.seed, update, metric, value, unit, direction, layer)


def from_rows(rows: Sequence[tuple[Any, ...]]) -> pd.DataFrame:
    """Return rows as a table of points."""
    return pd.DataFrame(rows, columns=COLUMNS)


def from_csv(path: str | Path, runs: Sequence[TrainingRun]) -> pd.DataFrame:
    """Return the numbers of a CSV: columns run, update, metric, value and maybe unit, direction.

    ``run`` is the name of a run, as GROUP/seed1. Without a direction, metrics called after an
    error or a loss (wer, per, loss, ...) are better when low, all others when high.

    Raises:
        ValueError: no such table, column, run or update, no finite number, or a point twice.
    """
    path = Path(path)
    _, found = csv_tables.read_table(path, GIVEN)
    names = {run.name: run for run in runs}
    rows, seen = [], set()
    for line, row in found:
        where = f"{path}, line {line}"
        run = names.get(row["run"])
        if run is None:
            near = difflib.get_close_matches(row["run"], names, 1) or list(names)
            raise ValueError(f"{where}: no run {row['run']!r}; is it {', '.join(near)}?")
        update, value = (_number(row[key], f"{where}: {key}") for key in ("update", "value"))
        if not update.is_integer():
            raise ValueError(f"{where}: update {row['update']} is no whole number; correct it")
        if not 0 <= update <= max(run.last_update, *run.checkpoints, 0):
            raise ValueError(f"{where}: {run.name} has no update {row['update']}; correct it")
        if (key := (run.name, update, row["metric"])) in seen:
            raise ValueError(f"{where}: {' '.join(map(str, key))} a second time; remove one")
        seen.add(key)
        words = set(re.split("[^a-z]+", row["metric"].lower()))
        direction = row.get("direction") or ("min" if words & _LOWER else "max")
        if direction not in ("min", "max"):
            raise ValueError(f"{where}: direction {direction!r}; write min or max")
        facts = (row["metric"], value, row.get("unit", ""), direction)
        rows.append(point(run, int(update), *facts))
    return from_rows(rows)


def joined(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return all points in one table.

    Raises:
        ValueError: a point twice, or a metric in two units or directions.
    """
    points = pd.concat(parts, ignore_index=True) if parts else from_rows([])
    twice = points[points.duplicated(["run", "update", "metric"])]
    if len(twice):
        one = twice.iloc[0]
        raise ValueError(
            f"{one['run']}: {one['metric']} at update {one['update']} from two sources; rename the "
            "metric in one of them"
        )
    for metric, part in points.groupby("metric"):
        for column in ("unit", "direction"):
            if len(values := sorted(set(part[column]))) > 1:
                raise ValueError(f"{metric}: {column} is {' and '.join(values)}; make them alike")
    return points


def _number(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{where} {text!r} is no finite number; correct it, or remove the line")
    return value
