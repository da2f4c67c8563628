"""Rows of probes: values with their intervals, drawing speakers again."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from analysis.labelled_speech.speech import LabelledUtterance
from analysis.probes import chance
from analysis.probes.probe_rows import Row


def row(layer: int, name: str, estimate: chance.Estimate, **more: Any) -> Row:
    """Return a row of `probe_training.run_probes`."""
    found = {"layer": layer, "measure": name, "value": estimate.value}
    found |= {"low": estimate.low, "high": estimate.high}
    return found | {"unit": "fraction", "direction": "max", **more}


def rate(sums: np.ndarray, totals: np.ndarray, units: Sequence[str], seed: int) -> chance.Estimate:
    """sum(sums) / sum(totals) with its interval, drawing ``units`` again: (U,), (U,), (U,)."""
    names, ids = np.unique(np.asarray(units), return_inverse=True)
    if len(names) < 2:
        value = float(sums.sum() / totals.sum())
        return chance.Estimate(value, math.nan, math.nan, 0.0)
    top, bottom = (np.bincount(ids, weights, len(names)) for weights in (sums, totals))
    return chance.bootstrap(
        lambda drawn: float((drawn @ top) / (drawn @ bottom)), len(names), seed=seed
    )


def units(items: Sequence[LabelledUtterance]) -> list[str]:
    """Return what is drawn again: the speaker of each, or itself where nobody is named."""
    return [item.speaker or item.id for item in items]
