"""The pairs of clips that a verification is tested on: given in a CSV, or made from a split."""

import itertools
import random
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from mt4ssl_core.files import user_path
from upstream.own_task.table import Problems, Row, records

MOST = 10_000  # pairs of each kind that are made
_TARGETS = {"1": 1, "true": 1, "target": 1, "0": 0, "false": 0, "nontarget": 0}
_COLUMNS = ("enrol", "test", "target")


class Trial(NamedTuple):
    """Whether two clips, by their place in the split, are of one speaker (1) or not (0)."""

    target: int
    enrol: int
    test: int


def make(rows: Sequence[Row]) -> list[Trial]:
    """Return all pairs of one speaker, and as many of two; at most `MOST` of each, drawn alike."""
    draw = random.Random(0)
    of = defaultdict[str, list[int]](list)
    for place, row in enumerate(rows):
        of[row.value].append(place)
    same = [pair for places in of.values() for pair in itertools.combinations(places, 2)]
    same = sorted(draw.sample(same, MOST)) if len(same) > MOST else same
    other = set[tuple[int, int]]()
    possible = len(rows) * (len(rows) - 1) // 2 - len(same)
    wanted = min(len(same), possible)
    for _ in range(100 * wanted):
        a, b = sorted(draw.sample(range(len(rows)), 2))
        if rows[a].value != rows[b].value:
            other.add((a, b))
        if len(other) == wanted:
            break
    return [Trial(1, *pair) for pair in same] + [Trial(0, *pair) for pair in sorted(other)]


def read(path: str | Path, rows: Sequence[Row]) -> list[Trial]:
    """Read trials of lines ``enrol,test,target``: two paths as the table has them, and 1 or 0.

    Raises:
        ValueError: not such a table, clips that are not in ``rows``, or trials of one kind only;
            names the lines.
    """
    path = user_path(path).absolute()
    problems, found = Problems(path), list[Trial]()
    places = defaultdict[str, list[int]](list)
    for place, row in enumerate(rows):
        places[row.name].append(place)
    for line, fields in records(path, _COLUMNS):
        target = _TARGETS.get(fields["target"].lower())
        if target is None:
            problems.add(line, f"target {fields['target']!r}; write 1 (one speaker) or 0")
        named = [places.get(fields[column], []) for column in _COLUMNS[:2]]
        for column, there in zip(_COLUMNS, named, strict=False):
            if len(there) != 1:
                what = "several test clips of it" if there else "no test clip"
                problems.add(
                    line, f"{column} {fields[column]!r}: {what}; give one path as in the table"
                )
        if target is not None and all(len(there) == 1 for there in named):
            if target != (rows[named[0][0]].value == rows[named[1][0]].value):
                problems.add(line, f"target {target} is not what the speakers say; correct it")
            found.append(Trial(target, named[0][0], named[1][0]))
    problems.stop()
    if len({trial.target for trial in found}) < 2:
        raise ValueError(f"{path}: needs trials of target 1 and of target 0; add the others")
    return found
