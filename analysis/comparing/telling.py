"""A comparison in words, as a table and as JSON."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from analysis.comparing.comparison import LEVEL, Comparison, Finding
from analysis.comparing.resampling import DRAWS
from analysis.records.score import ARROWS
from analysis.tables import formats
from analysis.tables.formats import Cell, Grid
from mt4ssl_core.command_line import aligned
from mt4ssl_core.files import write_json, write_text

JSON, TABLE = "compare.json", "compare.md"


def sentence(found: Finding, first: str, second: str) -> str:
    """Return what is found in one score; with one head seed it is found of these heads only."""
    ahead = found.gain >= 0
    better, gain = (first, found.gain) if ahead else (second, -found.gain)
    low, high = (found.low, found.high) if ahead else (-found.high, -found.low)
    interval = f"({_digits(low)} to {_digits(high)})"
    what = f"{found.task} {found.metric}"
    if found.differs:
        only = "; of these heads, not of their encoders" if found.one_seed else ""
        return f"{what}: {better} is better by {_digits(gain)} points {interval}, {_p(found)}{only}"
    if not found.gain:
        return f"{what}: no difference shown: both have {_digits(found.first)}, {_p(found)}"
    return (
        f"{what}: no difference shown: {better} is ahead by {_digits(gain)} points {interval}, "
        f"{_p(found)}"
    )


def text(compared: Comparison) -> str:
    """Return the sentences, the table and the notes as they are printed."""
    shown = grid(compared)
    rows = [[cell.text for cell in row[:-1]] for row in shown.rows]
    lines = [*sentences(compared), "", aligned([shown.heads[:-1], *rows]), "", *shown.notes]
    return "\n".join(lines)


def page(compared: Comparison) -> str:
    """Return them as Markdown."""
    lines = "".join(f"- {formats.markdown_text(line)}\n" for line in sentences(compared))
    return f"{lines}\n{formats.markdown([grid(compared)])}"


def sentences(compared: Comparison) -> list[str]:
    """Return what is found in each score."""
    return [sentence(each, compared.first, compared.second) for each in compared.findings]


def grid(compared: Comparison) -> Grid:
    """Return the table: a row for each score."""
    heads = ["score", compared.first, compared.second, "first is better by", "95 %", "p"]
    heads += ["p (Holm)", "items", "speakers", "tests"]
    rows = [[Cell(cell) for cell in _row(each)] for each in compared.findings]
    notes = [
        f"p: the largest of the tests; a difference is shown where Holm's p is below {LEVEL:g}. "
        f"Interval: the wider of those over items and over speakers, {DRAWS} draws.",
        *compared.notes,
    ]
    title = f"{compared.first} against {compared.second}"
    return Grid(title, [("", len(heads))], heads, rows, notes=notes)


def tell(compared: Comparison, out: str | Path | None = None) -> None:
    """Print a comparison, and write it into a folder if one is given."""
    print(text(compared))
    for path in write(compared, out) if out is not None else []:
        print(f"written: {path}")


def write(compared: Comparison, out: str | Path) -> list[Path]:
    """Write compare.json and compare.md into a folder; returns their paths."""
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / JSON, record(compared))
    write_text(folder / TABLE, page(compared))
    return [folder / JSON, folder / TABLE]


def record(compared: Comparison) -> dict[str, Any]:
    """Return a comparison with all digits."""
    findings = [
        {**asdict(each), "differs": each.differs,
         "sentence": sentence(each, compared.first, compared.second)}
        for each in compared.findings
    ]  # fmt: skip
    setting = {"draws": DRAWS, "level": LEVEL, "correction": "Holm"}
    names = {"first": compared.first, "second": compared.second}
    return {**names, "setting": setting, "findings": findings, "notes": compared.notes}


def _row(found: Finding) -> list[str]:
    scores = zip((found.first, found.second), found.deviations, strict=True)
    shown = [_digits(value) + (f" ±{_digits(d)}" if d is not None else "") for value, d in scores]
    tests = ", ".join(f"{name} {_number(p)}" for name, p in found.tests.items())
    interval = f"{_digits(found.low)} to {_digits(found.high)}"
    people = "-" if found.speakers is None else str(found.speakers)
    return [
        f"{found.task} {found.metric} {ARROWS[found.direction]}", *shown,
        _digits(found.gain), interval, _number(found.p), _number(found.corrected),
        str(found.items), people, tests,
    ]  # fmt: skip


def _p(found: Finding) -> str:
    shown = _number(found.corrected)
    return f"p {shown}" if shown.startswith("<") else f"p = {shown}"


def _number(p: float) -> str:
    if p < 0.001:
        return "< .001"
    least = 2 if p >= 0.01 else 3
    digits = next((n for n in range(least, 9) if round(p, n) != LEVEL), least)
    return f"{p:.{digits}f}".removeprefix("0")


def _digits(value: float) -> str:
    return f"{round(value, 2) + 0.0:.2f}"
