"""What can be read off each layer of a frozen encoder by a linear map: `mt4ssl probe`.

phone: the phone of a frame (needs alignments); phone_ctc: the phones of an utterance in order, by
one linear layer and CTC, as a phone error rate (needs no times); keyword, speaker, gender: of an
utterance, from the mean over its frames. All but ``speaker`` are tested on speakers that the probe
was not trained on.
"""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from analysis.probes import alignments, chance, ctc, linear, splits
from analysis.probes.probe_data import Kept, phone_labels
from analysis.probes.speech import LabelledUtterance
from mt4ssl_core.bars import Bar

PHONE, PHONE_CTC, KEYWORD, SPEAKER, GENDER = "phone", "phone_ctc", "keyword", "speaker", "gender"
PROBES = (PHONE, PHONE_CTC, KEYWORD, SPEAKER, GENDER)
LEAST = 20  # utterances, on either side
_CLASSES = (KEYWORD, SPEAKER, GENDER)  # labels of whole utterances
HELD_OUT = 0.2  # share of the speakers (of ``speaker``: utterances) that choose penalty and layer

Row = dict[str, Any]


@dataclass(frozen=True)
class ProbeTask:
    """A probe with the utterances it learns from and is tested on."""

    name: str
    train: list[LabelledUtterance]
    test: list[LabelledUtterance]

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
) -> tuple[list[ProbeTask], list[str]]:
    """Return the probes that the labels allow, and why others are left out ("name: reason").

    ``probes``: those wanted, None for all; ``minutes``: the most of either side of each.

    Raises:
        ValueError: an unknown probe, or the labels allow none.
    """
    unknown = [name for name in probes or () if name not in PROBES]
    if unknown:
        raise ValueError(f"--probes {unknown[0]}: unknown; choose from {', '.join(PROBES)}")
    found, reasons = [], []
    for name in probes or PROBES:
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
        else:
            found.append(ProbeTask(name, train, test))
    if not found and len(reasons) == 1:
        raise ValueError(f"{reasons[0]}; give more --data or --minutes")
    if not found:
        raise ValueError("no probe is possible:\n  " + "\n  ".join(reasons))
    return found, reasons


def without(
    chosen: Sequence[ProbeTask], left_out: Collection[str]
) -> tuple[list[ProbeTask], list[str]]:
    """Return the probes without some utterances (ids), and why some are no longer possible."""
    found, reasons = [], []
    for task in chosen:
        sides = [[i for i in side if i.id not in left_out] for side in (task.train, task.test)]
        classes = {task.label(item) for item in sides[0]} if task.name in _CLASSES else {1, 2}
        if min(map(len, sides)) < LEAST or len(classes) < 2:
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
    if probe != PHONE or not found or alignments.PHONES in found:
        return ""
    return f"; the alignments have {', '.join(sorted(found))}, none called {alignments.PHONES}"


def _has(item: LabelledUtterance, probe: str) -> bool:
    if probe == PHONE:
        return item.alignment is not None and alignments.PHONES in item.alignment.tiers
    if probe == PHONE_CTC:
        return item.phones is not None
    return getattr(item, probe) is not None


def frames_of(chosen: Sequence[ProbeTask]) -> list[LabelledUtterance]:
    """Utterances of which every frame is needed."""
    return [
        i for task in chosen if task.name in (PHONE, PHONE_CTC) for i in [*task.train, *task.test]
    ]


def means_of(chosen: Sequence[ProbeTask]) -> list[LabelledUtterance]:
    """Utterances of which the mean is needed."""
    return [
        i
        for task in chosen
        if task.name not in (PHONE, PHONE_CTC)
        for i in [*task.train, *task.test]
    ]


def run_probes(
    chosen: Sequence[ProbeTask],
    kept: Kept,
    layers: int,
    seed: int = 0,
    show: bool = True,
    known: Mapping[str, list[Row]] | None = None,
    keep: Callable[[str, list[Row]], Any] | None = None,
    failed: list[str] | None = None,
) -> list[Row]:
    """Train and test every probe on every layer; return a row of each.

    ``known``: rows of probes that are not trained again; ``keep`` gets those of each that is.
    ``failed`` gets "name: reason" of a probe that cannot be trained; None: that is raised.

    A row has layer, measure, value with its 95 % interval (low, high; speakers drawn again where
    they are known, else utterances), baseline (the commonest label; of phone_ctc: saying nothing),
    control (accuracy on the control task), unit, direction, count (``of`` frames or utterances),
    and chosen: whether the layer is the best on training data that was held out.
    """
    rows: list[Row] = []
    with Bar("probing", len(chosen) * layers, show=show) as bar:
        for task in chosen:
            bar.show(probe=task.name)
            if known and task.name in known:
                rows += known[task.name]
                bar.advance(layers)
                continue
            try:
                found = _rows(task, kept, layers, seed, bar.advance)
            except ValueError as error:
                if failed is None:
                    raise ValueError(f"{task.name}: {error}") from error
                failed.append(f"{task.name}: {error}")
                continue
            best = max if found[0]["direction"] == "max" else min
            chosen_layer = best(found, key=lambda row: row["held_out"])["layer"]
            found = [{**row, "chosen": row["layer"] == chosen_layer} for row in found]
            if keep:
                keep(task.name, found)
            rows += found
    return rows


def _rows(
    task: ProbeTask, kept: Kept, layers: int, seed: int, advance: Callable[[int], Any]
) -> list[Row]:
    if task.name == PHONE_CTC:
        found = _ctc(task, kept, seed)
        advance(layers)
        return found
    probe = _frame_probe if task.name == PHONE else _utterance_probe
    return probe(task, kept, layers, seed, advance)


def best_row(rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return the row to name of a measure: a probe's chosen layer, of other measures the best.

    A value that is no number (None) is never the best, unless there is no other.
    """
    better = max if rows[0]["direction"] == "max" else min
    chosen = next((row for row in rows if row.get("chosen")), None)
    known = [row for row in rows if row["value"] is not None]
    return chosen or better(known or rows[:1], key=lambda row: row["value"] or 0)


def table_value(value: float | None) -> str:
    """Return a value as tables have it; of what is no number, that it is none."""
    return "nan" if value is None else f"{value:.3f}"


def _row(layer: int, name: str, estimate: chance.Estimate, **more: Any) -> Row:
    row = {"layer": layer, "measure": name, "value": estimate.value}
    row |= {"low": estimate.low, "high": estimate.high}
    return row | {"unit": "fraction", "direction": "max", **more}


def _rate(sums: np.ndarray, totals: np.ndarray, units: Sequence[str], seed: int) -> chance.Estimate:
    """sum(sums) / sum(totals) with its interval, drawing ``units`` again: (U,), (U,), (U,)."""
    names, ids = np.unique(np.asarray(units), return_inverse=True)
    if len(names) < 2:
        value = float(sums.sum() / totals.sum())
        return chance.Estimate(value, math.nan, math.nan, 0.0)
    top, bottom = (np.bincount(ids, weights, len(names)) for weights in (sums, totals))
    return chance.bootstrap(
        lambda drawn: float((drawn @ top) / (drawn @ bottom)), len(names), seed=seed
    )


def _units(items: Sequence[LabelledUtterance]) -> list[str]:
    return [item.speaker or item.id for item in items]


def _utterance_probe(
    task: ProbeTask, kept: Kept, layers: int, seed: int, advance: Callable[[int], Any]
) -> list[Row]:
    train, test = kept.rows(task.train), kept.rows(task.test)  # (U, L, D)
    labels, truth = (np.array([task.label(i) for i in side]) for side in (task.train, task.test))
    held_out = task.held_out()
    control = None if task.name == SPEAKER else _control_by_speaker(task, labels, seed)
    rows = []
    for layer in range(layers):
        probe, penalty, chosen_on = linear.fit_best(train[:, layer], labels, held_out)
        right = (probe.predict(test[:, layer]) == truth).astype(float)
        units = [i.id for i in task.test] if task.name == SPEAKER else _units(task.test)
        rows.append(
            _row(
                layer,
                task.name,
                _rate(right, np.ones_like(right), units, seed),
                baseline=chance.majority(labels, truth),
                control=control and control(train[:, layer], penalty),
                held_out=chosen_on,
                count=len(truth),
                of="utterances",
            )
        )
        advance(1)
    return rows


def _control_by_speaker(
    task: ProbeTask, labels: np.ndarray, seed: int
) -> Callable[[np.ndarray, float], float] | None:
    """The control task of a label of utterances: every training speaker has one at random.

    It is learnt from three quarters of the training utterances and tested on the rest. Returns
    None where speakers are not known.
    """
    if any(item.speaker is None for item in task.train):
        return None
    random = chance.control_labels([item.speaker for item in task.train], labels, seed)
    test = np.array([splits.drawn(f"control {item.id}", 0.25) for item in task.train])
    if len(set(random[~test])) < 2 or not test.any():
        return None

    def accuracy(features: np.ndarray, penalty: float) -> float:
        probe = linear.fit(features[~test], random[~test], penalty)
        return float(np.mean(probe.predict(features[test]) == random[test]))

    return accuracy


@dataclass(frozen=True)
class Labelled:
    """Frames that have a phone, of some utterances: F of them."""

    places: list[tuple[LabelledUtterance, np.ndarray]]  # which frames of each
    phones: np.ndarray  # (F,) of str
    pairs: np.ndarray  # (F,) of str: the phone with the one before it
    utterance: np.ndarray  # (F,) int

    def layer(self, kept: Kept, layer: int) -> np.ndarray:
        """Features of a layer, (F, D) float32."""
        parts = [kept.frames[item.id][layer, place] for item, place in self.places]
        return np.concatenate(parts).astype(np.float32)


def labelled(items: Sequence[LabelledUtterance]) -> Labelled:
    """Find the phones of frames: without stress, silence left out.

    Raises:
        ValueError: an alignment of another length than its audio.
    """
    places, phones, pairs, numbers = [], [], [], []
    for number, item in enumerate(items):
        labels = phone_labels(item)
        before, last = [], ""
        for previous, this in zip(["", *labels], labels, strict=False):
            last = previous if previous != this else last
            before.append(f"{last} {this}")
        place = np.flatnonzero(labels != alignments.UNLABELLED)
        places.append((item, place))
        phones.append(labels[place])
        pairs.append(np.array(before)[place])
        numbers.append(np.full(len(place), number))
    return Labelled(places, *(np.concatenate(parts) for parts in (phones, pairs, numbers)))


def _frame_probe(
    task: ProbeTask, kept: Kept, layers: int, seed: int, advance: Callable[[int], Any]
) -> list[Row]:
    train, test = labelled(task.train), labelled(task.test)
    held_out = task.held_out()[train.utterance]
    random, wanted = (
        chance.control_labels(side.pairs.tolist(), train.phones, seed) for side in (train, test)
    )
    # the same draw for both sides: it depends on the pair and the training phones alone
    units = np.array(_units(task.test))[test.utterance]
    rows = []
    for layer in range(layers):
        x, z = train.layer(kept, layer), test.layer(kept, layer)
        probe, penalty, chosen_on = linear.fit_best(x, train.phones, held_out)
        right = (probe.predict(z) == test.phones).astype(float)
        control = linear.fit(x, random, penalty)
        rows.append(
            _row(
                layer,
                PHONE,
                _rate(right, np.ones_like(right), units, seed),
                baseline=chance.majority(train.phones, test.phones),
                control=float(np.mean(control.predict(z) == wanted)),
                held_out=chosen_on,
                count=len(right),
                of="frames",
            )
        )
        advance(1)
    return rows


def _ctc(task: ProbeTask, kept: Kept, seed: int) -> list[Row]:
    held_out = task.held_out()
    learnt = [item for item, out in zip(task.train, held_out, strict=True) if not out]
    choosing = [item for item, out in zip(task.train, held_out, strict=True) if out]
    tested = [*choosing, *task.test]
    found = ctc.phone_errors(
        [kept.frames[item.id] for item in learnt],
        [item.phones or () for item in learnt],
        [kept.frames[item.id] for item in tested],
        [item.phones or () for item in tested],
        seed,
    )
    first = len(choosing)
    return [
        _row(
            layer,
            PHONE_CTC,
            _rate(result.errors[first:], result.lengths[first:], _units(task.test), seed),
            direction="min",
            baseline=1.0,
            control=None,
            held_out=float(result.errors[:first].sum() / max(1, result.lengths[:first].sum())),
            count=int(result.lengths[first:].sum()),
            of="phones",
        )
        for layer, result in enumerate(found)
    ]
