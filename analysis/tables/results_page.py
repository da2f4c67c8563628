"""Tables for docs and the demo: records of s3prl experiments in, Markdown out."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.records.score import ARROWS
from analysis.tables.formats import markdown_text
from mt4ssl_core.files import read_json, write_text

COLUMNS = {"task", "metric", "value", "direction"}


def load(folders: Iterable[str | Path], split: str = "test") -> pd.DataFrame:
    """The records of every results.json under ``folders``, one row each, with column ``folder``.

    Raises:
        ValueError: nothing was found, or a file is not a list of records.
    """
    rows: list[dict[str, Any]] = []
    paths = [Path(folder) for folder in folders]
    for root in paths:
        for path in sorted(root.rglob("results.json")):
            try:
                records = read_json(path)
                wrong = [r for r in records if not r.keys() >= COLUMNS]
            except (AttributeError, TypeError):
                wrong = [{}]
            if wrong:
                raise ValueError(
                    f"{path}: expected a list of records with {', '.join(sorted(COLUMNS))}; "
                    "evaluate the experiment again"
                )
            rows += [{**r, "folder": str(path.parent)} for r in records if r.get("split") == split]
    if not rows:
        listing = ", ".join(map(str, paths)) or "no folder"
        raise ValueError(f"{listing}: no results.json with split {split!r}; run a task first")
    return pd.DataFrame(rows)


def markdown(frame: pd.DataFrame, systems: Sequence[str], digits: int = 1) -> str:
    """A table: one row per system, one column per task and metric, in per cent, best in bold.

    ``frame`` has the columns system, task, metric, value (fraction), direction. Several values of
    one cell (seeds) become their mean ± sample standard deviation. A cell without a value is "-".
    """
    columns = list(dict.fromkeys(zip(frame.task, frame.metric, frame.direction, strict=True)))
    header = ["system"]
    header += [f"{markdown_text(f'{t.upper()} {m}')} % {ARROWS[d]}" for t, m, d in columns]
    cells = {}
    for task, metric, direction in columns:
        part = frame[(frame.task == task) & (frame.metric == metric)]
        part = part.assign(value=pd.to_numeric(part.value, errors="coerce"))
        means = part.groupby("system").value.mean()
        n = part.groupby("system").value.size().max()
        best = means.max() if direction == "max" else means.min()
        for system, values in part.groupby("system").value:
            values = values.dropna()
            if values.empty:
                cells[system, task, metric] = "nan"
                continue
            text = f"{100 * means[system]:.{digits}f}"
            if len(values) > 1:
                text += f" ± {100 * values.std():.{digits}f}"
            text += f" ({len(values)} of {n} seeds)" if len(values) < n else ""
            bold = means[system] == best
            cells[system, task, metric] = f"**{text}**" if bold else text
    lines = ["| " + " | ".join(header) + " |", "|" + " --- |" * len(header)]
    for system in systems:
        row = [cells.get((system, task, metric), "-") for task, metric, _ in columns]
        lines.append("| " + " | ".join([markdown_text(system), *row]) + " |")
    return "\n".join(lines) + "\n"


def between_markers(path: str | Path, name: str, text: str) -> bool:
    """Put ``text`` between ``<!-- name -->`` and ``<!-- /name -->``; True when the file changed.

    Raises:
        ValueError: the markers are not in the file.
    """
    path = Path(path)
    old = path.read_text(encoding="utf-8")
    start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    if start not in old or end not in old:
        raise ValueError(
            f"{path}: {start} ... {end} not found; put both lines where the table goes"
        )
    head, rest = old.split(start, 1)
    new = f"{head}{start}\n{text.strip()}\n{end}{rest.split(end, 1)[1]}"
    if new != old:
        write_text(path, new)
    return new != old
