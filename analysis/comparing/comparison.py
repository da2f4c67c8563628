"""Compare two systems in every score that both were tested in."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from analysis.comparing import paired_tests, resampling, systems
from analysis.comparing.resampling import Spread
from analysis.comparing.systems import Read, System
from analysis.records import model_names, score
from upstream.door import tasks
from upstream.suite import roots

LEVEL = 0.05
PERCENT = 100.0  # all that can be compared are fractions
SPEAKERS, ITEMS = "speakers", "items"
MCNEMAR, PAIRS = "McNemar", "matched pairs"
ONE_SEED = (
    "One head seed: what is shown is of these heads, not of their encoders, since nobody knows how "
    "far heads scatter; `mt4ssl superb run --seeds 3` counts that, too."
)


@dataclass(frozen=True)
class Finding:
    """Two systems in one score, in percent.

    ``gain``: by how much the first is better, with its 95 % interval ``low`` to ``high``. ``p``:
    the largest of those of all ``tests``; ``corrected`` by Holm for all findings.
    """

    task: str
    metric: str
    direction: str
    first: float
    second: float
    gain: float
    low: float
    high: float
    p: float
    tests: dict[str, float]
    items: int
    speakers: int | None
    seeds: tuple[int, int]
    deviations: tuple[float | None, float | None]
    corrected: float = 1.0

    @property
    def differs(self) -> bool:
        """Whether a difference is shown."""
        return self.corrected < LEVEL

    @property
    def one_seed(self) -> bool:
        """Whether one side has a single head, so that nothing is known of the scatter of heads."""
        return 1 in self.seeds


@dataclass(frozen=True)
class Comparison:
    """Two systems in all their scores."""

    first: str
    second: str
    findings: list[Finding]
    notes: list[str] = field(default_factory=list)


def compare(
    first: str | Path,
    second: str | Path,
    asked: str = roots.ALL,
    force: bool = False,
    names: Sequence[str] = (),
) -> Comparison:
    """Compare the systems of two run folders.

    Args:
        first: what ``--out`` of `mt4ssl superb run` was.
        second: likewise.
        asked: tasks, ``pr,ks``; all that both have.
        force: smoke runs, too.
        names: what the systems are called, instead of their folders.

    Raises:
        ValueError: what `systems` refuses, or tests on other items.
    """
    called = model_names.given(names, 2)
    one, other = systems.read(first, called[0]), systems.read(second, called[1])
    if one.name == other.name:
        one, other = (replace(system, name=str(system.folder)) for system in (one, other))
    kept, notes = systems.pick(one, other, asked)
    notes += systems.check(one, other, kept, force)
    found = [finding for task in kept for finding in _of_task(one, other, task)]
    if not found:
        raise ValueError(
            f"{one.folder} and {other.folder}: no score of {', '.join(kept)} is in both; test both "
            "with `mt4ssl superb run`"
        )
    corrected = paired_tests.holm([finding.p for finding in found])
    found = [replace(f, corrected=p) for f, p in zip(found, corrected, strict=True)]
    notes += [ONE_SEED] if any(finding.one_seed for finding in found) else []
    return Comparison(one.name, other.name, found, notes)


def _of_task(one: System, other: System, task: str) -> list[Finding]:
    found = []
    for metric in score.metrics_of(task):
        if task == "sd" and metric["name"] != "der":
            continue
        mine = systems.outcome(one, task, metric)
        beside = systems.outcome(other, task, metric)
        if mine is not None and beside is not None:
            _same_items(one, other, task, mine, beside)
            found.append(_finding(task, metric, mine, beside))
    return found


def _same_items(one: System, other: System, task: str, mine: Read, beside: Read) -> None:
    ours, theirs = ([*zip(read.folds, read.names, strict=True)] for read in (mine, beside))
    if ours != theirs:
        odd = sorted({*ours} ^ {*theirs})
        raise ValueError(
            f"{one.folder} and {other.folder}: {task}: {len(odd)} items were tested in one of them "
            f"only, such as {odd[0][1]}; test both on the same, or leave it out with --tasks"
        )
    if mine.truth != beside.truth:
        at = next(
            n for n, (a, b) in enumerate(zip(mine.truth, beside.truth, strict=True)) if a != b
        )
        raise ValueError(
            f"{one.folder} and {other.folder}: {task}: {mine.names[at]} is {mine.truth[at]!r:.60} "
            f"in one and {beside.truth[at]!r:.60} in the other; test both on the same corpus, or "
            "leave it out with --tasks"
        )


def _finding(task: str, metric: dict[str, Any], mine: Read, beside: Read) -> Finding:
    alone = [(at,) for at in range(len(mine.names))]
    who = _numbered(mine.speakers)
    spreads: dict[str, Spread] = {}
    for over, units in ((ITEMS, alone), (SPEAKERS, who)):
        found = resampling.spread(mine.outcome, beside.outcome, units) if units else None
        spreads |= {over: found} if found else {}
    if not spreads:
        raise ValueError(
            f"{task}: {len(alone)} item(s), too few to draw from again; test both on more, or "
            "leave it out with --tasks"
        )
    tests = {f"bootstrap over {over}": spread.p for over, spread in spreads.items()}
    tests |= _paired(mine, beside)
    sign = PERCENT if metric["direction"] == "max" else -PERCENT
    widest = max(spreads.values(), key=lambda each: each.high - each.low)
    low, high = sorted((sign * widest.low, sign * widest.high))
    one = np.ones((1, len(mine.names)))
    first, second = (read.outcome.score(one)[0] * PERCENT for read in (mine, beside))
    return Finding(
        task, score.spoken(metric["name"], tasks.stage_of(metric)), metric["direction"],
        float(first.mean()), float(second.mean()),
        sign * resampling.difference(mine.outcome, beside.outcome), low, high,
        max(tests.values()), tests, len(mine.names),
        spreads[SPEAKERS].units if SPEAKERS in spreads else None,
        (len(first), len(second)), (_deviation(first), _deviation(second)),
    )  # fmt: skip


def _deviation(scores: np.ndarray) -> float | None:
    return float(scores.std(ddof=1)) if len(scores) > 1 else None


def _numbered(speakers: Sequence[tuple[str, ...]] | None) -> list[tuple[int, ...]]:
    if speakers is None:
        return []
    known = {name: at for at, name in enumerate(sorted({s for each in speakers for s in each}))}
    return [tuple(known[name] for name in each) for each in speakers]


def _paired(mine: Read, beside: Read) -> dict[str, float]:
    """Return the test of pairs that fits a score, by its name; none fits the equal error rate."""
    first, second = mine.outcome, beside.outcome
    if first.sizes is None:
        return {}
    ours, theirs = first.values.mean(0), second.values.mean(0)
    if {0.0, 1.0} >= {*np.unique(ours), *np.unique(theirs)} and (first.sizes == 1).all():
        return {MCNEMAR: paired_tests.mcnemar(ours, theirs)}
    return {PAIRS: paired_tests.matched_pairs(ours, theirs)}
