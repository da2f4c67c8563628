"""When each phone and word was said, as frame labels.

Every reader of `alignment_files` gives the same record. Its intervals become one label per encoder
frame: frame i covers samples [320 i, 320 i + 400) at 16 kHz, and has the label said at its
centre, sample 320 i + 200.
"""

import difflib
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import NamedTuple, TypeVar

import numpy as np

from mt4ssl_core.config import HOP, SAMPLE_RATE, WINDOW
from mt4ssl_core.data.audio import MAX_HOURS, SUFFIXES
from mt4ssl_core.settings.frames import num_frames

PHONES, WORDS = "phones", "words"  # tiers of CTM, TIMIT and mini_superb; a TextGrid names its own
UNLABELLED = ""  # of a frame where nothing is said, as in a TextGrid
SILENCE = (  # labels that are no phones
    "", "_", "sil", "SIL", "sp", "SP", "spn", "SPN", "h#", "#h", "pau", "epi", "<eps>", "<sil>",
)  # fmt: skip
LENGTH = 0.04  # seconds that an alignment may be longer or shorter than its audio: two frames


Aligned = TypeVar("Aligned")  # what is known of an utterance
Row = tuple[float, float, str]  # start, end, label, as files have them


class Interval(NamedTuple):
    """A label and when it is said, in seconds."""

    start: float
    end: float
    label: str


@dataclass(frozen=True)
class Alignment:
    """What was said when in one utterance: tier -> intervals in order, with gaps between them.

    Intervals may overlap, as words do in fast speech. ``duration``: seconds of the audio, where the
    file says so. ``source``: the file, for messages. ``broken``: tier -> why it is left out ("": of
    the whole file).

    Raises:
        ValueError: intervals that end before they begin, are out of order, or lie outside the
            audio.
    """

    id: str
    tiers: Mapping[str, tuple[Interval, ...]]
    duration: float | None
    source: str
    broken: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check every interval."""
        for name, intervals in self.tiers.items():
            check(intervals, self.duration, f"{self.source}: {self.id}: tier {name}")

    def overlap(self, name: str) -> float:
        """Return the most seconds that two labels of a tier are said at once; 0.0: none are."""
        most, last = 0.0, 0.0
        for item in self.tiers.get(name, ()):
            most = max(most, min(last, item.end) - item.start)
            last = max(last, item.end)
        return most

    def tier(self, name: str) -> tuple[Interval, ...]:
        """Return the intervals of a tier.

        Raises:
            ValueError: there is none of that name, or a broken one; lists those there are.
        """
        if why := self.broken.get(name) or self.broken.get(""):
            raise ValueError(why)
        if name not in self.tiers:
            near = difflib.get_close_matches(name, self.tiers, 1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            there = ", ".join(map(repr, self.tiers)) or "none with intervals"
            raise ValueError(
                f"{self.source}: {self.id}: no tier {name!r}; {hint}choose from {there}"
            )
        return self.tiers[name]


def check(intervals: Iterable[Interval], duration: float | None, where: str) -> None:
    """See that intervals are in order, none is empty, and all lie within the audio.

    Raises:
        ValueError: they are not; begins with ``where``.
    """
    last, end = Interval(0.0, 0.0, "the start of the audio"), 0.0
    for item in intervals:
        if not 0 <= item.start < item.end <= 3600 * MAX_HOURS:
            raise ValueError(f"{where}: {_told(item)}, expected 0 <= start < end; correct the file")
        if item.start < last.start:
            raise ValueError(
                f"{where}: {_told(item)} after {_told(last)}, expected them by their start; "
                "correct the file"
            )
        last, end = item, max(end, item.end)
    if duration is not None and end > duration + LENGTH:
        raise ValueError(
            f"{where}: ends at {end:.3f} s, but the file says {duration:.3f} s of audio; align it "
            "again"
        )


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
    end = max((item.end for item in intervals), default=0.0)
    said = alignment.duration
    if (said is not None and abs(said - seconds) > tolerance) or end > seconds + tolerance:
        length = f"ends at {end:.3f} s" if said is None else f"is of {said:.3f} s of audio"
        raise ValueError(
            f"{alignment.source}: {alignment.id}: tier {tier} {length}, but the audio has "
            f"{seconds:.3f} s ({num_samples} samples at 16 kHz; up to {tolerance:g} s may differ); "
            "give the audio that was aligned, or align this"
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

    So is a frame that two different labels claim: which of them is right cannot be known.

    Files differ in how they write silence: TIMIT labels it (h#, pau, epi), a TextGrid leaves it
    empty, mini_superb has "_" for pauses and nothing before and after the speech.

    Raises:
        ValueError: as :func:`segments`.
    """
    labels = np.full(num_frames(num_samples), UNLABELLED, dtype=object)  # (T,)
    claimed = np.zeros(len(labels), bool)
    for label, first, stop in segments(alignment, tier, num_samples, tolerance):
        here, others = labels[first:stop], claimed[first:stop]
        own = UNLABELLED if label in leave_out else label
        here[:] = np.where(others & (here != own), UNLABELLED, own)
        others[:] = True
    return labels.astype(str)


def unstressed(label: str) -> str:
    """Drop the stress of an IPA phone (ˈæ) or an ARPAbet vowel (AE1)."""
    bare = re.sub("[\u02c8\u02cc]", "", label) or label
    return bare[:2] if re.fullmatch("[A-Z]{2}[0-2]", bare) else bare


def match(alignments: Mapping[str, Aligned], ids: Iterable[str]) -> dict[str, Aligned]:
    """Find the alignment of each utterance that has one: utterance id -> alignment.

    Ids agree when one is the end of the other, by whole folders and without the suffix of audio:
    "dev/84/84-1.flac" has "84-1" (a CTM), "84/84-1" (a folder of TextGrids) or "pr/dev/84/84-1".
    Capital and small letters are the same where nothing fits as it is written.

    Raises:
        ValueError: an utterance with several alignments, or none with any.
    """
    by_name: dict[str, list[str]] = {}
    for id in alignments:
        by_name.setdefault(parts(id)[-1].lower(), []).append(id)
    found, without = {}, []
    for id in ids:
        own = parts(id)
        near = by_name.get(own[-1].lower(), [])
        fits = [key for key in near if _ends_alike(own, parts(key))]
        fits = fits or [key for key in near if _ends_alike(_lower(own), _lower(parts(key)))]
        exact = [key for key in fits if parts(key) == own]
        if len(exact or fits) == 1:
            found[id] = alignments[(exact or fits)[0]]
        elif fits:
            raise ValueError(
                f"{id}: {len(fits)} alignments ({', '.join(fits[:3])}) among {len(alignments)}; "
                "name alignments as the audio, or leave the utterance out"
            )
        else:
            without.append((id, near))
    if without and not found:
        id, near = without[0]
        raise ValueError(
            f"{id}: no alignment among {len(alignments)} such as "
            f"{', '.join(near[:3] or list(alignments)[:3])}; name alignments as the audio"
        )
    return found


def parts(id: str) -> tuple[str, ...]:
    """The folders and the name in an utterance's id, without the suffix of audio."""
    path = PurePosixPath(id)
    return (path.with_suffix("") if path.suffix.lower() in SUFFIXES else path).parts or (id,)


def _ends_alike(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    size = min(len(one), len(other))
    return one[-size:] == other[-size:]


def _lower(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name.lower() for name in names)
