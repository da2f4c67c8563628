"""ABX against loops that do what its definition says, one triple at a time."""

import itertools
import math

import numpy as np
import pytest
import torch

from analysis.abx import dtw
from analysis.abx import errors as abx
from analysis.abx.items import Stretch, frames_between


def angle(one, other):
    cosine = one @ other / (np.linalg.norm(one) * np.linalg.norm(other))
    return math.acos(min(1.0, max(-1.0, cosine)))


def warped(first, second, cost):
    """The definition: the cheapest path, found from all of them, over its length."""
    best = {(0, 0): (cost(first[0], second[0]), 1)}
    for i, j in itertools.product(range(len(first)), range(len(second))):
        ways = [best[p] for p in ((i - 1, j - 1), (i, j - 1), (i - 1, j)) if p in best]
        if ways:
            before = min(ways, key=lambda way: way[0])
            best[i, j] = (before[0] + cost(first[i], second[j]), before[1] + 1)
    total, steps = best[len(first) - 1, len(second) - 1]
    return total / steps


def by_hand(frames, stretches, across):
    """The mean over contexts and speakers of X, then over speakers, then over pairs of phones."""
    parts = [frames[item.first : item.stop].astype(np.float64) for item in stretches]
    near = {}

    def distance(i, j):
        key = min(i, j), max(i, j)
        if key not in near:
            near[key] = warped(parts[key[0]], parts[key[1]], angle)
        return near[key]

    cells = {}
    for (x, of_x), (a, of_a), (b, of_b) in itertools.product(enumerate(stretches), repeat=3):
        one_context = of_x.context == of_a.context == of_b.context
        speakers = of_a.speaker == of_b.speaker and (of_x.speaker != of_a.speaker) == across
        if x != a and one_context and speakers and of_x.phone == of_a.phone != of_b.phone:
            key = of_a.phone, of_b.phone, of_a.speaker, of_a.context, of_x.speaker
            wrong = np.sign(distance(x, a) - distance(x, b)) / 2 + 0.5
            cells.setdefault(key, []).append(wrong)
    for size in (3, 2, 0):  # contexts and speakers of X, speakers, pairs of phones
        merged = {}
        for key, values in cells.items():
            merged.setdefault(key[:size], []).append(np.mean(values))
        cells = merged
    return float(np.mean(cells[()]))


@pytest.fixture
def speech():
    """Stretches of 1 to 6 frames: 3 phones, 2 contexts, 3 speakers; some frames are alike."""
    random = np.random.default_rng(0)
    kinds = itertools.product("abc", [("l", "r"), ("r", "l")], ["s1", "s2", "s3"])
    stretches, place = [], 0
    for number, (phone, context, speaker) in enumerate(kinds):
        for _ in range(1 + number % 3):
            length = int(random.integers(1, 7))
            stretches.append(Stretch(place, place + length, phone, context, speaker))
            place += length
    frames = random.normal(size=(place, 5)).astype(np.float32)
    for item in stretches:
        frames[item.first : item.stop] += ord(item.phone) - ord("a")
    return frames, stretches


def scored(frames, stretches, across, **more):
    make = abx.cells_across if across else abx.cells_within
    cells = list(make(stretches, None, 0, **({"most_x": None} if across else {})))
    return abx.score(frames, np.zeros(len(stretches), int), stretches, cells, **more)


@pytest.mark.parametrize("across", [False, True])
def test_equals_the_definition(speech, across):
    found = scored(*speech, across)
    assert found.rate() == pytest.approx(by_hand(*speech, across), abs=1e-6)
    rate, speakers = found.by_speaker()
    assert rate(np.ones(speakers)) == pytest.approx(found.rate())
    assert 0 <= rate(np.arange(speakers)) <= 1


def test_distances_of_pairs_equal_the_definition(speech):
    frames, stretches = speech
    starts = np.array([item.first for item in stretches])
    lengths = np.array([item.stop for item in stretches]) - starts
    pairs = np.array(list(itertools.combinations(range(len(stretches)), 2)))
    units = dtw.unit_frames(frames)
    for name, cost in (
        ("angular", lambda a, b: angle(a, b) / math.pi),
        ("cosine", lambda a, b: 1 - math.cos(angle(a, b))),
    ):
        found = dtw.pair_distances(units, starts, lengths, pairs, name)
        for (one, other), value in zip(pairs.tolist(), found, strict=True):
            parts = (frames[stretches[n].first : stretches[n].stop] for n in (one, other))
            wanted = warped(*(part.astype(np.float64) for part in parts), cost)
            assert value == pytest.approx(wanted, abs=2e-4), (one, other)  # of acos near 0


def test_a_path_goes_by_both_sides_where_that_costs_the_same():
    ones = torch.ones(3, 4, 1)
    assert dtw.warp(ones, torch.tensor([4])).item() == 1
    assert dtw.warp(ones * torch.tensor([1.0, 2]), torch.tensor([4, 2])).tolist() == [1, 2]


def test_perfect_features_have_no_error_and_alike_ones_half():
    stretches = [
        Stretch(n, n + 1, "ab"[n % 2], ("l", "r"), f"s{n // 4}") for n in range(8)
    ]  # two of each phone and speaker
    frames = np.eye(2, dtype=np.float32)[np.arange(8) % 2]
    for across in (False, True):
        assert scored(frames, stretches, across).rate() == 0
        assert scored(np.ones_like(frames), stretches, across).rate() == 0.5
        wrong = frames[::-1].copy()
        wrong[:4] = frames[:4]
        assert scored(wrong, stretches, across).rate() == (1.0 if across else 0.0)


def test_few_of_a_kind_are_drawn_and_always_the_same():
    stretches = [Stretch(n, n + 1, "ab"[n % 2], ("l", "r"), "s") for n in range(100)]
    first, again = ([c.a.tolist() for c in abx.cells_within(stretches, 10, 3)] for _ in range(2))
    assert first == again and [len(a) for a in first] == [10, 10]
    other = [c.a.tolist() for c in abx.cells_within(stretches, 10, 4)]
    assert first != other


def test_frames_of_a_stretch_are_those_of_zerospeech():
    assert frames_between(0.0, 0.1) == (0, 5)
    assert frames_between(0.01, 0.03) == (0, 2)  # centres at both ends
    assert frames_between(0.011, 0.029) == (1, 1)
    assert frames_between(0.29, 0.31) == (14, 16)  # 0.29 x 50 is below 14.5 in floating point
