"""ABX errors of each layer as rows, for `mt4ssl probe`."""

import math
from collections.abc import Sequence

from analysis.abx import layers as abx
from analysis.abx.errors import Abx
from analysis.labelled_speech.speech import LabelledUtterance
from analysis.probes import chance, estimates
from analysis.probes.probe_data import Kept
from analysis.probes.probe_rows import Row
from analysis.probes.probe_tasks import ProbeTask


def rows_of(task: ProbeTask, kept: Kept, seed: int, distance: str) -> list[Row]:
    """Errors between stretches of the test; of those to train on, which choose the layer.

    Where the stretches were given there are no others: the best layer is the best in the test.
    """

    def of(items: Sequence[LabelledUtterance]) -> list[Abx]:
        said = abx.stretches_of(items, task.stretches)
        frames = {item.id: kept.frames[item.id] for item in items}
        return abx.errors(task.name, said, frames, distance, seed)

    tested = of(task.test)
    choosing = of(task.train) if task.train else tested
    return [
        estimates.row(
            layer,
            task.name,
            _over_speakers(result, seed),
            direction="min",
            baseline=0.5,
            control=None,
            held_out=other.rate(),
            count=result.count,
            of="triples",
        )
        for layer, (result, other) in enumerate(zip(tested, choosing, strict=True))
    ]


def _over_speakers(result: Abx, seed: int) -> chance.Estimate:
    """The error with its interval, drawing speakers again."""
    rate, speakers = result.by_speaker()
    if speakers < 2:
        return chance.Estimate(result.rate(), math.nan, math.nan, 0.0)
    return chance.bootstrap(rate, speakers, seed=seed)
