"""Word and character error rates, what they consist of, and how sure they are.

Counts are jiwer's. A rate of several utterances is all their errors over all their words.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass
from typing import Any

import numpy as np

RESAMPLES, SEED = 2_000, 0
LOW, HIGH = 2.5, 97.5  # percentiles of a 95 % interval


@dataclass(frozen=True)
class Errors:
    """How one text differs from its reference; ``length``: words (or characters) of that."""

    substitutions: int
    deletions: int
    insertions: int
    length: int

    @property
    def total(self) -> int:
        """All errors."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float:
        """Errors per word of the reference; ValueError where it has none."""
        if not self.length:
            raise ValueError("no words in the references; give transcripts that are not empty")
        return self.total / self.length

    def __add__(self, other: "Errors") -> "Errors":
        """Return the sum of both."""
        mine, theirs = astuple(self), astuple(other)
        return Errors(*(a + b for a, b in zip(mine, theirs, strict=True)))

    def record(self) -> dict[str, Any]:
        """Return it as plain values, with its rate."""
        return {**asdict(self), "rate": self.rate}


NONE = Errors(0, 0, 0, 0)


def word_errors(reference: str, hypothesis: str) -> Errors:
    """Count the errors of words, which white space separates."""
    if not reference.split():
        return Errors(0, 0, len(hypothesis.split()), 0)
    return _errors(jiwer().process_words(reference, hypothesis))


def character_errors(reference: str, hypothesis: str) -> Errors:
    """Count the errors of characters, with one space between words."""
    reference, hypothesis = " ".join(reference.split()), " ".join(hypothesis.split())
    if not reference:
        return Errors(0, 0, len(hypothesis), 0)
    return _errors(jiwer().process_characters(reference, hypothesis))


def _errors(found: Any) -> Errors:
    length = found.hits + found.substitutions + found.deletions
    return Errors(found.substitutions, found.deletions, found.insertions, length)


def side_by_side(reference: str, hypothesis: str) -> list[str]:
    """Return both texts with the same words below each other, and below these S, D or I."""
    if not reference.split():
        return [f"REF: {reference}", f"HYP: {hypothesis}"]
    shown = jiwer().visualize_alignment(
        jiwer().process_words(reference, hypothesis), show_measures=False
    )
    return [line.rstrip() for line in shown.splitlines()[1:] if line.strip()]


def jiwer() -> Any:
    """Import jiwer when it is needed.

    Raises:
        ValueError: it is not installed.
    """
    try:
        import jiwer
    except ModuleNotFoundError:
        raise ValueError('word error rates need jiwer; pip install "mt4ssl[asr]"') from None
    return jiwer


def interval(
    errors: Sequence[Errors], groups: Sequence[str], resamples: int = RESAMPLES
) -> tuple[float, float] | None:
    """Return the 95 % bootstrap interval of the rate; None where there is only one group.

    Whole groups (speakers) are drawn with replacement, so that what one speaker's utterances have
    in common counts once. The same input has the same interval.
    """
    sums: dict[str, Errors] = {}
    for error, group in zip(errors, groups, strict=True):
        sums[group] = sums.get(group, NONE) + error
    if len(sums) < 2:
        return None
    wrong = np.array([error.total for error in sums.values()], np.float64)
    words = np.array([error.length for error in sums.values()], np.float64)
    drawn = np.random.default_rng(SEED).multinomial(
        len(sums), np.full(len(sums), 1 / len(sums)), size=resamples
    )  # (resamples, groups): how often each
    lengths = drawn @ words
    rates = (drawn @ wrong)[lengths > 0] / lengths[lengths > 0]
    low, high = np.percentile(rates, [LOW, HIGH])
    return float(low), float(high)


def total(errors: Sequence[Errors]) -> Errors:
    """Return the sum."""
    return sum(errors, NONE)


def summary(kind: Mapping[str, Sequence[Errors]], speakers: Sequence[str | None]) -> dict[str, Any]:
    """Return the records of several kinds of errors, such as wer and cer, with their intervals.

    Intervals are over speakers where all are known, else over utterances; ``over`` says which.
    """
    known = all(speakers) and len(set(speakers)) > 1
    groups = [str(s) for s in speakers] if known else [str(n) for n in range(len(speakers))]
    out: dict[str, Any] = {}
    for name, errors in kind.items():
        found = interval(errors, groups)
        out[name] = {**total(errors).record(), "interval": None if found is None else [*found]}
    over = "speakers" if known else "utterances"
    return {**out, "interval_over": over, "groups": len(set(groups))}
