"""Rows of probe.json: one per layer and measure."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

Row = dict[str, Any]
DIRECTIONS = "directions"  # the unit of what is no score


def best_row(rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return the row to name of a measure: a probe's chosen layer, of other measures the best.

    A value that is no number (None) is never the best, unless there is no other.
    """
    better = max if rows[0]["direction"] == "max" else min
    chosen = next((row for row in rows if row.get("chosen")), None)
    known = [row for row in rows if row["value"] is not None]
    return chosen or better(known or rows[:1], key=lambda row: row["value"] or 0)


def plain(row: Mapping[str, Any]) -> Row:
    """Return a row as JSON has it: None for what is no finite number."""
    odd = {k for k, v in row.items() if isinstance(v, float) and not math.isfinite(v)}
    return {key: None if key in odd else value for key, value in row.items()}


def table_value(value: float | None) -> str:
    """Return a value as tables have it; of what is no number, that it is none."""
    return "nan" if value is None else f"{value:.3f}"
