"""The plot of a choice: scores of checkpoints, and what each of their layers is like."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from analysis import plots
from analysis.choosing.ranking import Criterion, Ranking

_SHOWN = 6  # checkpoints whose layers are drawn: lines told apart
_BARS = 24


def draw(
    names: Sequence[str],
    ranking: Ranking,
    layers: Sequence[Sequence[Mapping[str, float]]],
    criteria: Sequence[Criterion],
    base: Path,
) -> None:
    """Draw scores as bars, the best on top, and each criterion of layers as a panel of lines.

    Writes base.svg, .png and .csv; the CSV has every layer of every checkpoint.
    """
    figure, axes = plots.panels(1 + len(criteria))
    shown = ranking.order[:_BARS]
    bars = [ranking.scores[number] or 0.0 for number in shown]
    axes[0].barh(range(len(shown)), bars, color=plots.COLOURS[0], height=0.7)
    axes[0].set_yticks(range(len(shown)), [names[n][-28:] for n in shown], fontsize=7)
    axes[0].set_xlim(0, 1)
    axes[0].invert_yaxis()
    plots.tidy(axes[0], "Checkpoints", "1: first by every criterion", "")
    for axis, one in zip(axes[1:], criteria, strict=True):
        for place, number in enumerate(ranking.order[:_SHOWN]):
            colour, marker = plots.line_style(place)
            values = [layer.get(one.name) for layer in layers[number]]
            name = plots.legend_name(names[number])
            axis.plot(range(len(values)), values, color=colour, marker=marker, ms=4, label=name)
        plots.tidy(axis, one.told, "layer", plots.BETTER[one.direction] if one.weight else "")
        plots.layer_ticks(axis.xaxis, max(len(layers[n]) for n in ranking.order[:_SHOWN]))
    plots.legend_above(figure, plots.lines_of(axes[1:2]))
    rows = [
        {"checkpoint": names[number], "score": ranking.scores[number], "layer": layer, **values}
        for number in ranking.order
        for layer, values in enumerate(layers[number])
    ]
    plots.save(figure, base, pd.DataFrame(rows))
