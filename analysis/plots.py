"""How the plots look, and that each leaves the numbers behind it: SVG, PNG and CSV."""

from collections.abc import Mapping, Sequence
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
WIDTH = 8.4  # inches of a figure: the 840 pixels of a page's column
COLOUR_MAP = "cividis"  # of every heat map: alike to colour-blind readers, and in grey
BETTER = {"max": "↑ higher is better", "min": "↓ lower is better"}  # by a metric's direction
MARKERS = ["o", "s", "^", "D", "v", "P"]  # and in print without colour
_TICKS = 13
_LETTERS = 12  # of a legend, per inch
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


def panels(count: int, height: float = 3.1) -> tuple[Any, list[Any]]:
    """Return a figure of some panels, two beside each other, and their axes; height of a row."""
    columns = min(2, count)
    figure, axes = new(-(-count // columns), columns, WIDTH / 2 if count > 1 else 5.2, height)
    for axis in axes.flat[count:]:
        axis.set_visible(False)
    return figure, list(axes.flat[:count])


def tidy(axis: Any, title: str, x: str, y: str) -> None:
    """Give an axis its title, what x and y are (with units), and a light grid."""
    axis.set_title(title, fontsize=10)
    axis.set_xlabel(x)
    axis.set_ylabel(y)
    axis.grid(alpha=0.25)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)


def directed(unit: str, direction: str | None) -> str:
    """Return the label of an axis: its unit, and below it where better is, if anywhere."""
    return f"{unit}\n{BETTER[direction]}" if direction else unit


def lines_of(axes: Sequence[Any]) -> dict[str, Any]:
    """Return the lines of some axes that have a name, by it."""
    lines = {str(line.get_label()): line for axis in axes for line in axis.get_lines()}
    return {name: line for name, line in lines.items() if not name.startswith("_")}


def legend_above(figure: Any, lines: Mapping[str, Any]) -> None:
    """Name lines above a figure, off the data, in as many columns as fit."""
    if lines:
        fit = int(_LETTERS * figure.get_figwidth() / (max(map(len, lines)) + 7))
        place = {"loc": "outside upper center", "ncols": max(1, min(len(lines), fit))}
        figure.legend(lines.values(), lines.keys(), frameon=False, fontsize=8, **place)


def heat_map(axis: Any, values: np.ndarray, low: float, high: float, **options: Any) -> Any:
    """Draw values (rows, columns) on a scale from low to high; return the image, for its bar."""
    high = high if high > low else low + 1e-6
    axis.grid(False)
    return axis.imshow(values, cmap=COLOUR_MAP, vmin=low, vmax=high, **options)


def ink_on(image: Any, value: float) -> str:
    """Return the colour in which a text can be read on a cell of a heat map."""
    red, green, blue, _ = image.cmap(image.norm(value))
    return "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 0.5 else "white"


def layer_ticks(axis: Any, layers: int) -> None:
    """Number the layers of an axis (axis.xaxis or axis.yaxis) from 0, some of them where many."""
    axis.set_ticks(range(0, layers, 1 if layers <= _TICKS else -(-layers // _TICKS)))


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
