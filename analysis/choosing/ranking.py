"""Orders of candidates by several measures, made one."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
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
    could be compared. ``places``: candidate -> criterion -> place from 1, the best of those
    that equals share. ``used``: with the weights that counted.
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

    A criterion that some candidate lacks does not count; one that is the same for several is only
    shown. Equal values count as the mean of their places. One candidate alone is first in all.
    """
    used, left_out = list[Criterion](), list[str]()
    columns: dict[str, list[float]] = {}  # less is better
    for one in criteria:
        known = [row.get(one.name) for row in values]
        numbers = [value for value in known if value is not None and math.isfinite(value)]
        if len(numbers) < len(known):
            if numbers:
                missing = len(known) - len(numbers)
                left_out.append(f"{one.told}: unknown of {missing} of {len(known)}, not counted")
            continue
        if one.weight and len(known) > 1 and len(set(numbers)) == 1:
            left_out.append(f"{one.told}: the same for all {len(known)}, not counted")
            one = replace(one, weight=0)
        used.append(one)
        columns[one.name] = numbers if one.direction == "min" else [-value for value in numbers]
    table = pd.DataFrame(columns, range(len(values)), dtype=float)
    best = table.rank(method="min").to_dict("records")
    places = [{str(name): int(place) for name, place in row.items()} for row in best]
    total = sum(one.weight for one in used)
    if not total:
        return Ranking([None] * len(values), places, used, left_out)
    shares = 1 - (table.rank().to_numpy() - 1) / max(1, len(values) - 1)  # (candidates, criteria)
    scores = shares @ np.array([one.weight for one in used]) / total
    return Ranking(scores.tolist(), places, used, left_out)
