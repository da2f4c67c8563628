"""Orders of candidates by several measures, made one."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True)
class Criterion:
    """A measure of candidates. ``told``: for readers; ``direction``: max or min is better;
    ``weight``: of its order in the whole (0: only shown).
    """

    name: str
    told: str
    direction: str
    weight: float


@dataclass(frozen=True)
class Ranking:
    """``scores``: of each candidate, from 0 (last in all) to 1 (first in all); None where nothing
    could be compared. ``places``: candidate -> criterion -> place from 1.
    """

    scores: list[float | None]
    places: list[dict[str, int]]
    used: list[Criterion]
    left_out: list[str]

    @property
    def order(self) -> list[int]:
        """Candidates from the best on; of equals the later one first."""
        keys = [(-(score or 0.0), -number) for number, score in enumerate(self.scores)]
        return sorted(range(len(keys)), key=keys.__getitem__)


def rank(values: Sequence[Mapping[str, float | None]], criteria: Sequence[Criterion]) -> Ranking:
    """Order candidates by the weighted mean of their places, each brought to 0 .. 1.

    A criterion that some candidate lacks, or that is the same for all, does not count. Equal values
    share their mean place.
    """
    used, left_out, orders = [], [], []
    for one in criteria:
        known = [row.get(one.name) for row in values]
        numbers = [value for value in known if value is not None and math.isfinite(value)]
        if len(numbers) < len(known):
            if numbers:
                missing = len(known) - len(numbers)
                left_out.append(f"{one.told}: unknown of {missing} of {len(known)}, not counted")
            continue
        used.append(one)
        orders.append(pd.Series(numbers, dtype=float).rank(ascending=one.direction == "min"))
    places = [
        {one.name: math.ceil(order[n]) for one, order in zip(used, orders, strict=True)}
        for n in range(len(values))
    ]
    total = sum(one.weight for one in used)
    if not total:
        return Ranking([None] * len(values), places, used, left_out)
    most = max(1, len(values) - 1)
    scores = [
        sum(
            one.weight * (len(values) - order[n]) / most
            for one, order in zip(used, orders, strict=True)
        )
        / total
        for n in range(len(values))
    ]
    return Ranking([float(score) for score in scores], places, used, left_out)
