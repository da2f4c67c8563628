"""analysis/labelled_speech/alignments.py: the record, to frame labels."""

from itertools import pairwise

import numpy as np
import pytest

from analysis.labelled_speech import alignments
from analysis.labelled_speech.alignments import PHONES, Alignment, Interval
from mt4ssl_core.settings.frames import num_frames


def of(*rows, duration=None, tier=PHONES):
    return Alignment("utt", {tier: tuple(Interval(*row) for row in rows)}, duration, "file")


def test_overlapping_labels_are_kept_and_frames_that_two_claim_have_none():
    two = of((0.0, 0.2, "a"), (0.1, 0.3, "b"), (0.12, 0.15, "b"), (0.3, 0.4, "a"))
    assert two.overlap(PHONES) == pytest.approx(0.1) and two.overlap("words") == 0
    assert of((0.1, 0.2, "a"), (0.2, 0.3, "b")).overlap(PHONES) == 0
    assert [label for label, *_ in alignments.segments(two, PHONES, 6400)] == ["a", "b", "b", "a"]
    found = alignments.frame_labels(two, PHONES, 6400).tolist()
    assert found == ["a"] * 5 + [""] * 5 + ["b"] * 5 + ["a"] * 4
    same = of((0.0, 0.2, "a"), (0.1, 0.3, "a"))
    assert set(alignments.frame_labels(same, PHONES, 4800)) == {"a"}
    silent = alignments.frame_labels(of((0.0, 0.3, "sil"), (0.1, 0.2, "a")), PHONES, 4800, ("sil",))
    assert set(silent) == {""}


def test_intervals_outside_the_audio():
    with pytest.raises(ValueError, match=r"ends at 0.900 s, but the file says 0.800 s of audio"):
        of((0.5, 0.9, "b"), duration=0.8)
    of((0.5, 0.82, "b"), duration=0.8)
    for start, end in ((-0.1, 0.1), (0.2, 0.2), (0.2, 0.1), (0.1, 1e308), (np.nan, 0.1)):
        with pytest.raises(ValueError, match="expected 0 <= start < end; correct the file"):
            of((start, end, "a"))


def test_unknown_tier():
    match = r"file: utt: no tier 'phone'; did you mean 'phones'\? choose from 'phones'"
    with pytest.raises(ValueError, match=match):
        of((0, 1, "a")).tier("phone")


def test_frame_centres():
    np.testing.assert_array_equal(alignments.frame_centres(400), [0.0125])
    np.testing.assert_allclose(alignments.frame_centres(1040), [0.0125, 0.0325, 0.0525], rtol=1e-15)
    for size in (0, 399, 400, 719, 720, 16000):
        assert len(alignments.frame_centres(size)) == num_frames(size)


def test_frame_labels_are_those_of_brute_force():
    rng = np.random.default_rng(0)
    for _ in range(50):
        times = np.sort(rng.choice(40_000, 20, replace=False)) / 16_000
        rows = [
            (float(a), float(b), f"l{i}")
            for i, (a, b) in enumerate(pairwise(times))
            if rng.random() < 0.8
        ]
        found = alignments.frame_labels(of(*rows), PHONES, 40_000)
        for frame, label in enumerate(found):
            centre = (frame * 320 + 200) / 16_000
            there = [name for start, end, name in rows if start <= centre < end]
            assert label == (there[0] if there else "")
        cut = alignments.segments(of(*rows), PHONES, 40_000)
        assert [label for label, _, _ in cut] == [name for _, _, name in rows]
        for label, first, stop in cut:
            assert set(found[first:stop]) <= {label}
            assert (found == label).sum() == stop - first


def test_frame_labels_at_boundaries():
    """A centre on a boundary belongs to what begins there; frames are 20 ms."""
    one = of((0.0125, 0.0325, "a"), (0.0325, 0.05, "b"), (0.06, 0.061, "short"), (0.0725, 0.1, "c"))
    found = alignments.frame_labels(one, PHONES, 1680)  # centres 12.5, 32.5, 52.5, 72.5, 92.5 ms
    assert found.tolist() == ["a", "b", "", "c", "c"]
    left = alignments.frame_labels(one, PHONES, 1680, leave_out={"c"})
    assert left.tolist() == ["a", "b", "", "", ""]
    assert alignments.segments(one, PHONES, 1680)[2] == ("short", 3, 3)
    assert alignments.frame_labels(one, PHONES, 1680).dtype.kind == "U"


def test_alignments_of_other_audio():
    stated, open_ended = of((0.1, 0.5, "a"), duration=1.0), of((0.1, 1.0, "a"))
    for seconds in (0.97, 1.03):
        assert len(alignments.frame_labels(stated, PHONES, round(seconds * 16_000)))
    assert len(alignments.frame_labels(open_ended, PHONES, 15_500))
    match = r"file: utt: tier phones is of 1.000 s of audio, but the audio has 1.100 s \(17600 sam"
    with pytest.raises(ValueError, match=match):
        alignments.frame_labels(stated, PHONES, 17_600)
    with pytest.raises(ValueError, match=r"is of 1.000 s of audio, but the audio has 0.900 s"):
        alignments.frame_labels(stated, PHONES, 14_400)
    with pytest.raises(ValueError, match=r"ends at 1.000 s, but the audio has 0.900 s"):
        alignments.frame_labels(open_ended, PHONES, 14_400)
    assert len(alignments.frame_labels(stated, PHONES, 17_600, tolerance=0.2)) == 54
    assert len(alignments.frame_labels(open_ended, PHONES, 32_000)) == 99  # may be silent after


def test_unstressed():
    labels = ["ˈæ", "ˌoʊ", "t", "AE1", "SH", "\u02c8", "T1", "_"]
    bare = ["æ", "oʊ", "t", "AE", "SH", "\u02c8", "T1", "_"]
    assert [alignments.unstressed(label) for label in labels] == bare


def test_match():
    def named(*ids):
        return {id: Alignment(id, {}, None, "file") for id in ids}

    for there, asked in (
        ("84-1", "dev/84/84-1.flac"),
        ("84/84-1", "dev/84/84-1.flac"),
        ("pr/dev/84/84-1", "84/84-1.wav"),
        ("u.2", "u.2"),
        ("u.2", "x/u.2.wav"),
        ("84/U1", "dev/84/u1.WAV"),
    ):
        found = alignments.match(named("84-0", there, "x/84-2"), [asked])
        assert {id: one.id for id, one in found.items()} == {asked: there}
    two = named("yes/u1", "no/u1")
    assert alignments.match(two, ["a/no/u1.wav"])["a/no/u1.wav"].id == "no/u1"
    assert alignments.match(named("u1", "no/u1"), ["no/u1"])["no/u1"].id == "no/u1"
    with pytest.raises(ValueError, match=r"u1.wav: 2 alignments \(yes/u1, no/u1\) among 2; name"):
        alignments.match(two, ["u1.wav"])
    with pytest.raises(ValueError, match=r"maybe/u1.wav: no alignment among 2 such as yes/u1, no"):
        alignments.match(two, ["maybe/u1.wav"])
    with pytest.raises(ValueError, match=r"u7: no alignment among 2 such as yes/u1, no/u1; name"):
        alignments.match(two, ["u7"])
    assert list(alignments.match(two, ["u7", "no/u1"])) == ["no/u1"]
