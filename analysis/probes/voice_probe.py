"""A linear regression of pitch, energy or tempo on each layer, for `mt4ssl probe`."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from analysis.labelled_speech.speech import LabelledUtterance
from analysis.probes import chance, estimates, voice
from analysis.probes.probe_data import Kept
from analysis.probes.probe_rows import Row
from analysis.probes.probe_tasks import LEAST, TEMPO, ProbeTask


def rows_of(
    task: ProbeTask, kept: Kept, layers: int, seed: int, advance: Callable[[int], Any]
) -> list[Row]:
    """Linear regression of a number of each utterance; without those that it is not known of."""
    numbers = [_numbers(task.name, side, kept) for side in (task.train, task.test)]
    known = [np.isfinite(side) for side in numbers]
    if min(side.sum() for side in known) < LEAST:
        raise ValueError(
            f"{known[0].sum()} utterances to train on and {known[1].sum()} to test on have a "
            f"{task.name}, {LEAST} of each are needed; give more --data"
        )
    y, wanted = (side[there] for side, there in zip(numbers, known, strict=True))
    if not np.ptp(y) or not np.ptp(wanted):
        raise ValueError(f"all utterances have one {task.name}; give others with --data")
    train, test = kept.rows(task.train)[known[0]], kept.rows(task.test)[known[1]]
    held_out = task.held_out()[known[0]]
    units = np.array(estimates.units(task.test))[known[1]].tolist()
    spread, rows = (wanted - wanted.mean()) ** 2, []
    for layer in range(layers):
        probe, chosen_on = voice.fit_best(train[:, layer], y, held_out)
        left = (wanted - probe.predict(test[:, layer])) ** 2
        lost = estimates.rate(left, spread, units, seed)
        found = chance.Estimate(1 - lost.value, 1 - lost.high, 1 - lost.low, -lost.bias)
        more = {"baseline": 0.0, "control": None, "held_out": chosen_on, "of": "utterances"}
        rows.append(
            estimates.row(layer, task.name, found, **more, count=len(wanted)) | {"unit": "R2"}
        )
        advance(1)
    return rows


def _numbers(name: str, items: Sequence[LabelledUtterance], kept: Kept) -> np.ndarray:
    """What is to be told of each utterance, (U,); NaN where it is not known."""
    if name == TEMPO:
        return np.array([voice.tempo(item.phones or (), item.samples) for item in items])
    return np.array([kept.voices[item.id][name] for item in items])
