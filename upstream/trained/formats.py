"""Predictions as text: a table, CSV, or a JSON object per line."""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mt4ssl_core.command_line import aligned, printable
from mt4ssl_core.files import plain_cell

if TYPE_CHECKING:
    from upstream.trained.answers import Prediction

TABLE, CSV, JSONL = FORMATS = ("table", "csv", "jsonl")
DIGITS = 6


def choose(format: str | None, out: Path | None) -> str:
    """Return the format that is asked for; None: as the file's name ends, else a table.

    Raises:
        ValueError: there is no such format.
    """
    ending = "" if out is None else out.suffix.lower().removeprefix(".")
    chosen = format or (ending if ending in FORMATS else TABLE)
    if chosen not in FORMATS:
        raise ValueError(f"format {chosen!r}: unknown; use {', '.join(FORMATS)}")
    return chosen


def written(rows: Sequence[tuple[str, "Prediction"]], format: str, name: str) -> str:
    """Return a file's name and what was said of it per line.

    Args:
        rows: names and predictions.
        format: one of `FORMATS`.
        name: what is predicted: "label" or "text".
    """
    if format == JSONL:
        return "".join(json.dumps(_record(*row, name), ensure_ascii=False) + "\n" for row in rows)
    others = max((len(said.others) for _, said in rows), default=0)
    # an intent's label has its slots
    slots = (name == "text" or format == CSV) and any(said.slots for _, said in rows)
    head = ["file", name, "confidence", *(["slots"] if slots else [])]
    for place in range(2, others + 2):
        head += [f"{name}_{place}", f"confidence_{place}"]
    lines = [_cells(file, said, slots, others) for file, said in rows]
    if format == TABLE:
        shown = [[_shown(cell) for cell in line] for line in lines]
        return aligned([head, *shown]) + "\n"
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(head)
    table.writerows([plain_cell(cell) for cell in line] for line in lines)
    return text.getvalue()


def _record(file: str, said: "Prediction", name: str) -> dict[str, Any]:
    found: dict[str, Any] = {"file": file, name: said.text}
    found["confidence"] = said.confidence and round(said.confidence, DIGITS)
    if said.slots:
        found["slots"] = [{"slot": slot, "value": value} for slot, value in said.slots]
    if said.others:
        found["others"] = [
            {name: text, "confidence": round(share, DIGITS)} for text, share in said.others
        ]
    return found


def _cells(file: str, said: "Prediction", slots: bool, others: int) -> list[Any]:
    cells: list[Any] = [file, said.text, said.confidence and round(said.confidence, DIGITS)]
    if slots:
        cells.append("; ".join(f"{slot}={value}" for slot, value in said.slots))
    for text, share in said.others:
        cells += [text, round(share, DIGITS)]
    return cells + [""] * 2 * (others - len(said.others))


def _shown(cell: Any) -> str:
    if cell is None:
        return "-"
    return f"{cell:.3f}" if isinstance(cell, float) else printable(cell)
