"""Loss and accuracy of pre-training runs against updates."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from mt4ssl_core.files import atomic_path
from mt4ssl_core.log import read_jsonl

# Okabe and Ito's palette: told apart by colour-blind readers
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"]

PANELS = {  # key in the log: (title, unit)
    "offline/loss": ("Offline target: loss", "nats per masked frame"),
    "offline/accuracy": ("Offline target: accuracy", "share of masked frames"),
    "online/loss": ("Online target: loss", "squared error / sqrt(D)"),
    "online/target_var": ("Teacher: standard deviation", "of targets, mean over channels"),
    "random_projection/loss": ("Random projection: loss", "nats per masked frame"),
    "random_projection/accuracy": ("Random projection: accuracy", "share of masked frames"),
}


def curves(run: str | Path) -> dict[str, list[tuple[int, float]]]:
    """The curves in a run's log.jsonl: key -> [(update, value), ...]; "valid/..." is held out.

    Raises:
        ValueError: there is no log.
    """
    path = Path(run) / "log.jsonl"
    if not path.is_file():
        raise ValueError(f"{path}: no such log; give the run.out folder of `mt4ssl pretrain`")
    found: dict[str, list[tuple[int, float]]] = {}
    for record in read_jsonl(path):
        for key, value in record.items():
            if isinstance(value, int | float) and key != "update":
                found.setdefault(key, []).append((record["update"], value))
    return found


def plot(
    runs: Mapping[str, str | Path],
    out: str | Path,
    references: Mapping[str, tuple[float, str]] | None = None,
) -> Path:
    """Draw the runs (label -> folder) and write ``out`` (.png or .svg) atomically.

    Training is a thin line, held-out audio a line with dots. ``references`` draws horizontal lines:
    key -> (value, label), e.g. the entropy of the labels under "offline/loss".

    Raises:
        ValueError: a run without a log, or none with anything to draw.
    """
    data = {label: curves(folder) for label, folder in runs.items()}
    keys = [key for key in PANELS if any(key in found for found in data.values())]
    if not keys:
        raise ValueError(f"{', '.join(map(str, runs.values()))}: the logs are empty; train longer")
    columns = min(2, len(keys))
    rows = -(-len(keys) // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(5.2 * columns, 3.3 * rows), squeeze=False, layout="constrained"
    )
    for axis in axes.flat[len(keys) :]:
        axis.set_visible(False)
    for axis, key in zip(axes.flat, keys, strict=False):
        _panel(axis, key, data, (references or {}).get(key))
    lines = {line.get_label(): line for axis in axes.flat for line in axis.get_lines()}
    shown = {label: line for label, line in lines.items() if not str(label).startswith("_")}
    figure.legend(
        shown.values(), shown.keys(), loc="outside upper center", ncols=3, frameon=False, fontsize=8
    )
    out = Path(out)
    with atomic_path(out) as temporary:
        figure.savefig(temporary, format=out.suffix.lstrip("."), dpi=150)
    plt.close(figure)
    return out


def _panel(
    axis: Any,
    key: str,
    data: Mapping[str, dict[str, list[tuple[int, float]]]],
    reference: tuple[float, str] | None,
) -> None:
    title, unit = PANELS[key]
    for colour, (label, found) in zip(COLOURS, data.items(), strict=False):
        for name, style, suffix in ((key, "-", ""), (f"valid/{key}", "o-", " (held out)")):
            if name in found:
                x, y = zip(*found[name], strict=True)
                wide = 0.9 if not suffix else 1.8
                axis.plot(x, y, style, color=colour, lw=wide, ms=3.5, label=label + suffix)
    if reference is not None:
        value, text = reference
        axis.axhline(value, color="0.35", lw=1, ls="--")
        place = {"xy": (0.99, value), "xycoords": ("axes fraction", "data")}
        axis.annotate(
            text, **place, xytext=(0, 3), textcoords="offset points", ha="right", fontsize=8
        )
    axis.set_title(title, fontsize=10)
    axis.set_xlabel("updates")
    axis.set_ylabel(unit)
    axis.grid(alpha=0.25)
    axis.spines[["top", "right"]].set_visible(False)
