"""Curves of pre-training runs, and scores of their checkpoints, against three costs."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from analysis import plots
from analysis.convergence.updates_to_reach import TargetScore

PANELS = {  # key in the log: (title, unit, direction if one is better)
    "offline/loss": ("Offline target: loss", "nats per masked frame", "min"),
    "offline/accuracy": ("Offline target: accuracy", "share of masked frames", "max"),
    "online/loss": ("Online target: loss", "squared error / sqrt(D)", "min"),
    "online/target_var": ("Teacher: standard deviation", "of targets, mean over channels", None),
    "random_projection/loss": ("Random projection: loss", "nats per masked frame", "min"),
    "random_projection/accuracy": ("Random projection: accuracy", "share of masked frames", "max"),
    "effective_rank/last": ("Effective rank of the last layer", "directions in use (RankMe)", None),
    "effective_rank/mean": ("Effective rank, mean of layers", "directions in use (RankMe)", None),
    "uniformity": ("Uniformity of the last layer", "log of a mean over pairs of frames", None),
    "offline/entropy": ("Offline target: entropy of predictions", "nats per masked frame", None),
    "offline/silhouette": ("Silhouette of the predicted classes", "mean over frames", "max"),
    "offline/davies_bouldin": ("Davies-Bouldin of the predicted classes", "mean over them", "min"),
}
COSTS = {  # column: (in file names, label)
    "update": ("updates", "updates"),
    "audio_hours": ("audio_hours", "audio seen"),
    "wall_hours": ("wall_hours", "time spent in updates"),
}
_MINUTES_BELOW = 1.0  # hours
METRICS = {  # (title, what it is)
    "phone": ("Phone of a frame, linear probe", "accuracy"),
    "phone_ctc": ("Phones, linear CTC probe", "phone error rate"),
    "keyword": ("Keyword, linear probe", "accuracy"),
    "speaker": ("Speaker, linear probe", "accuracy"),
    "gender": ("Gender, linear probe", "accuracy"),
    "pitch": ("Pitch of an utterance, linear probe", "R2"),
    "energy": ("Energy of an utterance, linear probe", "R2"),
    "tempo": ("Tempo of an utterance, linear probe", "R2"),
    "abx_within": ("ABX within speakers", "error"),
    "abx_across": ("ABX across speakers", "error"),
    "offline_loss": ("Offline target, held-out audio: loss", "nats per masked frame"),
    "offline_accuracy": ("Offline target, held-out audio: accuracy", "share of masked frames"),
}
_STYLES = ["-", "--", ":", "-."]
_DASHES = ["--", ":", "-."]

Reference = tuple[float, str]  # a horizontal line and what it is


def summary(table: pd.DataFrame, cost: str) -> pd.DataFrame:
    """Return what is drawn of curves or points: the mean over the runs of a group, and their range.

    Columns: metric, group, part, update, x (the mean cost), cost (what x is, with its unit), mean,
    low, high, runs. Updates that some run of the group does not have, or where its value is no
    number, are left out.
    """
    if "part" not in table:
        table = table.assign(part="checkpoint")
    keys = ["metric", "group", "part"]
    label, scale = COSTS[cost][1], 1
    if cost != "update":
        short = table[cost].max() < _MINUTES_BELOW
        label, scale = (f"{label}, minutes", 60) if short else (f"{label}, hours", 1)
    known = table[table["value"].abs() < math.inf]
    rows = known.assign(x=scale * known[cost], cost=label)
    found = rows.groupby([*keys, "update", "cost"], sort=False)
    drawn = found.agg(
        x=("x", "mean"),
        mean=("value", "mean"),
        low=("value", "min"),
        high=("value", "max"),
        runs=("run", "nunique"),
    ).reset_index()
    runs = table.groupby(keys)["run"].nunique().rename("all").reset_index()
    drawn = drawn.merge(runs, on=keys, how="left")
    return drawn[drawn["runs"] == drawn["all"]].drop(columns="all").dropna(subset="x")


def draw_training(
    table: pd.DataFrame, cost: str, references: Mapping[str, Reference] | None = None
) -> tuple[Any, pd.DataFrame]:
    """Return a figure with a panel per metric of `training_runs.frame`, and what is drawn."""
    drawn = summary(table, cost)
    return training_figure(drawn, references), drawn


def training_figure(drawn: pd.DataFrame, references: Mapping[str, Reference] | None = None) -> Any:
    """Return a figure of a `summary` of curves, with a panel per metric.

    Training is a thin line, held-out audio a line with dots and the range of the seeds.
    """
    styles, x = looks(drawn["group"]), drawn["cost"].iloc[0]
    keys = [key for key in PANELS if key in set(drawn["metric"])]
    figure, axes = plots.panels(len(keys))
    for axis, key in zip(axes, keys, strict=True):
        title, unit, direction = PANELS[key]
        for group, look in styles.items():
            here = drawn[(drawn["metric"] == key) & (drawn["group"] == group)]
            held_out = here[here["part"] == "held out"]
            plain = {**look, "marker": "", "lw": 0.9, "alpha": 0.7}
            _line(axis, here[here["part"] == "training"], group, plain, band=held_out.empty)
            _line(axis, held_out, f"{group} (held out)", look)
        for dashes, (of, (value, text)) in zip(_DASHES, (references or {}).items(), strict=False):
            if of == key:
                axis.axhline(value, color="0.35", lw=1.2, ls=dashes, label=text)
        _finish(axis, title, x, plots.directed(unit, direction))
    plots.legend_above(figure, plots.lines_of(axes))
    return figure


def draw_scores(
    points: pd.DataFrame, cost: str, targets: Sequence[TargetScore] = ()
) -> tuple[Any, pd.DataFrame]:
    """Return a figure with a panel per metric of the checkpoints, and what is drawn."""
    drawn, styles = summary(points, cost), looks(points["group"])
    x, metrics = drawn["cost"].iloc[0], list(dict.fromkeys(drawn["metric"]))
    figure, axes = plots.panels(len(metrics))
    for axis, metric in zip(axes, metrics, strict=True):
        for group, look in styles.items():
            _line(axis, drawn[(drawn["metric"] == metric) & (drawn["group"] == group)], group, look)
        for target in targets:
            if target.metric == metric:
                axis.axhline(target.value, color="0.35", lw=1.2, ls="--", label="to reach")
        facts = points[points["metric"] == metric].iloc[0]
        title, y = _spoken(metric, facts["unit"], facts["direction"])
        _finish(axis, title, x, y)
    plots.legend_above(figure, plots.lines_of(axes))
    return figure, drawn


def looks(groups: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return colour, marker and line style of each group."""
    colours, markers = plots.COLOURS, plots.MARKERS
    return {
        group: {
            "color": colours[i % len(colours)],
            "marker": markers[i % len(markers)],
            "linestyle": _STYLES[i // len(colours) % len(_STYLES)],
            "lw": 1.8,
            "ms": 4,
        }
        for i, group in enumerate(dict.fromkeys(groups))
    }


def _finish(axis: Any, title: str, x: str, y: str) -> None:
    plots.tidy(axis, title, x, y)
    axis.set_xlim(left=0)
    axis.locator_params(axis="x", nbins=7)


def _spoken(metric: str, unit: str, direction: str) -> tuple[str, str]:
    """Title and vertical label of a metric's panel."""
    if metric in METRICS:
        title, name = METRICS[metric]
    else:
        task, slash, name = metric.rpartition("/")
        title = f"SUPERB {task.upper()}" if slash else metric
        name += f", {unit}" if unit else ""
    return title, plots.directed(name, direction)


def _line(
    axis: Any, drawn: pd.DataFrame, label: str, look: Mapping[str, Any], band: bool = True
) -> None:
    """Draw the mean of the seeds; with ``band``, the range between them too."""
    if drawn.empty:
        return
    axis.plot(drawn["x"], drawn["mean"], label=plots.legend_name(label), **look)
    if band and drawn["runs"].iloc[0] > 1:
        axis.fill_between(
            drawn["x"], drawn["low"], drawn["high"], color=look["color"], alpha=0.18, lw=0
        )
