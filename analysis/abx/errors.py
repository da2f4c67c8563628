"""ABX: is X nearer to A, of its own phone, than to B, of another one? (ZeroSpeech)

A, B and X have the same phones before and after. Within speakers all three are of one; across, X is
of another speaker than A and B. An error is a B that is nearer; half a one, as near. Errors are
averaged over contexts (and speakers of X), then over speakers of A and B, then over phone pairs.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.abx import dtw
from analysis.abx.distances import DISTANCES
from analysis.abx.items import Stretch

WITHIN, ACROSS = "abx_within", "abx_across"
MOST_ALIKE = 10  # of A, B and X each, as in ZeroSpeech
MOST_SPEAKERS = 5  # of X for each A and B


@dataclass(frozen=True)
class Cell:
    """All comparisons of one phone with others, in one context: indices of stretches.

    ``b_phones``: the phone of each b. Within a speaker x is a.
    """

    a: np.ndarray  # (A,)
    b: np.ndarray  # (B,)
    x: np.ndarray  # (X,)
    phone: str
    b_phones: np.ndarray  # (B,) of str
    speaker: str  # of A and B

    @property
    def alike(self) -> bool:
        """Whether x is a."""
        return self.a is self.x


@dataclass(frozen=True)
class Abx:
    """What came out: ``errors`` has a row per pair of phones and speaker (columns phone, other,
    speaker, error), averaged over contexts; ``count``: comparisons.
    """

    errors: pd.DataFrame
    count: int

    def rate(self) -> float:
        """The error: the mean over pairs of phones of the mean over speakers."""
        return float(self.errors.groupby(["phone", "other"])["error"].mean().mean())

    def by_speaker(self) -> tuple[Callable[[np.ndarray], float], int]:
        """The error as a function of how often each speaker counts, (S,), and S."""
        table = self.errors.pivot(index=["phone", "other"], columns="speaker", values="error")
        values = table.to_numpy()  # (pairs, S)
        known = ~np.isnan(values)

        def rate(drawn: np.ndarray) -> float:
            weights = known @ drawn
            means = (np.where(known, values, 0.0) @ drawn)[weights > 0] / weights[weights > 0]
            return float(means.mean()) if len(means) else float("nan")

        return rate, values.shape[1]


def cells_within(stretches: Sequence[Stretch], most: int | None, seed: int) -> Iterator[Cell]:
    """Yield the cells of one speaker each; up to ``most`` stretches of a phone in a context."""
    groups = _grouped(stretches, most, seed)
    for speakers in groups.values():
        for speaker, phones in speakers.items():
            for phone, a in phones.items():
                others = [name for name in phones if name != phone]
                if len(a) > 1 and others:
                    yield _cell(a, a, phones, phone, others, speaker)


def cells_across(
    stretches: Sequence[Stretch], most: int | None, seed: int, most_x: int | None = MOST_SPEAKERS
) -> Iterator[Cell]:
    """Yield the cells with X of another speaker, up to ``most_x`` of them for each A."""
    random = np.random.default_rng(seed)
    for speakers in _grouped(stretches, most, seed).values():
        for speaker, phones in speakers.items():
            for phone, a in phones.items():
                others = [name for name in phones if name != phone]
                theirs = [name for name in speakers if name != speaker and phone in speakers[name]]
                if most_x is not None and len(theirs) > most_x:
                    theirs = random.permutation(theirs)[:most_x].tolist()
                for other in theirs if others else ():
                    yield _cell(a, speakers[other][phone], phones, phone, others, speaker)


def score(
    frames: np.ndarray,
    offsets: np.ndarray,
    stretches: Sequence[Stretch],
    cells: Sequence[Cell],
    distance: str = DISTANCES[0],
) -> Abx:
    """Compare stretches of all frames (N, D); ``offsets`` (S,): where each one's utterance begins.

    There has to be a cell.
    """
    assert cells
    first = np.array([item.first for item in stretches])
    lengths = np.array([item.stop for item in stretches]) - first
    size = len(stretches)
    keys = np.unique(np.concatenate([_keys(cell, size) for cell in cells]))
    pairs = np.stack(np.divmod(keys, size), 1)
    found = dtw.pair_distances(dtw.unit_frames(frames), offsets + first, lengths, pairs, distance)
    parts, count = [], 0
    for cell in cells:
        wanted = np.searchsorted(keys, _keys(cell, size))
        near = found[wanted].reshape(len(cell.x), -1)  # (X, A + B)
        errors, used = _errors(cell, near[:, : len(cell.a)], near[:, len(cell.a) :])
        others, ids = np.unique(cell.b_phones, return_inverse=True)
        means = np.bincount(ids, errors) / np.bincount(ids)
        parts += [(cell.phone, o, cell.speaker, e) for o, e in zip(others, means, strict=True)]
        count += used
    table = pd.DataFrame(parts, columns=["phone", "other", "speaker", "error"])
    return Abx(table.groupby(["phone", "other", "speaker"], as_index=False).mean(), count)


def _errors(cell: Cell, to_a: np.ndarray, to_b: np.ndarray) -> tuple[np.ndarray, int]:
    """Share of wrong answers for each b (B,), and how many there were."""
    wrong = (1 + np.sign(to_a[:, :, None] - to_b[:, None])) / 2  # (X, A, B)
    compared = len(cell.x) * len(cell.a)
    if cell.alike:
        wrong[np.arange(len(cell.x)), np.arange(len(cell.a))] = 0  # X with itself
        compared -= len(cell.a)
    return wrong.sum((0, 1)) / compared, compared * len(cell.b)


def _keys(cell: Cell, size: int) -> np.ndarray:
    """A number for each pair of an x with an a or b, by x: the same one either way round."""
    one = np.repeat(cell.x, len(cell.a) + len(cell.b))
    other = np.tile(np.concatenate([cell.a, cell.b]), len(cell.x))
    return np.minimum(one, other) * size + np.maximum(one, other)


Group = dict[str, dict[str, np.ndarray]]  # speaker -> phone -> stretches


def _cell(
    a: np.ndarray, x: np.ndarray, phones: dict[str, np.ndarray], phone: str, others: list[str],
    speaker: str,
) -> Cell:  # fmt: skip
    names = np.repeat(np.array(others), [len(phones[name]) for name in others])
    return Cell(a, np.concatenate([phones[name] for name in others]), x, phone, names, speaker)


def _grouped(
    stretches: Sequence[Stretch], most: int | None, seed: int
) -> dict[tuple[str, str], Group]:
    """Stretches by context, speaker and phone; of one phone up to ``most``, drawn at random."""
    found: dict[tuple[str, str], dict[str, dict[str, list[int]]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(list))
    )
    for number, item in enumerate(stretches):
        found[item.context][item.speaker][item.phone].append(number)
    random = np.random.default_rng(seed)
    return {
        context: {
            speaker: {phone: _drawn(numbers, most, random) for phone, numbers in phones.items()}
            for speaker, phones in speakers.items()
        }
        for context, speakers in found.items()
    }


def _drawn(numbers: list[int], most: int | None, random: np.random.Generator) -> np.ndarray:
    all_of_them = np.array(numbers)
    if most is None or len(numbers) <= most:
        return all_of_them
    return np.sort(random.permutation(all_of_them)[:most])
