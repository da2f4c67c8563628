"""Which probes the labels of some speech allow: `mt4ssl probe`.

phone: the phone of a frame (needs alignments); phone_ctc: the phones of an utterance in order, by
one linear layer and CTC, as a phone error rate (needs no times); keyword, speaker, gender: of an
utterance, from the mean over its frames. All but ``speaker`` are tested on speakers that the probe
was not trained on. abx_within, abx_across: ABX errors of triphones (`analysis.abx`), where
nothing is trained; other speakers choose the layer. pitch, energy, tempo: numbers of an utterance
(`analysis.probes.voice`), from the mean over its frames; only where they are asked for.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from analysis.abx import errors
from analysis.abx import layers as abx
from analysis.abx.distances import DISTANCES
from analysis.abx.items import ItemFile, Stretch
from analysis.labelled_speech import alignments
from analysis.labelled_speech.speech import LabelledUtterance
from analysis.probes import splits

PHONE, PHONE_CTC, KEYWORD, SPEAKER, GENDER = "phone", "phone_ctc", "keyword", "speaker", "gender"
ABX = (errors.WITHIN, errors.ACROSS)
VOICE = PITCH, ENERGY, TEMPO = "pitch", "energy", "tempo"
DEFAULT = (PHONE, PHONE_CTC, KEYWORD, SPEAKER, GENDER, *ABX)
PROBES = (*DEFAULT, *VOICE)
LEAST = 20  # utterances, on either side
_CLASSES = (KEYWORD, SPEAKER, GENDER)  # labels of whole utterances
_FRAMES = (PHONE, PHONE_CTC, *ABX)
HELD_OUT = 0.2  # share of the speakers (of ``speaker``: utterances) that choose penalty and layer


@dataclass(frozen=True)
class ProbeTask:
    """A probe with the utterances it learns from and is tested on.

    ``stretches``: of ABX, those of an .item file by utterance; then there is nothing to train on.
    """

    name: str
    train: list[LabelledUtterance]
    test: list[LabelledUtterance]
    stretches: Mapping[str, list[Stretch]] | None = None

    def label(self, item: LabelledUtterance) -> str:
        """Return what an utterance is classified as."""
        return str(getattr(item, self.name))

    def held_out(self) -> np.ndarray:
        """Which of the training utterances choose the penalty and the best layer: (U,) bool."""
        names = [
            item.id if self.name == SPEAKER or not item.speaker else item.speaker
            for item in self.train
        ]
        drawn = np.array([splits.drawn(f"held out {name}", HELD_OUT) for name in names])
        every, place = round(1 / HELD_OUT), np.arange(len(self.train))
        others = [place % every == number for number in range(every)]  # for a handful of speakers
        return next((some for some in (drawn, *others) if self._can_choose(some)), others[0])

    def _can_choose(self, held_out: np.ndarray) -> bool:
        """Whether there are some on both sides, and two classes or more to learn."""
        rest = [item for item, out in zip(self.train, held_out, strict=True) if not out]
        labels = {self.label(item) for item in rest} if self.name in _CLASSES else {1, 2}
        return bool(held_out.any()) and len(labels) > 1 and bool(rest)


def possible_probes(
    utterances: Sequence[LabelledUtterance],
    probes: Sequence[str] | None = None,
    minutes: float = 20.0,
    items: ItemFile | None = None,
) -> tuple[list[ProbeTask], list[str]]:
    """Return the probes that the labels allow, and why others are left out ("name: reason").

    ``probes``: those wanted, None for `DEFAULT`; ``minutes``: the most of either side of each;
    ``items``: what ABX compares, instead of triphones of the alignments.

    Raises:
        ValueError: an unknown probe, the labels allow none, or ``items`` without ABX.
    """
    unknown = [name for name in probes or () if name not in PROBES]
    if unknown:
        raise ValueError(f"--probes {unknown[0]}: unknown; choose from {', '.join(PROBES)}")
    if items is not None and probes and not {*ABX} & {*probes}:
        raise ValueError(
            f"--items {items.path}: says what {' and '.join(ABX)} compare; name one of them in "
            "--probes, or leave it out"
        )
    found: list[ProbeTask] = []
    reasons: list[str] = []
    given = None if items is None else abx.said_in(items, utterances)
    for name in probes or DEFAULT:
        if name in ABX and given is not None:
            task = ProbeTask(name, [], [i for i in utterances if i.id in given], given)
            reason = _nothing_alike(task)
            found, reasons = [*found, *([] if reason else [task])], [*reasons, *reason]
            continue
        usable = [item for item in utterances if _has(item, name)]
        if name == SPEAKER:
            train, test = splits.same_speakers(usable)
            drawn = splits.some_speakers([*train, *test], 2 * minutes)
            ids = {item.id for item in drawn}
            train, test = ([item for item in side if item.id in ids] for side in (train, test))
        else:
            train, test = (splits.some(side, minutes) for side in splits.by_speaker(usable))
        lacking = min(len(train), len(test)) < LEAST
        count = f"{len(train)} are to train on and {len(test)} to test on"
        if name in _CLASSES:
            classes = {getattr(item, name) for item in train}
            test = [item for item in test if getattr(item, name) in classes]
            count = f"{len(train)} are to train on and {len(test)}, of the same, to test on"
            lacking = min(len(train), len(test)) < LEAST or len(classes) < 2
        if lacking:
            speakers = len({item.speaker for item in usable})
            reasons.append(
                f"{name}: {len(usable)} utterances have its labels, of {speakers} speakers; of "
                f"--minutes {minutes:g}, {count}, {LEAST} of each and two classes are needed"
                + ("" if name == SPEAKER else ", and other speakers to test on")
                + _tiers(name, utterances)
            )
        elif name in ABX and (reason := _nothing_alike(ProbeTask(name, train, test))):
            reasons += reason
        else:
            found.append(ProbeTask(name, train, test))
    if not found and len(reasons) == 1:
        raise ValueError(f"{reasons[0]}; give more --data or --minutes")
    if not found:
        raise ValueError("no probe is possible:\n  " + "\n  ".join(reasons))
    return found, reasons


def check_distance(distance: str, chosen: Sequence[ProbeTask], lacking: Sequence[str]) -> None:
    """See that ABX is among the probes where its distance is asked for.

    ``lacking``: why some probes are not ("name: reason").

    Raises:
        ValueError: it is not.
    """
    if distance == DISTANCES[0] or any(task.name in ABX for task in chosen):
        return
    why = [reason for reason in lacking if reason.startswith(ABX)]
    raise ValueError(
        f"--distance {distance}: of {' and '.join(ABX)}, none of which is probed "
        f"({why[0] if why else 'name one in --probes'}); mend that, or leave it out"
    )


def without(
    chosen: Sequence[ProbeTask], left_out: Collection[str]
) -> tuple[list[ProbeTask], list[str]]:
    """Return the probes without some utterances (ids), and why some are no longer possible."""
    found, reasons = [], []
    for task in chosen:
        sides = [[i for i in side if i.id not in left_out] for side in (task.train, task.test)]
        classes = {task.label(item) for item in sides[0]} if task.name in _CLASSES else {1, 2}
        few = min(map(len, sides)) < LEAST if task.stretches is None else not sides[1]
        if few or len(classes) < 2:
            counts = " and ".join(str(len(side)) for side in sides)
            reasons.append(
                f"{task.name}: of the audio of {len(task.train) + len(task.test)} utterances too "
                f"little can be used: {counts} to train and to test on, {LEAST} of each and two "
                "classes are needed"
            )
        else:
            found.append(replace(task, train=sides[0], test=sides[1]))
    return found, reasons


def _tiers(probe: str, utterances: Sequence[LabelledUtterance]) -> str:
    """Say what alignments hold instead of phones."""
    found = {tier for item in utterances if item.alignment for tier in item.alignment.tiers}
    if probe not in (PHONE, *ABX) or not found or alignments.PHONES in found:
        return ""
    return f"; the alignments have {', '.join(sorted(found))}, none called {alignments.PHONES}"


def _nothing_alike(task: ProbeTask) -> list[str]:
    """Why ABX has nothing to compare on one of its sides; [] where it has."""
    sides = [task.test] if task.stretches is not None else [task.train, task.test]
    for side in sides:
        said = [stretch for _, stretch in abx.stretches_of(side, task.stretches)]
        if next(abx.cells_of(task.name, said), None) is None:
            return [f"{task.name}: {abx.NOTHING}"]
    return []


def _has(item: LabelledUtterance, probe: str) -> bool:
    if probe in ABX and item.speaker is None:
        return False
    if probe in (PHONE, *ABX):
        return item.alignment is not None and alignments.PHONES in item.alignment.tiers
    if probe in (PITCH, ENERGY):
        return True
    if probe in (PHONE_CTC, TEMPO):
        return item.phones is not None
    return getattr(item, probe) is not None


def frames_of(chosen: Sequence[ProbeTask]) -> list[LabelledUtterance]:
    """Utterances of which every frame is needed."""
    return [i for task in chosen if task.name in _FRAMES for i in [*task.train, *task.test]]


def means_of(chosen: Sequence[ProbeTask]) -> list[LabelledUtterance]:
    """Utterances of which the mean is needed."""
    return [i for task in chosen if task.name not in _FRAMES for i in [*task.train, *task.test]]
