"""The report's section on convergence: curves of pre-training, and scores of checkpoints."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from analysis.convergence import cost_curves
from analysis.convergence.updates_to_reach import TargetScore
from analysis.records import training_runs
from analysis.records.training_runs import TrainingRun
from analysis.report import figures as report_figures
from analysis.report import inputs
from analysis.report.inputs import RunFiles
from analysis.report.page import (
    Block,
    Details,
    Figure,
    Figures,
    Heading,
    Missing,
    Notes,
    Paragraph,
    Section,
    Table,
)
from analysis.tables.formats import Cell, Grid

_POINTS = 600  # of all curves in a panel: more cannot be seen, and make the page large
_LEAST = 60  # of one of them


def section(run: RunFiles, others: Sequence[RunFiles]) -> Section:
    """Curves of pre-training, and scores of checkpoints with the updates to reach them."""
    blocks: list[Block] = []
    runs = inputs.training(run, named=bool(others))
    if runs:
        named = [one for other in others for one in inputs.training(other, named=True)]
        blocks += _training(runs, named)
    else:
        command = f"mt4ssl pretrain CONFIG run.out={run.folder}"
        blocks.append(Missing("No log of pre-training", command))
    for place, path in enumerate(run.convergences):
        blocks += _checkpoints(inputs.read(path), f"checkpoints-{place}")
    if not run.convergences:
        command = f"mt4ssl convergence RUN --probe-data SOURCE --out {run.folder}/convergence"
        blocks.append(Missing("No scores of checkpoints", command))
    return Section("convergence", "Convergence", blocks)


def _training(runs: Sequence[TrainingRun], others: Sequence[TrainingRun]) -> list[Block]:
    blocks: list[Block] = [Heading("Pre-training")]
    together = [*runs, *others]
    try:
        notes = training_runs.check(together)
    except ValueError as error:
        together, notes = list(runs), [f"The others' curves are left out: {error}"]
    table = training_runs.frame(together, cost_curves.PANELS)
    if table.empty:
        return [*blocks, Paragraph("The log is empty.", "missing")]
    for cost, (name, label) in cost_curves.COSTS.items():
        part = _thinned(table.dropna(subset=cost))
        drawn = []
        for place, metric in enumerate(cost_curves.PANELS):
            one = part[part["metric"] == metric]
            if cost_curves.summary(one, cost).empty:
                continue
            with report_figures.themed():
                figure = report_figures.panel(cost_curves.draw_training(one, cost)[0])
            told = _TOLD[metric if metric in _TOLD else metric.partition("/")[2]]
            drawn.append(report_figures.inline(figure, f"training-{name}-{place}", told))
        blocks += _against(cost, label, drawn)
    return [*blocks, *_notes(notes)]


_HELD_OUT = "Thin: audio that is trained on. Dots: audio held out."
_TOLD = {  # by the key in the log, or its last part
    "loss": f"How hard the target still is to predict; a curve that is flat has stopped learning. "
    f"{_HELD_OUT} Where the dots rise while the thin line falls, the model learns by heart.",
    "accuracy": f"How often the most likely label is the right one. {_HELD_OUT}",
    "online/loss": f"How far the student is from its teacher. It often rises first, since the "
    f"teacher becomes richer. Near 0 from early on is a shortcut. {_HELD_OUT}",
    "online/target_var": "How much the teacher's targets differ from frame to frame. A fall "
    "towards 0 means that they collapse: everything becomes the same.",
    "effective_rank/last": "How many directions the last layer's frames use, of as many as it has "
    "channels. A curve that stays at a few says that the layer holds little.",
    "effective_rank/mean": "The same as a mean over all layers.",
    "uniformity": "How evenly the last layer's frames are spread over directions: 0 where all "
    "point one way, near -4 where they are spread evenly.",
    "offline/entropy": "How unsure the model is of its predictions on held-out audio.",
    "offline/silhouette": "How far frames are from the next predicted class, beside their own: "
    "from -1 to 1, 0 where classes run into each other.",
    "offline/davies_bouldin": "How wide predicted classes are beside the distance between them.",
}


def _against(cost: str, label: str, drawn: Sequence[Figure]) -> list[Block]:
    """Return plots against a cost: those against updates at once, others on a click."""
    if not drawn:
        return []
    return [Figures(drawn) if cost == "update" else Details(f"Against {label}", [Figures(drawn)])]


def _notes(lines: Sequence[str]) -> list[Block]:
    return [Notes(lines)] if lines else []


def _thinned(table: pd.DataFrame) -> pd.DataFrame:
    """Leave out points of long curves, evenly, the same updates in all runs of a group."""
    keys = ["group", "part", "metric"]
    place = table.groupby(keys)["update"].rank(method="dense") - 1
    last = place.groupby([table[key] for key in keys]).transform("max")
    most = max(_LEAST, _POINTS // max(1, table["group"].nunique()))
    step = (last / most).apply(math.ceil).clip(lower=1)
    return table[(place % step == 0) | (place == last)]


def _checkpoints(found: Mapping[str, Any], name: str) -> list[Block]:
    points = pd.DataFrame(found["points"])
    blocks: list[Block] = [Heading("Scores of checkpoints")]
    if points.empty:
        return [*blocks, Paragraph("No checkpoint was scored.", "missing")]
    points = points.astype({"value": float})
    targets = {
        row["metric"]: TargetScore(row["metric"], row["target"], row.get("origin", ""))
        for row in found["reach"]
    }
    for cost, (short, label) in cost_curves.COSTS.items():
        part = points.dropna(subset=[cost, "value"])
        drawn = []
        for place, (metric, one) in enumerate(part.groupby("metric", sort=False)):
            if cost_curves.summary(one, cost).empty:
                continue
            aim = [targets[metric]] if metric in targets else []
            with report_figures.themed():
                figure = report_figures.panel(cost_curves.draw_scores(one, cost, aim)[0])
            told = _told_points(one["direction"].iloc[0], several=one["run"].nunique() > 1)
            told += " Dashed: the score of the table below." * bool(aim)
            drawn.append(report_figures.inline(figure, f"{name}-{short}-{place}", told))
        blocks += _against(cost, label, drawn)
    directions = dict(zip(points["metric"], points["direction"], strict=True))
    if found["reach"]:
        blocks.append(Table(_reach(found["reach"], list(targets.values()), directions)))
    return [*blocks, *_notes(found.get("notes", []))]


def _told_points(direction: str, several: bool) -> str:
    way = "higher" if direction == "max" else "lower"
    bands = " Bands are the range of seeds: where two overlap, neither is better."
    return f"Each dot is a checkpoint. The sooner a curve is {way}, the faster it learns." + (
        bands if several else ""
    )


def _reach(
    rows: Sequence[Mapping[str, Any]], targets: Sequence[TargetScore], directions: Mapping[str, str]
) -> Grid:
    """Updates, audio and time to reach a score, and how many times the fastest's that is."""
    heads = ["group", "metric", "to reach", "updates", "ratio", "audio, h", "time, h", "seeds"]
    cells = []
    for row in rows:
        sign = "≥" if directions[row["metric"]] == "max" else "≤"
        most, least = "≤ " * bool(row.get("at_most")), "≥ " * bool(row.get("ratio_at_least"))
        texts = [
            row["group"],
            row["metric"],
            f"{sign} {row['target']:.4g}",
            _known(row["updates"], "{:,.0f}", most) + _range(row),
            _known(row.get("ratio"), "{:.2f}", least),
            _known(row.get("audio_hours"), "{:.3g}", most),
            _known(row.get("wall_hours"), "{:.3g}", most),
            f"{row['seeds_reached']} of {row['seeds']}",
        ]
        cells.append([Cell(str(text)) for text in texts])
    notes = [f"{t.metric} {t.value:.4g}: {t.origin}" for t in targets if t.origin]
    notes.append("Means over the seeds that reach it; ratio: to the group that needs fewest.")
    return Grid("To reach a score", [("", len(heads))], heads, cells, notes=notes)


def _range(row: Mapping[str, Any]) -> str:
    """The range over the seeds."""
    several = row["seeds_reached"] > 1 and row.get("low") is not None
    return f" ({row['low']:,.0f} to {row['high']:,.0f})" if several else ""


def _known(value: float | None, form: str, before: str = "") -> str:
    return "-" if value is None else before + form.format(value)
