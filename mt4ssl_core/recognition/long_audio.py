"""Audio of any length in pieces that an encoder can take, cut where it is quiet.

A piece is encoded with a second more on both sides, whose frames are then dropped, so that no
sound is heard without what is around it. The frames of all pieces are those of the whole.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mt4ssl_core.config import SAMPLE_RATE
from mt4ssl_core.data.vocabulary import Vocabulary
from mt4ssl_core.search.hypothesis import separator_of

LONGEST = 36.0  # seconds that are encoded at once; no utterance of LibriSpeech is longer
CONTEXT = 1.0  # seconds on both sides of a piece
_QUIET = 0.2  # seconds over which loudness is a mean


@dataclass(frozen=True)
class Piece:
    """Samples ``first`` to ``last`` are encoded; the frames from ``begin`` to ``end`` are kept."""

    first: int
    begin: int
    end: int
    last: int

    def kept(self, hop: int) -> slice:
        """Return which of the encoded frames are kept."""
        return slice((self.begin - self.first) // hop, (self.end - self.first) // hop)


def pieces(wave: np.ndarray, hop: int, longest: float = LONGEST) -> list[Piece]:
    """Cut a waveform (N,) at 16 kHz; one of at most ``longest`` seconds stays whole.

    Args:
        wave: the samples.
        hop: samples from one frame to the next; cuts are at multiples of it.
        longest: seconds of a piece with its context; more than two contexts.
    """
    samples, context = len(wave), round(CONTEXT * SAMPLE_RATE) // hop * hop
    if samples <= longest * SAMPLE_RATE:
        return [Piece(0, 0, samples + hop, samples)]
    most = round((longest - 2 * CONTEXT) * SAMPLE_RATE) // hop * hop
    loudness = _loudness(wave, hop)
    cuts = [0]
    while samples - cuts[-1] > most:
        low, high = (cuts[-1] + most // 2) // hop, (cuts[-1] + most) // hop
        cuts.append((low + int(loudness[low:high].argmin())) * hop)
    ends = [*cuts[1:], samples + hop]
    return [
        Piece(max(0, begin - context), begin, end, min(samples, end + context))
        for begin, end in zip(cuts, ends, strict=True)
    ]


def _loudness(wave: np.ndarray, hop: int) -> np.ndarray:
    """The mean square around every multiple of ``hop``."""
    energy = np.add.reduceat(np.square(wave, dtype=np.float64), np.arange(0, len(wave), hop))
    width = max(1, round(_QUIET * SAMPLE_RATE / hop))
    return np.convolve(energy, np.ones(width), mode="same")


def stretches(
    log_probs: np.ndarray, vocabulary: Vocabulary, frames: int
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield parts of log probabilities (T, V), of at most ``frames``, each with its first frame.

    They are parted after the frame that most probably lies between words: a search's memory grows
    with what it searches.
    """
    separator = separator_of(vocabulary)
    token, begin = vocabulary.blank if separator is None else separator, 0
    while len(log_probs) - begin > frames:
        low = begin + frames // 2
        cut = low + int(log_probs[low : begin + frames, token].argmax()) + 1
        yield begin, log_probs[begin:cut]
        begin = cut
    yield begin, log_probs[begin:]
