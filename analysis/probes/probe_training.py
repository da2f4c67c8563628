"""Probes, trained and tested: what a linear map reads off each layer of a frozen encoder."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.abx.distances import DISTANCES
from analysis.labelled_speech import alignments
from analysis.labelled_speech.speech import LabelledUtterance
from analysis.probes import abx_probe, chance, ctc, estimates, splits, voice_probe
from analysis.probes.probe_data import Kept, phone_labels
from analysis.probes.probe_rows import Row
from analysis.probes.probe_tasks import (
    ABX,
    PHONE,
    PHONE_CTC,
    SPEAKER,
    VOICE,
    ProbeTask,
)
from mt4ssl_core.bars import Bar
from mt4ssl_core.model import linear_probe as linear


def run_probes(
    chosen: Sequence[ProbeTask],
    kept: Kept,
    layers: int,
    seed: int = 0,
    show: bool = True,
    known: Mapping[str, list[Row]] | None = None,
    keep: Callable[[str, list[Row]], Any] | None = None,
    failed: list[str] | None = None,
    distance: str = DISTANCES[0],
) -> list[Row]:
    """Train and test every probe on every layer; return a row of each.

    ``known``: rows of probes that are not trained again; ``keep`` gets those of each that is.
    ``failed`` gets "name: reason" of a probe that cannot be trained; None: that is raised.
    ``distance``: of frames, for ABX.

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
                found = _rows(task, kept, layers, seed, bar.advance, distance)
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
    task: ProbeTask, kept: Kept, layers: int, seed: int, advance: Callable[[int], Any],
    distance: str,
) -> list[Row]:  # fmt: skip
    if task.name in ABX:
        found = abx_probe.rows_of(task, kept, seed, distance)
        advance(layers)
        return found
    if task.name == PHONE_CTC:
        found = _ctc(task, kept, seed)
        advance(layers)
        return found
    probe = _frame_probe if task.name == PHONE else _utterance_probe
    probe = voice_probe.rows_of if task.name in VOICE else probe
    return probe(task, kept, layers, seed, advance)


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
        units = [i.id for i in task.test] if task.name == SPEAKER else estimates.units(task.test)
        rows.append(
            estimates.row(
                layer,
                task.name,
                estimates.rate(right, np.ones_like(right), units, seed),
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
    units = np.array(estimates.units(task.test))[test.utterance]
    rows = []
    for layer in range(layers):
        x, z = train.layer(kept, layer), test.layer(kept, layer)
        probe, penalty, chosen_on = linear.fit_best(x, train.phones, held_out)
        right = (probe.predict(z) == test.phones).astype(float)
        control = linear.fit(x, random, penalty)
        rows.append(
            estimates.row(
                layer,
                PHONE,
                estimates.rate(right, np.ones_like(right), units, seed),
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
        estimates.row(
            layer,
            PHONE_CTC,
            estimates.rate(
                result.errors[first:], result.lengths[first:], estimates.units(task.test), seed
            ),
            direction="min",
            baseline=1.0,
            control=None,
            held_out=float(result.errors[:first].sum() / max(1, result.lengths[:first].sum())),
            count=int(result.lengths[first:].sum()),
            of="phones",
        )
        for layer, result in enumerate(found)
    ]
