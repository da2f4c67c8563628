"""Plots inside a page: SVG that takes the page's colours and font; and the plots of scores."""

import io
import math
import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from analysis import plots
from analysis.records import superb_score
from analysis.report.page import Figure
from analysis.tables.leaderboard import SCORE, ScoreTable, number

_INK = "#010203"  # drawn in this, becomes the page's text colour
_THEME: dict[Any, Any] = {
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}
_GREY = re.compile(r"#([4-9a-c][0-9a-f])\1\1\b")
_FONTS = re.compile(r"(font: [^;\"]*?px) '[^;\"]*(?=[;\"])")
_PANEL = (4.2, 3.1)  # inches: its text can be read on a phone
_LETTERS = 58  # of a legend, across a panel
_PIXELS = 96  # per inch
_NARROW = 500  # pixels up to which a figure shrinks with the page; a wider one scrolls
_ROW = 0.24  # inches of a bar
_POINTS = "points (0: FBANK, 1000: best of 2021)"


@contextmanager
def themed() -> Iterator[None]:
    """Draw with colours that `inline` can turn into the page's."""
    with plt.rc_context(_THEME):
        yield


def inline(figure: Any, name: str, caption: str) -> Figure:
    """Return a figure, which is closed, as SVG for a page.

    Args:
        figure: drawn within `themed`.
        name: of the figure, unlike all others of the page.
        caption: what it shows and how to read it, in words.
    """
    file = io.StringIO()
    with plt.rc_context({"svg.fonttype": "none", "svg.hashsalt": "mt4ssl"}):
        empty = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(file, format="svg", metadata=empty)
    width = round(figure.get_size_inches()[0] * _PIXELS)
    plt.close(figure)
    text = file.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", text, flags=re.S)
    text = _GREY.sub("var(--muted)", text).replace(_INK, "currentColor")
    for place, colour in enumerate(plots.COLOURS):
        text = text.replace(colour.lower(), f"var(--c{place})")
    text = _FONTS.sub(r"\1 var(--sans)", text)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'(url\(#|xlink:href="#|(?<!:)href="#)', rf"\g<1>{name}-", text)
    box = re.search(r'viewBox="([^"]*)"', text)
    assert box is not None
    inside = text[text.index(">", text.index("<svg")) + 1 :]
    inside = re.sub(r"\s*\n\s*", "\n", inside).strip()
    return Figure(inside, box[1], width, round(1.25 * width), width > _NARROW, caption)


def panel(figure: Any) -> Any:
    """Give a figure of one panel a size for phones, and its legend as many columns as fit."""
    rows = 0
    for legend in list(figure.legends):
        labels = [text.get_text() for text in legend.get_texts()]
        legend.remove()
        rows += _legend(figure, legend.legend_handles, labels)
    figure.set_size_inches(_PANEL[0], _PANEL[1] + 0.16 * rows)
    return figure


def _legend(figure: Any, handles: Sequence[Any], labels: Sequence[str]) -> int:
    """Put a legend above a narrow figure; return how many rows it has."""
    most = _LETTERS - 7
    short = [text if len(text) <= most else f"{text[: most - 1]}…" for text in labels]
    columns = min(len(short), max(1, _LETTERS // (max(map(len, short)) + 7)))
    place = {"loc": "outside upper center", "ncols": columns}
    figure.legend(handles, short, frameon=False, fontsize=8, **place)
    return -(-len(short) // columns)


# --- Scores ---------------------------------------------------------------------------------------


def total(table: ScoreTable, own: Collection[str]) -> tuple[Any, str] | None:
    """Draw superb_s of all models that have it; None where only published ones do."""
    found = table.frame[SCORE].dropna().sort_values(kind="stable")
    runs = set(table.frame.index[table.published :])
    if not runs.intersection(found.index):
        return None
    figure, axes = plots.new(1, 1, _PANEL[0] + 0.6, _ROW * len(found) + 0.9)
    axis = axes[0, 0]
    colours = [plots.COLOURS[1] if model in own else plots.COLOURS[0] for model in found.index]
    hatches = ["//" if model in runs else "" for model in found.index]
    bars = axis.barh(range(len(found)), found, color=colours, hatch=hatches, height=0.7)
    axis.bar_label(bars, [number(value, 0) for value in found], padding=3, fontsize=8)
    axis.set_yticks(range(len(found)), found.index)
    plots.tidy(axis, f"superb_s, {table.score_set} set", f"{_POINTS}\n{plots.BETTER['max']}", "")
    axis.grid(False, axis="y")
    axis.margins(x=0.12)
    return figure, (
        "All models with every task of the set, best first. superb_s is the mean of the points of "
        "the tasks. Orange is this model; hatched bars are not published. Bars of nearly the same "
        "length are no clear order: one training of the heads differs from the next."
    )


def points(table: ScoreTable, own: Collection[str]) -> tuple[Any, str] | None:
    """Draw SUPERB points task by task, published models in grey; None where only they have any."""
    keys = [column.key for column in table.columns]
    found = {
        model: superb_score.points(dict(zip(keys, row, strict=True)), table.score_set)
        for model, row in _rows(table.frame[keys])
    }
    published = set(table.frame.index[: table.published])
    mine = [model for model in found if model not in published and found[model]]
    mine.sort(key=lambda model: model not in own)
    if not mine:
        return None
    tasks = superb_score.tasks_of(table.score_set)
    figure, axes = plots.new(1, 1, _PANEL[0] + 0.6, 0.3 * len(tasks) + 1.3)
    axis = axes[0, 0]
    others = [(found[m][t], y) for m in found if m in published for y, t in enumerate(tasks)
              if t in found[m]]  # fmt: skip
    if others:
        grey = {"color": "0.5", "alpha": 0.8, "s": 60, "lw": 1.2}
        axis.scatter(*zip(*others, strict=True), marker="|", label="published models", **grey)
    for place, model in enumerate(mine):
        look = {"color": plots.COLOURS[(1 + place) % len(plots.COLOURS)], "zorder": 3, "s": 34}
        values = [(found[model][t], y) for y, t in enumerate(tasks) if t in found[model]]
        marker = plots.MARKERS[place % len(plots.MARKERS)]
        axis.scatter(
            *zip(*values, strict=True), marker=marker, label=plots.legend_name(model), **look
        )
    axis.set_yticks(range(len(tasks)), [superb_score.name_of(task) for task in tasks])
    axis.set_ylim(len(tasks) - 0.5, -0.5)
    plots.tidy(axis, "Points task by task", f"{_POINTS}\n{plots.BETTER['max']}", "")
    _legend(figure, *axis.get_legend_handles_labels())
    return figure, (
        "Where the model is strong and weak. A grey stroke is a published model: a mark right of "
        "most strokes is good in that task. Left of 0 is worse than filter banks. Points make "
        "tasks comparable whose metrics are not."
    )


def bars(table: ScoreTable, own: Collection[str]) -> list[tuple[Any, str]]:
    """Draw the scores of a table as bars: a figure for each unit and direction."""
    found = []
    for unit, direction in dict.fromkeys((c.unit, c.direction) for c in table.columns):
        columns = [c for c in table.columns if (c.unit, c.direction) == (unit, direction)]
        if len(columns) * len(table.frame) == 1:
            continue  # a single number needs no plot
        frame = table.frame[[column.key for column in columns]]
        names = [f"{superb_score.name_of(c.task)} {c.head[:-2]}" for c in columns]
        longer = "Longer" if direction == "max" else "Shorter"
        told = (
            f"{longer} bars are better here. Compare bars of one group only: tasks differ in how "
            "hard they are."
        )
        told += " Orange is this model." if own else ""
        found.append((_bars(frame, names, unit, direction, own), told))
    return found


def _bars(
    frame: pd.DataFrame, names: Sequence[str], unit: str, direction: str, own: Collection[str]
) -> Any:
    models = [str(model) for model in frame.index]
    step = 0.8 / len(models)
    height = max(_ROW, 0.17 * len(models)) * len(names) + 1.1
    figure, axes = plots.new(1, 1, _PANEL[0], height)
    axis = axes[0, 0]
    others = iter([plots.COLOURS[0], *plots.COLOURS[2:]] * len(models))
    for place, (model, values) in enumerate(_rows(frame)):
        y = np.arange(len(names)) + (place - (len(models) - 1) / 2) * step
        look = {"color": plots.COLOURS[1] if model in own else next(others), "edgecolor": "none"}
        drawn = axis.barh(y, values, step, label=plots.legend_name(model), **look)
        labels = ["" if math.isnan(value) else number(value) for value in values]
        axis.bar_label(drawn, labels, padding=3, fontsize=7)
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(len(names) - 0.5, -0.5)
    plots.tidy(axis, f"Scores in {unit}: {plots.BETTER[direction]}", unit, "")
    axis.grid(False, axis="y")
    axis.margins(x=0.3 if (frame < 0).any(axis=None) else 0.14)
    if len(models) > 1:
        rows = _legend(figure, *axis.get_legend_handles_labels())
        figure.set_size_inches(_PANEL[0], height + 0.16 * rows)
    return figure


def _rows(frame: pd.DataFrame) -> list[tuple[str, list[float]]]:
    return list(zip(map(str, frame.index), frame.to_numpy(float).tolist(), strict=True))
