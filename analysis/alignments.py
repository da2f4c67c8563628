"""When each phone and word was said, as frame labels.

Every reader of `analysis.alignment_files` gives the same record. Its intervals become one label per
encoder frame: frame i covers samples [320 i, 320 i + 400) at 16 kHz, and has the label said at its
centre, sample 320 i + 200.
"""

import difflib
import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np

from mt4ssl_core.audio import SUFFIXES
from mt4ssl_core.config import HOP, SAMPLE_RATE, WINDOW
from mt4ssl_core.mfcc import num_frames

PHONES, WORDS = "phones", "words"  # tiers of CTM, TIMIT and mini_superb; a TextGrid names its own
UNLABELLED = ""  # of a frame where nothing is said, as in a TextGrid
SILENCE = (  # labels that are no phones
    "", "_", "sil", "SIL", "sp", "SP", "spn", "SPN", "h#", "#h", "pau", "epi", "<eps>", "<sil>",
)  # fmt: skip
LENGTH = 0.04  # seconds that an alignment may be longer or shorter than its audio: two frames


class Interval(NamedTuple):
    """A label and when it is said, in seconds."""

    start: float
    end: float
    label: str


@dataclass(frozen=True)
class Alignment:
    """What was said when in one utterance: tier -> intervals, ascending, with gaps between them.

    ``duration``: seconds of the audio, where the file says so. ``source``: the file, for messages.

    Raises:
        ValueError: intervals that end before they begin, overlap, or lie outside the audio.
    """

    id: str
    tiers: Mapping[str, tuple[Interval, ...]]
    duration: float | None
    source: str

    def __post_init__(self) -> None:
        """Check every interval."""
        for name, intervals in self.tiers.items():
            where = f"{self.source}: {self.id}: tier {name}"
            last = Interval(0.0, 0.0, "the start of the audio")
            for item in intervals:
                if not 0 <= item.start < item.end < math.inf:
                    raise ValueError(
                        f"{where}: {_told(item)}, expected 0 <= start < end; correct the file"
                    )
                if item.start < last.end:
                    raise ValueError(
                        f"{where}: {_told(last)} and {_told(item)} overlap by "
                        f"{last.end - item.start:.3f} s, expected one label at a time; correct the "
                        "file, or read it with a larger overlap="
                    )
                last = item
            if self.duration is not None and last.end > self.duration + LENGTH:
                raise ValueError(
                    f"{where}: {_told(last)}, but the file says {self.duration:.3f} s of audio; "
                    "align it again"
                )

    def tier(self, name: str) -> tuple[Interval, ...]:
        """Return the intervals of a tier.

        Raises:
            ValueError: there is none of that name; lists those there are.
        """
        if name not in self.tiers:
            near = difflib.get_close_matches(name, self.tiers, 1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            there = ", ".join(map(repr, self.tiers)) or "none with intervals"
            raise ValueError(
                f"{self.source}: {self.id}: no tier {name!r}; {hint}choose from {there}"
            )
        return self.tiers[name]


def _told(item: Interval) -> str:
    return f"{item.label!r} ({item.start:.3f} to {item.end:.3f} s)"


# --- Frames -------------------------------------------------------------------------------------


def frame_centres(num_samples: int) -> np.ndarray:
    """The time (s) of the centre of each frame of N samples at 16 kHz: (T,), 50 per second."""
    return (np.arange(num_frames(num_samples)) * HOP + WINDOW // 2) / SAMPLE_RATE


def segments(
    alignment: Alignment, tier: str, num_samples: int, tolerance: float = LENGTH
) -> list[tuple[str, int, int]]:
    """Frames of every interval of a tier, as (label, first, stop): centres in [start, end).

    An interval between two centres has none: first == stop. Features (T, D) of a word are
    ``features[first:stop]``.

    Raises:
        ValueError: there is no such tier, or the alignment is not of audio of N samples (16 kHz).
    """
    intervals = alignment.tier(tier)
    seconds = num_samples / SAMPLE_RATE
    end = intervals[-1].end if intervals else 0.0
    said = alignment.duration
    if (said is not None and abs(said - seconds) > tolerance) or end > seconds + tolerance:
        length = f"ends at {end:.3f} s" if said is None else f"is of {said:.3f} s of audio"
        raise ValueError(
            f"{alignment.source}: {alignment.id}: {length}, but the audio has {seconds:.3f} s "
            f"({num_samples} samples at 16 kHz; up to {tolerance:g} s may differ); give the audio "
            "that was aligned, or align this"
        )
    centres = frame_centres(num_samples)
    first = np.searchsorted(centres, [item.start for item in intervals])
    stop = np.searchsorted(centres, [item.end for item in intervals])
    labels = [item.label for item in intervals]
    return list(zip(labels, first.tolist(), stop.tolist(), strict=True))


def frame_labels(
    alignment: Alignment,
    tier: str,
    num_samples: int,
    leave_out: Collection[str] = (),
    tolerance: float = LENGTH,
) -> np.ndarray:
    """One label per frame: (T,) of str, ``UNLABELLED`` in gaps and where it is in ``leave_out``.

    Files differ in how they write silence: TIMIT labels it (h#, pau, epi), a TextGrid leaves it
    empty, mini_superb has "_" for pauses and nothing before and after the speech.

    Raises:
        ValueError: as :func:`segments`.
    """
    labels = np.full(num_frames(num_samples), UNLABELLED, dtype=object)  # (T,)
    for label, first, stop in segments(alignment, tier, num_samples, tolerance):
        if label not in leave_out:
            labels[first:stop] = label
    return labels.astype(str)


def label_ids(labels: Sequence[str] | np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Number labels by their place in ``names``: (T,) int64, -1 for ``UNLABELLED``.

    Raises:
        ValueError: a label that is not in ``names``.
    """
    places = {name: place for place, name in enumerate(names)} | {UNLABELLED: -1}
    unknown = sorted({str(label) for label in labels} - places.keys())
    if unknown:
        raise ValueError(
            f"labels {', '.join(map(repr, unknown[:5]))} are not among the {len(names)} names; "
            "take the names from all utterances, or leave these labels out"
        )
    return np.array([places[str(label)] for label in labels], dtype=np.int64)


def unstressed(label: str) -> str:
    """Drop the stress of an IPA phone (ˈæ) or an ARPAbet vowel (AE1)."""
    bare = re.sub("[\u02c8\u02cc]", "", label) or label
    return bare[:2] if re.fullmatch("[A-Z]{2}[0-2]", bare) else bare


def match(alignments: Mapping[str, Alignment], ids: Iterable[str]) -> dict[str, Alignment]:
    """Find the alignment of each utterance: utterance id -> alignment.

    Ids agree when one is the end of the other, by whole folders and without the suffix of audio:
    "dev/84/84-1.flac" has "84-1" (a CTM), "84/84-1" (a folder of TextGrids) or "pr/dev/84/84-1".

    Raises:
        ValueError: an utterance with no alignment, or with several.
    """
    by_name: dict[str, list[str]] = {}
    for id in alignments:
        by_name.setdefault(parts(id)[-1], []).append(id)
    found = {}
    for id in ids:
        own = parts(id)
        near = by_name.get(own[-1], [])
        fits = [key for key in near if _ends_alike(own, parts(key))]
        exact = [key for key in fits if parts(key) == own]
        if len(exact or fits) != 1:
            what = f"{len(fits)} alignments ({', '.join(fits[:3])})" if fits else "no alignment"
            some = ", ".join(near[:3] or list(alignments)[:3])
            raise ValueError(
                f"{id}: {what} among {len(alignments)} such as {some}; name alignments as the "
                "audio, or leave the utterance out"
            )
        found[id] = alignments[(exact or fits)[0]]
    return found


def parts(id: str) -> tuple[str, ...]:
    """The folders and the name in an utterance's id, without the suffix of audio."""
    path = PurePosixPath(id)
    return (path.with_suffix("") if path.suffix.lower() in SUFFIXES else path).parts or (id,)


def _ends_alike(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    size = min(len(one), len(other))
    return one[-size:] == other[-size:]
