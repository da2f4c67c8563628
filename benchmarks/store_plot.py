#!/usr/bin/env python
"""Draw what the feature store saves, from the committed results: the picture of README.

    python benchmarks/store_plot.py

Steps of training per second of SUPERB's tasks, with s3prl as it is and with the store, at the
setting that keeps to SUPERB (crops drawn anew). Written as SVG, PNG and CSV beside the JSON.
"""

import sys
from pathlib import Path
from typing import Any

import pandas as pd

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
from analysis import plots  # noqa: E402
from benchmarks.store_rows import EXACT  # noqa: E402
from mt4ssl_core.files import read_json  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results"
PICTURE = RESULTS / "feature_store"  # .svg, .png, .csv
X = "training steps per second, from the second epoch on (BASE encoder, two CPU cores)"
GROUPS = {"pooled": "on by default (exact)", "frames": "with --store frames (fp16)"}
TASKS = {
    "er": "emotion",
    "ic": "intent",
    "ks": "keywords",
    "sid": "speaker",
    "pr": "phones",
    "sd": "who speaks when",
    "asv": "same speaker?",
    "sf": "slots",
    "asr": "text",
}
WIDTH, HEIGHT = 8.4, 3.9  # inches: 840 pixels of a page


def rows() -> pd.DataFrame:
    """Return a row per task, the most gained first within each kind of features.

    Columns: task, kept (pooled or frames), plain, stored (steps per second), times.
    """
    (path,) = RESULTS.glob("feature_store_*.json")
    found = [
        {
            "task": row["task"],
            "kept": row["kind"],
            "plain": row["plain_steps_per_s"],
            "stored": row["warm_steps_per_s"],
            "times": row["ratio_warm"],
        }
        for row in read_json(path)["rows"]
        if row["mode"] == EXACT
    ]
    return pd.DataFrame(found).sort_values(["kept", "times"], ascending=False, ignore_index=True)


def draw(table: pd.DataFrame) -> Any:
    """Return a figure: a line from s3prl's speed to ours for each task, on a logarithmic scale."""
    figure, axes = plots.new(1, 1, WIDTH, HEIGHT)
    axis, places = axes[0, 0], _places(table)
    for kind, colour in zip(GROUPS, plots.COLOURS, strict=False):
        here = table["kept"] == kind
        axis.hlines(places[here], table["plain"][here], table["stored"][here], colour, lw=3)
        axis.plot(table["stored"][here], places[here], "o", ms=9, color=colour, label=GROUPS[kind])
    axis.plot(table["plain"], places, "o", ms=7, mfc="white", mec="0.3", label="s3prl as it is")
    for place, stored, gained in zip(places, table["stored"], table["times"], strict=True):
        times = f"{gained:,.0f}x" if gained >= 10 else f"{gained:.1f}x"
        at = (stored, place)
        axis.annotate(times, at, (9, 0), textcoords="offset points", va="center", weight="bold")
    axis.set_xscale("log")
    axis.set_xlim(right=300)
    axis.xaxis.set_major_formatter("{x:g}")  # the plots show no mathematics
    axis.set_yticks(places, [f"{TASKS[task]} ({task.upper()})" for task in table["task"]])
    plots.tidy(axis, "SUPERB: training a head, as s3prl does it and with stored features", X, "")
    axis.grid(axis="y", visible=False)
    axis.legend(loc="lower right", frameon=False)
    return figure


def _places(table: pd.DataFrame) -> pd.Series:
    """Heights of the lines, from the top down, with a gap between the kinds."""
    gap = (table["kept"] != table["kept"].iloc[0]) * 0.6
    return -(table.index.to_series() + gap)


if __name__ == "__main__":
    drawn = rows()
    plots.save(draw(drawn), PICTURE, drawn)
    print(f"written: {PICTURE}.svg")
