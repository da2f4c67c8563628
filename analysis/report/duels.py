"""A model against others in the scores of a table: which differences are shown."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from analysis.comparing import comparison, paired_tests, telling
from analysis.comparing.comparison import Finding
from analysis.records import superb_score
from analysis.tables.leaderboard import ScoreTable, key_of

BETTER, WORSE, ALIKE, UNTESTED = "better", "worse", "no difference shown", "not tested"


@dataclass(frozen=True)
class Duel:
    """A model against another in one score, ``KS acc``; without a finding it was not tested."""

    name: str
    model: str
    other: str
    finding: Finding | None
    why: str = ""

    @property
    def verdict(self) -> str:
        """One of BETTER, WORSE, ALIKE and UNTESTED."""
        if self.finding is None:
            return UNTESTED
        if not self.finding.differs:
            return ALIKE
        return BETTER if self.finding.gain > 0 else WORSE

    @property
    def sentence(self) -> str:
        """What is known of it."""
        if self.finding is None:
            return f"against {self.other}: {self.name}: {UNTESTED}: {self.why}"
        return f"against {self.other}: {telling.sentence(self.finding, self.model, self.other)}"


def fight(table: ScoreTable, model: str, others: Collection[str]) -> list[Duel]:
    """Test a model against others in each score, as `mt4ssl superb compare` does.

    Holm's correction counts all of them.
    """
    found: list[Duel] = []
    tested = cache(_tested)  # the scores of one task are tested together
    for column in table.columns:
        scores = {score.model: score for score in table.scores if key_of(score) == column.key}
        name = f"{superb_score.name_of(column.task)} {column.head[:-2]}"
        for other in (other for other in others if {model, other} <= scores.keys()):
            mine, beside = scores[model], scores[other]
            findings, why = tested(mine.folder, beside.folder, mine.task)
            found.append(Duel(name, model, other, findings.get(column.key), why))
    corrected = iter(paired_tests.holm([duel.finding.p for duel in found if duel.finding]))
    return [
        replace(duel, finding=replace(duel.finding, corrected=next(corrected)))
        if duel.finding
        else duel
        for duel in found
    ]


def _tested(mine: Path, other: Path, task: str) -> tuple[dict[str, Finding], str]:
    """Return what the tests of two systems say of a task's scores, and why not of the others."""
    try:
        compared = comparison.compare(mine, other, task)
    except ValueError as error:
        return {}, str(error)
    findings = {f"{each.task}/{each.metric}": each for each in compared.findings}
    return findings, "nothing is kept of its single utterances"


def together(duels: Sequence[Duel]) -> dict[str, str]:
    """Return the verdict on each score against several others: BETTER than every one, or WORSE
    than one.
    """
    verdicts: dict[str, set[str]] = {}
    for duel in duels:
        verdicts.setdefault(duel.name, set()).add(duel.verdict)
    order = (WORSE, UNTESTED, ALIKE, BETTER)
    return {name: next(v for v in order if v in found) for name, found in verdicts.items()}
