"""Who spoke when: error rates known in closed form, turns from frames, RTTM files."""

import math

import numpy as np
import pytest

from upstream.corpora.rttm import read_rttm, rttm_lines
from upstream.scores.diarization import NONE, errors, turns_of


@pytest.mark.parametrize(
    ("reference", "hypothesis", "expected"),  # (scored, missed, false alarm, confused)
    [
        ([("a", 0, 10)], [("x", 0, 10)], (10, 0, 0, 0)),
        ([("a", 0, 10)], [], (10, 10, 0, 0)),
        ([], [("x", 2, 5)], (0, 0, 3, 0)),
        ([("a", 0, 10)], [("x", 5, 12)], (10, 5, 2, 0)),
        # two hypothesised speakers for one person: the longer one is right, the other confused
        ([("a", 0, 10)], [("x", 0, 7), ("y", 7, 10)], (10, 0, 0, 3)),
        # names do not matter, order does not matter
        ([("a", 0, 4), ("b", 4, 10)], [("y", 4, 10), ("x", 0, 4)], (10, 0, 0, 0)),
        # one speaker always, with the others' speech: only the longer one is right
        ([("a", 0, 4), ("b", 4, 10)], [("x", 0, 10)], (10, 0, 0, 4)),
        # overlap counts once per speaker
        ([("a", 0, 6), ("b", 4, 10)], [("x", 0, 10)], (12, 2, 0, 4)),
        ([("a", 0, 6), ("b", 4, 10)], [("x", 0, 6), ("y", 4, 10)], (12, 0, 0, 0)),
        # one person in two overlapping turns is one person
        ([("a", 0, 6), ("a", 4, 10)], [("x", 0, 10)], (10, 0, 0, 0)),
        # the assignment is the best of all: greedily, x would take a and leave y with nothing
        (
            [("a", 0, 5), ("b", 5, 9), ("a", 10, 14)],
            [("x", 0, 9), ("y", 10, 14)],
            (13, 0, 0, 5),
        ),
    ],
)
def test_errors_in_closed_form(reference, hypothesis, expected):
    found = errors(reference, hypothesis)
    assert (found.scored, found.missed, found.false_alarm, found.confused) == expected
    wrong = sum(expected[1:])
    assert math.isclose(found.rate, wrong / expected[0]) if expected[0] else math.isnan(found.rate)


def test_errors_agree_with_counting_hundredths_of_seconds():
    """Another way to the same numbers: boolean arrays at 10 ms, and both assignments tried."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        sides = []
        for names in ("ab", "xy"):
            starts = rng.integers(0, 1000, 5)
            lengths = rng.integers(1, 400, 5)
            who = [names[k] for k in rng.integers(0, 2, 5)]
            sides.append(list(zip(who, starts, starts + lengths, strict=True)))
        grids = []
        for names, turns in zip(("ab", "xy"), sides, strict=True):
            grid = np.zeros((2, 1500), bool)
            for speaker, start, end in turns:
                grid[names.index(speaker), start:end] = True
            grids.append(grid)
        theirs, ours = grids
        correct = max((theirs & ours).sum(), (theirs & ours[::-1]).sum())
        spoken, claimed = theirs.sum(0), ours.sum(0)
        expected = np.array(
            [
                spoken.sum(),
                np.maximum(spoken - claimed, 0).sum(),
                np.maximum(claimed - spoken, 0).sum(),
                np.minimum(spoken, claimed).sum() - correct,
            ]
        )
        seconds = [[(who, s / 100, e / 100) for who, s, e in turns] for turns in sides]
        found = errors(*seconds)
        got = [found.scored, found.missed, found.false_alarm, found.confused]
        np.testing.assert_allclose(got, expected / 100, atol=1e-9)


def test_errors_of_several_recordings_are_summed():
    first, second = errors([("a", 0, 10)], [("x", 0, 9)]), errors([("a", 0, 30)], [])
    assert math.isclose((first + second).rate, 31 / 40)
    assert NONE + first == first


def test_turns_of_frames():
    speech = np.array([[0.9, 0.1]] * 3 + [[0.4, 0.8]] * 2 + [[0.1, 0.8]])  # (6 frames, 2 speakers)
    assert turns_of(speech, 0.5, 1, 0.02) == [("0", 0.0, 0.06), ("1", 0.06, 0.12)]
    assert turns_of(speech, 0.3, 1, 0.02) == [("0", 0.0, 0.1), ("1", 0.06, 0.12)]
    assert turns_of(np.zeros((4, 2)), 0.5, 1, 0.02) == []


def test_the_median_filter_equals_scipys():
    from scipy.signal import medfilt

    speech = np.random.default_rng(0).random((200, 2))
    filtered = medfilt((speech > 0.5).astype(float), (11, 1))
    assert turns_of(speech, 0.5, 11, 0.01) == turns_of(filtered, 0.5, 1, 0.01)
    assert turns_of(speech, 0.5, 11, 0.01) != turns_of(speech, 0.5, 1, 0.01)


def test_rttm_is_read_as_written(tmp_path):
    turns = [("spk1", 0.5, 2.25), ("spk2", 1.0, 3.0)]
    (tmp_path / "rttm").write_text(";; a comment\n" + "".join(rttm_lines("rec", turns)))
    assert read_rttm(tmp_path / "rttm") == {"rec": turns}


@pytest.mark.parametrize("line", ["SPEAKER rec 1 0.5", "SPEAKER rec 1 half 1 <NA> <NA> a <NA>"])
def test_a_broken_rttm_line_is_named(tmp_path, line):
    (tmp_path / "rttm").write_text(f"{line}\n")
    with pytest.raises(ValueError, match=r"rttm, line 1: expected 'SPEAKER recording.*correct"):
        read_rttm(tmp_path / "rttm")


def test_a_missing_rttm_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"rttm: no such file.*prepare"):
        read_rttm(tmp_path / "rttm")
