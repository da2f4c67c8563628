"""Tables as Markdown, LaTeX and CSV: what stands in them is decided elsewhere."""

import html
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING

from mt4ssl_core.files import plain_cell

if TYPE_CHECKING:
    from pandas import DataFrame

BEST, SECOND = "best", "second"
# 1,234.5, with a bound, range or deviation: ≤ 300, 730 (591 to 1,000), 2 of 3, 9.1 ±0.2, (2/10);
# - and nothing: none
_NUMBER = re.compile(r"(?:[≤≥] )?-?[\d,]*\.?\d+(?: \(.*\)| of \d+| ±[\d.]+)?|\(\d+/\d+\)|-?")


@dataclass(frozen=True)
class Cell:
    """A text, and whether it is the best or second of its column."""

    text: str
    mark: str = ""


@dataclass(frozen=True)
class Grid:
    """A table that is ready to be written.

    ``groups``: the upper head, (text, columns it spans); ``heads``: the lower head. ``rule``: how
    many rows stand above a rule.
    """

    title: str
    groups: list[tuple[str, int]]
    heads: list[str]
    rows: list[list[Cell]]
    rule: int = 0
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """See that all rows are equally long."""
        width = sum(span for _, span in self.groups)
        assert {width} == {len(self.heads), *map(len, self.rows)}, self.title

    @property
    def ruled(self) -> bool:
        """Whether there are rows on both sides of the rule."""
        return 0 < self.rule < len(self.rows)

    @property
    def worded(self) -> list[bool]:
        """For each column, whether anything in it is neither a number nor missing."""
        texts = [[row[place].text for row in self.rows] for place in range(len(self.heads))]
        return [not all(map(_NUMBER.fullmatch, column)) for column in texts]


def markdown(grids: Sequence[Grid]) -> str:
    """Return GitHub's Markdown; the rule is a row of dashes."""
    return "\n\n".join(map(_markdown, grids)) + "\n"


def _markdown(grid: Grid) -> str:
    marks = {BEST: "**{}**", SECOND: "<u>{}</u>", "": "{}"}
    groups = [text for text, span in grid.groups for _ in range(span)]
    heads = [f"{above} {below}".strip() for above, below in zip(groups, grid.heads, strict=True)]
    lines = [list(map(markdown_text, heads)), ["---", *["---:"] * (len(heads) - 1)]]
    for number, row in enumerate(grid.rows):
        if grid.ruled and number == grid.rule:
            lines.append(["—"] * len(row))
        lines.append([marks[cell.mark].format(markdown_text(cell.text)) for cell in row])
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    notes = "".join(f"\n- {markdown_text(note)}" for note in grid.notes)
    return f"**{markdown_text(grid.title)}**\n\n{table}" + (f"\n{notes}" if notes else "")


def one_line(text: str) -> str:
    """Return a text on one line; what cannot be printed, and may steer a terminal, is U+FFFD."""
    line = " ".join(text.split())
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line)


def markdown_text(text: str) -> str:
    """Return a text as Markdown shows it: one line, its signs without their meaning."""
    plain = html.escape(one_line(text), quote=False)
    return re.sub(r"([\\`*|\[\]~]|(?<!\w)_|_(?!\w))", r"\\\1", plain)


def latex(grids: Sequence[Grid], booktabs: bool = False) -> str:
    """Return one ``table*`` per table, for \\input.

    Needs no package, or with ``booktabs`` that one; where graphicx is loaded, tables are as wide as
    the text.
    """
    return "\n".join(_latex(grid, booktabs) for grid in grids)


def _latex(grid: Grid, booktabs: bool) -> str:
    top, middle, bottom = _BOOKTABS if booktabs else [r"\hline"] * 3
    marks = {BEST: r"\textbf{%s}", SECOND: r"\underline{%s}", "": "%s"}
    lines = [
        r"\begin{table*}",
        r"\centering\scriptsize\setlength{\tabcolsep}{2pt}\def\arraystretch{1.15}",
        rf"\caption{{{latex_text(grid.title)}}}\smallskip",
        r"\providecommand{\resizebox}[3]{#3}",
        r"\resizebox{\textwidth}{!}{%",
        rf"\begin{{tabular}}{{l{'r' * (len(grid.heads) - 1)}}}",
        top,
    ]
    above = [rf"\multicolumn{{{span}}}{{c}}{{{latex_text(text)}}}" for text, span in grid.groups]
    spans = _spans(grid.groups) if booktabs else []
    lines += [_row(above), *spans, _row([latex_text(head) for head in grid.heads]), middle]
    for number, row in enumerate(grid.rows):
        if grid.ruled and number == grid.rule:
            lines.append(middle)
        lines.append(_row([marks[cell.mark] % latex_text(cell.text) for cell in row]))
    lines += [bottom, r"\end{tabular}}"]
    lines += [rf"\par\smallskip {latex_text(note)}" for note in grid.notes]
    return "\n".join([*lines, r"\end{table*}", ""])


_BOOKTABS = (r"\toprule", r"\midrule", r"\bottomrule")


def _spans(groups: Sequence[tuple[str, int]]) -> list[str]:
    """Return a rule below each group of several columns."""
    ends = list(accumulate(span for _, span in groups))
    rules = [
        rf"\cmidrule(lr){{{end - span + 1}-{end}}}"
        for (_, span), end in zip(groups, ends, strict=True)
        if span > 1
    ]
    return ["".join(rules)] if rules else []


def _row(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


_LATEX = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    **{character: f"{{{character}}}" for character in "[]*"},  # options, after two backslashes
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': "''",
    "↑": r"$\uparrow$", "↓": r"$\downarrow$", "±": r"$\pm$",
}  # fmt: skip


def latex_text(text: str) -> str:
    """Return text as LaTeX without packages shows it.

    Letters that its plain fonts lack lose their accents, or become U+XXXX.
    """
    return "".join(map(_latex_character, " ".join(text.split())))


def _latex_character(character: str) -> str:
    if character in _LATEX:
        return _LATEX[character]
    if character.isascii():
        return character if character.isprintable() else ""
    plain = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    return plain if plain.isalnum() else f"U+{ord(character):04X}"


def plain_csv(frame: "DataFrame") -> str:
    """Return a table as CSV, in which no spreadsheet finds a formula (see `plain_cell`)."""
    plain = frame.map(plain_cell).rename(columns=plain_cell)
    return plain.to_csv(index=False, lineterminator="\n")
