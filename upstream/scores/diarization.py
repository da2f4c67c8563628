"""Who spoke when: frame decisions as turns, and the diarization error rate."""

from dataclasses import dataclass

import numpy as np

from upstream.corpora.rttm import Turn


@dataclass(frozen=True)
class Errors:
    """Seconds of speaker time: in the reference, missed, falsely claimed, of the wrong speaker."""

    scored: float
    missed: float
    false_alarm: float
    confused: float

    @property
    def rate(self) -> float:
        """The diarization error rate, a fraction that may exceed 1; NaN without any reference."""
        return self.wrong / self.scored if self.scored else float("nan")

    @property
    def wrong(self) -> float:
        """Seconds in error, of whatever kind."""
        return self.missed + self.false_alarm + self.confused

    def __add__(self, other: "Errors") -> "Errors":
        return Errors(
            self.scored + other.scored,
            self.missed + other.missed,
            self.false_alarm + other.false_alarm,
            self.confused + other.confused,
        )


NONE = Errors(0.0, 0.0, 0.0, 0.0)


def errors(reference: list[Turn], hypothesis: list[Turn]) -> Errors:
    """Compare the turns of one recording, as NIST's md-eval does without collar.

    Overlapped speech counts once per speaker. Each speaker of the hypothesis stands for at most
    one of the reference: the assignment that shares most time.
    """
    from scipy.optimize import linear_sum_assignment

    times = np.unique([time for turn in [*reference, *hypothesis] for time in turn[1:]])
    if len(times) < 2:
        return NONE
    seconds, middles = np.diff(times), (times[1:] + times[:-1]) / 2  # (I,) between two events
    theirs, ours = _active(reference, middles), _active(hypothesis, middles)  # (I, R), (I, H)
    shared = (theirs * seconds[:, None]).T @ ours  # (R, H) seconds
    rows, columns = linear_sum_assignment(-shared)
    correct = float(shared[rows, columns].sum())
    spoken, claimed = theirs.sum(1), ours.sum(1)
    return Errors(
        scored=float(seconds @ spoken),
        missed=float(seconds @ np.maximum(spoken - claimed, 0)),
        false_alarm=float(seconds @ np.maximum(claimed - spoken, 0)),
        confused=float(seconds @ np.minimum(spoken, claimed)) - correct,
    )


def _active(turns: list[Turn], times: np.ndarray) -> np.ndarray:
    """Whether a speaker speaks at a time: (times, speakers) of 0 and 1."""
    speakers = sorted({speaker for speaker, _, _ in turns})
    active = np.zeros((len(times), len(speakers)))
    for speaker, start, end in turns:
        active[(start < times) & (times < end), speakers.index(speaker)] = 1
    return active


def turns_of(speech: np.ndarray, threshold: float, median: int, frame_seconds: float) -> list[Turn]:
    """Return the turns in (frames, speakers) probabilities of speech.

    A frame is speech when most of the ``median`` (odd) frames around it are above ``threshold``;
    beyond the ends there is silence. Start and duration are rounded to 10 ms, as in SUPERB's RTTM.
    """
    above = (speech > threshold).astype(int)
    turns = []
    for speaker, frames in enumerate(above.T):
        if median > 1:
            frames = np.convolve(frames, np.ones(median, int), "same") > median // 2
        changes = np.flatnonzero(np.diff(np.pad(frames.astype(int), 1)))
        for first, last in zip(changes[::2], changes[1::2], strict=True):
            start = round(float(first) * frame_seconds, 2)
            turns.append((str(speaker), start, start + round((last - first) * frame_seconds, 2)))
    return turns
