"""Which part of labelled speech a probe learns from, and which it is tested on."""

from collections import Counter
from collections.abc import Sequence

from analysis.labelled_speech.speech import TEST, TRAIN, LabelledUtterance
from mt4ssl_core.data.audio import SAMPLE_RATE
from mt4ssl_core.data.cuts import stable_hash

EACH_SECONDS = 60.0  # of a speaker: many speakers rather than much of a few
SPEAKER_SECONDS = 2.0  # shortest utterance that is asked for its speaker: single words are not


def by_speaker(
    utterances: Sequence[LabelledUtterance], share: float = 0.25
) -> tuple[list[LabelledUtterance], list[LabelledUtterance]]:
    """Return what to learn from and what to test on, of other speakers.

    The source's split where it has one, without the training utterances of speakers who are also
    in the test; else a share of the speakers, by a hash of their names, are tested on.
    """
    test = [item for item in utterances if _tested(item, share)]
    tested = {item.speaker for item in test} - {None}
    train = [item for item in utterances if not _tested(item, share) and item.speaker not in tested]
    return train, test


def _tested(item: LabelledUtterance, share: float) -> bool:
    if item.split is not None:
        return item.split == TEST
    return drawn(item.speaker or item.id, share)


def drawn(name: str, share: float) -> bool:
    """Tell whether a name is among a share of all names: always the same ones."""
    return stable_hash("probe", name) / 2**64 < share


def same_speakers(
    utterances: Sequence[LabelledUtterance], least: int = 4, share: float = 0.25
) -> tuple[list[LabelledUtterance], list[LabelledUtterance]]:
    """Return what to learn speakers from, and other utterances of the same speakers to test on.

    Where the source's test speakers are also in its training split (as in VoxCeleb1's
    identification), its split; else a share of the utterances of its test speakers, by a hash, or
    of all speakers where it has no split. Left out are utterances below `SPEAKER_SECONDS` and
    speakers of fewer than ``least``.
    """
    shortest = SPEAKER_SECONDS * SAMPLE_RATE
    named = [item for item in utterances if item.speaker is not None and item.samples >= shortest]
    tested = {item.speaker for item in named if item.split == TEST}
    trained = {item.speaker for item in named if item.split == TRAIN}
    if len(tested & trained) * 2 > len(tested):
        return [i for i in named if i.split == TRAIN], [
            i for i in named if i.split == TEST and i.speaker in trained
        ]
    pool = [item for item in named if item.speaker in tested] if tested else named
    counts = Counter(item.speaker for item in pool)
    pool = [item for item in pool if counts[item.speaker] >= least]
    test = [item for item in pool if drawn(item.id, share)]
    known = {item.speaker for item in pool} - {None}
    train = [item for item in pool if not drawn(item.id, share)]
    learnt = {item.speaker for item in train} & known
    return train, [item for item in test if item.speaker in learnt]


def some(utterances: Sequence[LabelledUtterance], minutes: float) -> list[LabelledUtterance]:
    """Return up to so many minutes, drawn by a hash of the ids, in the order of that hash."""
    kept, left = [], minutes * 60 * SAMPLE_RATE
    for item in sorted(utterances, key=_place):
        if item.samples > left:
            break
        kept.append(item)
        left -= item.samples
    return kept


def some_speakers(
    utterances: Sequence[LabelledUtterance], minutes: float
) -> list[LabelledUtterance]:
    """Return up to so many minutes of some speakers, drawn by a hash: `EACH_SECONDS` of each."""
    said: dict[str, list[LabelledUtterance]] = {}
    for item in sorted(utterances, key=_place):
        said.setdefault(item.speaker or item.id, []).append(item)
    kept, left = [], minutes * 60 * SAMPLE_RATE
    for name in sorted(said, key=lambda name: stable_hash("some", name)):
        own = some(said[name], EACH_SECONDS / 60)
        left -= sum(item.samples for item in own)
        if left < 0:
            break
        kept += own
    return kept


def _place(item: LabelledUtterance) -> tuple[int, str]:
    return stable_hash("some", item.id), item.id
