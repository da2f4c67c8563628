"""The report's section on convergence: curves of pre-training, and scores of checkpoints."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from analysis.convergence import cost_curves
from analysis.convergence.updates_to_reach import TargetScore
from analysis.records import training_runs
from analysis.records.score import ARROWS
from analysis.records.training_runs import TrainingRun
from analysis.report import figures as report_figures
from analysis.report import inputs
from analysis.report import page as html
from analysis.report.inputs import RunFiles
from analysis.report.page import Section
from analysis.tables.formats import Cell, Grid

_POINTS = 600  # of all curves in a panel: more cannot be seen, and make the page large
_LEAST = 60  # of one of them


def section(run: RunFiles, others: Sequence[RunFiles]) -> Section:
    """Curves of pre-training, and scores of checkpoints with the updates to reach them."""
    body = []
    runs = inputs.training(run, named=bool(others))
    if runs:
        named = [one for other in others for one in inputs.training(other, named=True)]
        body += _training(runs, named)
    else:
        command = f"mt4ssl pretrain CONFIG run.out={run.folder}"
        body.append(html.missing("No log of pre-training", command))
    for place, path in enumerate(run.convergences):
        body += _checkpoints(inputs.read(path), f"checkpoints-{place}")
    if not run.convergences:
        command = f"mt4ssl convergence RUN --probe-data SOURCE --out {run.folder}/convergence"
        body.append(html.missing("No scores of checkpoints", command))
    return Section("convergence", "Convergence", "\n".join(body))


def _training(runs: Sequence[TrainingRun], others: Sequence[TrainingRun]) -> list[str]:
    body, together = ["<h3>Pre-training</h3>"], [*runs, *others]
    try:
        notes = training_runs.check(together)
    except ValueError as error:
        together, notes = list(runs), [f"The others' curves are left out: {error}"]
    table = training_runs.frame(together, cost_curves.PANELS)
    if table.empty:
        return [*body, html.paragraph("The log is empty.", "missing")]
    for cost, (name, label) in cost_curves.COSTS.items():
        part = _thinned(table.dropna(subset=cost))
        drawn = []
        for place, metric in enumerate(cost_curves.PANELS):
            one = part[part["metric"] == metric]
            if cost_curves.summary(one, cost).empty:
                continue
            with report_figures.themed():
                figure, curves = cost_curves.draw_training(one, cost)
                report_figures.panel(figure)
            told = _told_curves(curves, *cost_curves.PANELS[metric])
            drawn.append(report_figures.shown(figure, told, f"training-{name}-{place}"))
        if drawn:
            shown = html.figures(drawn)
            body.append(shown if cost == "update" else html.details(f"Against {label}", shown))
    return [*body, html.listing(notes)]


def _thinned(table: pd.DataFrame) -> pd.DataFrame:
    """Leave out points of long curves, evenly, the same updates in all runs of a group."""
    keys = ["group", "part", "metric"]
    place = table.groupby(keys)["update"].rank(method="dense") - 1
    last = place.groupby([table[key] for key in keys]).transform("max")
    most = max(_LEAST, _POINTS // max(1, table["group"].nunique()))
    step = (last / most).apply(math.ceil).clip(lower=1)
    return table[(place % step == 0) | (place == last)]


def _told_curves(curves: pd.DataFrame, title: str, unit: str) -> str:
    clauses = []
    for (group, part), rows in curves.groupby(["group", "part"], sort=False):
        first, last = rows.iloc[0], rows.iloc[-1]
        clauses.append(
            f"{group}, {part}: {first['mean']:.3g} at update {first['update']}, "
            f"{last['mean']:.3g} at update {last['update']}{_seeds(last)}"
        )
    return f"{title} ({unit}). {'; '.join(clauses)}."


def _checkpoints(found: Mapping[str, Any], name: str) -> list[str]:
    points = pd.DataFrame(found["points"])
    body = ["<h3>Scores of checkpoints</h3>"]
    if points.empty:
        return [*body, html.paragraph("No checkpoint was scored.", "missing")]
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
                figure, curves = cost_curves.draw_scores(one, cost, aim)
                report_figures.panel(figure)
            told = _told_points(str(metric), one.iloc[0], curves, aim)
            drawn.append(report_figures.shown(figure, told, f"{name}-{short}-{place}"))
        if drawn:
            shown = html.figures(drawn)
            body.append(shown if cost == "update" else html.details(f"Against {label}", shown))
    directions = dict(zip(points["metric"], points["direction"], strict=True))
    if found["reach"]:
        body.append(html.table(_reach(found["reach"], list(targets.values()), directions)))
    return [*body, html.listing(found.get("notes", []))]


def _seeds(row: pd.Series) -> str:
    return f", mean of {row['runs']} seeds" if row["runs"] > 1 else ""


def _told_points(
    metric: str, first: pd.Series, curves: pd.DataFrame, aim: Sequence[TargetScore]
) -> str:
    clauses = []
    for group, rows in curves.groupby("group", sort=False):
        last = rows.iloc[-1]
        clauses.append(f"{group} {last['mean']:.3g} at update {last['update']}{_seeds(last)}")
    goal = "".join(f" To reach: {target.value:.3g}." for target in aim)
    unit = f" ({first['unit']})" if first["unit"] else ""
    return f"{metric}{unit} {ARROWS[first['direction']]}: {'; '.join(clauses)}.{goal}"


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
