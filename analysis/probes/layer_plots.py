"""Figures of probe.json: a curve over the layers per measure, and heat maps of layers compared."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis import plots

PANELS: tuple[tuple[str, str, tuple[str, ...]], ...] = (  # title, y axis, measures
    ("Phone of a frame", "accuracy", ("phone",)),
    ("Phones of an utterance (CTC)", "phone error rate, lower is better", ("phone_ctc",)),
    ("Keyword of an utterance", "accuracy", ("keyword",)),
    ("Speaker of an utterance", "accuracy", ("speaker",)),
    ("Gender of the speaker", "accuracy", ("gender",)),
    (
        "CCA with mel, phones, words, layer 0",
        "PWCCA on other utterances",
        ("cca_mel", "cca_phone", "cca_word", "cca_input"),
    ),
    ("Clusters and phones: PNMI", "PNMI, above chance", ("pnmi_excess",)),
    ("Clusters and phones: purity", "share of frames", ("phone_purity", "cluster_purity")),
)
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
    columns = min(3, len(panels))
    figure, axes = plots.new(-(-len(panels) // columns), columns, 4.2, 3.0)
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    for axis, (title, unit, names) in zip(axes.flat, panels, strict=False):
        _panel(axis, table, names, list(probes))
        plots.tidy(axis, title, LAYER, unit)
        axis.xaxis.get_major_locator().set_params(integer=True)
    if len(probes) > 1:
        looks = [plots.line_style(number) for number in range(len(probes))]
        handles = [
            axes.flat[0].plot([], [], color=colour, marker=marker, label=plots.legend_name(label))[
                0
            ]
            for label, (colour, marker) in zip(probes, looks, strict=True)
        ]
        figure.legend(handles=handles, loc="outside upper center", ncols=3, frameon=False)
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
    if axis.get_legend_handles_labels()[0]:
        axis.legend(frameon=False, fontsize=8)


def matrices(found: Mapping[str, Any]) -> tuple[Any, pd.DataFrame]:
    """Draw how alike layers are: CCA of the model's own, CKA with those of another.

    Raises:
        ValueError: there are none.
    """
    kinds = found["matrices"]
    if not kinds:
        raise ValueError("no layers were compared; give alignments, or --compare CKPT")
    figure, axes = plots.new(1, len(kinds), 4.6, 4.0)
    rows = []
    for axis, kind in zip(axes.flat, kinds, strict=True):
        values = np.array(kind["values"])
        image = axis.imshow(values, origin="lower", cmap="cividis", vmin=0, vmax=1)
        first, second = (kind.get(key) or found["model"] for key in ("first", "second"))
        plots.tidy(axis, kind["measure"].upper(), f"layer of {second}", f"layer of {first}")
        axis.grid(False)
        figure.colorbar(image, ax=axis, label="similarity, 0 to 1", shrink=0.85)
        if values.size <= 200:
            for (i, j), value in np.ndenumerate(values):
                dark = "white" if value < 0.6 else "black"
                axis.text(j, i, f"{value:.2f}", ha="center", va="center", color=dark, fontsize=7)
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
