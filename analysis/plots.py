"""How the plots look, and that each leaves the numbers behind it: SVG, PNG and CSV."""

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from analysis.tables.formats import plain_csv
from mt4ssl_core.files import atomic_path, write_text

plt.rcParams["text.parse_math"] = False  # a $ in the name of a run is a $

# Okabe and Ito's palette: told apart by colour-blind readers
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"]
MARKERS = ["o", "s", "^", "D", "v", "P"]  # and in print without colour
_SAME_TWICE: dict[Any, Any] = {
    "svg.hashsalt": "mt4ssl"
}  # ids in an SVG do not change from run to run
_SIZES: dict[Any, Any] = {"font.size": 9, "axes.titlesize": 10, "legend.fontsize": 8}


def line_style(number: int) -> tuple[str, str]:
    """Return colour and marker of the n-th line; they repeat after six."""
    return COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]


def legend_name(name: str) -> str:
    """Return a name as a legend takes it: matplotlib leaves out what begins with _."""
    return f"\N{ZERO WIDTH SPACE}{name}" if name.startswith("_") else name


def new(
    rows: int = 1, columns: int = 1, width: float = 5.2, height: float = 3.3
) -> tuple[Any, np.ndarray]:
    """Return a figure and its axes (rows, columns); width and height of each in inches."""
    with plt.rc_context(_SIZES):
        return plt.subplots(
            rows,
            columns,
            figsize=(width * columns, height * rows),
            squeeze=False,
            layout="constrained",
        )


def tidy(axis: Any, title: str, x: str, y: str) -> None:
    """Give an axis its title, what x and y are (with units), and a light grid."""
    axis.set_title(title, fontsize=10)
    axis.set_xlabel(x)
    axis.set_ylabel(y)
    axis.grid(alpha=0.25)
    axis.spines[["top", "right"]].set_visible(False)


def save(figure: Any, base: str | Path, data: pd.DataFrame) -> None:
    """Write base.svg, base.png and base.csv (``data``), each atomically, and close the figure."""
    kinds: dict[str, dict[str, Any]] = {"svg": {"metadata": {"Date": None}}, "png": {"dpi": 150}}
    for suffix, options in kinds.items():
        with (
            atomic_path(f"{base}.{suffix}") as temporary,
            plt.rc_context({**_SAME_TWICE, **_SIZES}),
        ):
            figure.savefig(temporary, format=suffix, **options)
    write_text(f"{base}.csv", plain_csv(data))
    plt.close(figure)
