"""Figures of probe.json: a curve over the layers per measure, and heat maps of layers compared."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis import plots

PANELS: tuple[tuple[str, str, tuple[str, ...]], ...] = (  # title, y axis, measures
    ("Phone of a frame", "accuracy", ("phone",)),
    ("Phones of an utterance (CTC)", "phone error rate", ("phone_ctc",)),
    ("Keyword of an utterance", "accuracy", ("keyword",)),
    ("Speaker of an utterance", "accuracy", ("speaker",)),
    ("Gender of the speaker", "accuracy", ("gender",)),
    ("Pitch, energy, tempo of an utterance", "R2 of a regression", ("pitch", "energy", "tempo")),
    ("ABX of triphones", "error (0.5: chance)", ("abx_within", "abx_across")),
    (
        "CCA with mel, phones, words, layer 0",
        "PWCCA on other utterances",
        ("cca_mel", "cca_phone", "cca_word", "cca_input"),
    ),
    ("Clusters and phones: PNMI", "PNMI, above chance", ("pnmi_excess",)),
    ("Effective rank (RankMe)", "directions in use", ("effective_rank",)),
    ("Clusters and phones: purity", "share of frames", ("phone_purity", "cluster_purity")),
)
_WRITTEN = 200  # cells of a heat map that have room for their values
LAYER = "layer (0: input of the first)"
_TOLD = ("layer", "measure", "value", "low", "high", "baseline", "control")


def rows_of(probes: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """The rows of some probe.json (label -> contents) in one table, with the column model."""
    rows = [
        {"model": label, **{key: row.get(key) for key in _TOLD}}
        for label, found in probes.items()
        for row in found["rows"]
    ]
    return pd.DataFrame(rows, columns=["model", *_TOLD])


def layer_curves(probes: Mapping[str, Mapping[str, Any]]) -> tuple[Any, pd.DataFrame]:
    """Draw all measures against the layer; models have colours and markers.

    The band is the 95 % interval, dots the baseline (commonest label), dashes the control task.

    Raises:
        ValueError: nothing was measured.
    """
    table = rows_of(probes)
    panels = [panel for panel in PANELS if table["measure"].isin(panel[2]).any()]
    if not panels:
        raise ValueError(
            "no rows to draw; probe with labelled speech: `mt4ssl probe -k CKPT --data`"
        )
    figure, axes = plots.panels(len(panels))
    for axis, (title, unit, names) in zip(axes, panels, strict=True):
        measured = table[table["measure"].isin(names)]
        _panel(axis, table, names, list(probes))
        plots.tidy(axis, title, LAYER, plots.directed(unit, _direction(names)))
        plots.layer_ticks(axis.xaxis, int(measured["layer"].max()) + 1)
        if named := plots.lines_of([axis]):
            below = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.2), "ncols": 3}
            axis.legend(named.values(), named.keys(), frameon=False, fontsize=8, **below)
    models = {}
    for number, label in enumerate(probes if len(probes) > 1 else ()):
        colour, marker = plots.line_style(number)
        name = plots.legend_name(label)
        (models[name],) = axes[0].plot([], [], color=colour, marker=marker, label=name)
    plots.legend_above(figure, models)
    return figure, table[table["measure"].isin({name for panel in panels for name in panel[2]})]


_STYLES = ("-", "--", "-.", ":")


def _panel(axis: Any, table: pd.DataFrame, names: Sequence[str], models: Sequence[str]) -> None:
    names = [name for name in names if (table["measure"] == name).any()]
    for number, model in enumerate(models):
        for style, name in enumerate(names):
            part = table[(table["model"] == model) & (table["measure"] == name)]
            part = part.sort_values("layer").astype({"layer": int})
            if part.empty:
                continue
            # several measures of one model differ in colour, several models too: then by line
            index = number if len(models) > 1 else style
            colour, marker = plots.line_style(index)
            line = _STYLES[style] if len(models) > 1 else "-"
            label = name if len(names) > 1 and number == 0 else None
            axis.plot(
                part["layer"], part["value"], line, color=colour, marker=marker, ms=4, label=label
            )
            low, high = (part[key].astype(float) for key in ("low", "high"))
            axis.fill_between(part["layer"], low, high, color=colour, alpha=0.15, lw=0)
            for key, dashes in (("baseline", ":"), ("control", "--")):
                if part[key].notna().any() and len(names) == 1:
                    text = key if number == 0 else None
                    grey = "0.45" if len(models) == 1 else colour
                    axis.plot(part["layer"], part[key], dashes, color=grey, lw=1, label=text)


def _direction(measures: Sequence[str]) -> str | None:
    """Where better is in a panel; nowhere where it says what a layer is like."""
    if any(name.startswith(("cca_", "effective_rank")) for name in measures):
        return None
    return "min" if {"phone_ctc", "abx_within", "abx_across"} & {*measures} else "max"


def matrices(found: Mapping[str, Any], name: str | None = None) -> tuple[Any, pd.DataFrame]:
    """Draw how alike layers are: CCA of the model's own, CKA with those of another.

    The scale goes from the least of the values to the largest. ``name``: what the model is called.

    Raises:
        ValueError: there are none.
    """
    kinds = found["matrices"]
    if not kinds:
        raise ValueError("no layers were compared; give alignments, or --compare CKPT")
    own = found["model"]
    figure, axes = plots.new(1, len(kinds), plots.WIDTH / 2, 3.6)
    rows = []
    for axis, kind in zip(axes.flat, kinds, strict=True):
        values = np.array(kind["values"])
        first, second = (kind.get(key) or own for key in ("first", "second"))
        first, second = (name if name and each == own else each for each in (first, second))
        plots.tidy(axis, kind["measure"].upper(), f"layer of {second}", f"layer of {first}")
        image = plots.heat_map(axis, values, values.min(), values.max(), origin="lower")
        for side, layers in zip((axis.yaxis, axis.xaxis), values.shape, strict=True):
            plots.layer_ticks(side, layers)
        figure.colorbar(image, ax=axis, label="similarity (1: the same)", shrink=0.85)
        for (i, j), value in np.ndenumerate(values) if values.size <= _WRITTEN else ():
            look = {"color": plots.ink_on(image, value), "fontsize": 7}
            axis.text(j, i, f"{value:.2f}", ha="center", va="center", **look)
        for (i, j), value in np.ndenumerate(values):
            rows.append((kind["measure"], first, i, second, j, value))
    heads = ["measure", "first", "layer of first", "second", "layer of second", "value"]
    return figure, pd.DataFrame(rows, columns=heads)


def write(probes: Mapping[str, Mapping[str, Any]], out: str | Path) -> list[Path]:
    """Save the figures of some probe.json as layers.svg, .png and .csv, and similarity.*.

    Similarities are those of the first. Returns the files' paths without suffix.
    """
    bases = [Path(out) / "layers"]
    figure, data = layer_curves(probes)
    plots.save(figure, bases[0], data)
    first = next(iter(probes.values()))
    if first["matrices"]:
        figure, data = matrices(first)
        bases.append(Path(out) / "similarity")
        plots.save(figure, bases[1], data)
    return bases
