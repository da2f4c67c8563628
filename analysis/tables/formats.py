"""Tables as Markdown, LaTeX, HTML and CSV: what stands in them is decided elsewhere."""

import html
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mt4ssl_core.files import plain_cell

if TYPE_CHECKING:
    from pandas import DataFrame

BEST, SECOND = "best", "second"


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


def latex(grids: Sequence[Grid]) -> str:
    """Return one ``table*`` per table, for \\input.

    Needs no package; where graphicx is loaded, tables are as wide as the text.
    """
    return "\n".join(map(_latex, grids))


def _latex(grid: Grid) -> str:
    marks = {BEST: r"\textbf{%s}", SECOND: r"\underline{%s}", "": "%s"}
    lines = [
        r"\begin{table*}",
        r"\centering\scriptsize\setlength{\tabcolsep}{2pt}\def\arraystretch{1.15}",
        rf"\caption{{{latex_text(grid.title)}}}\smallskip",
        r"\providecommand{\resizebox}[3]{#3}",
        r"\resizebox{\textwidth}{!}{%",
        rf"\begin{{tabular}}{{l{'r' * (len(grid.heads) - 1)}}}",
        r"\hline",
    ]
    above = [rf"\multicolumn{{{span}}}{{c}}{{{latex_text(text)}}}" for text, span in grid.groups]
    lines += [_row(above), _row([latex_text(head) for head in grid.heads]), r"\hline"]
    for number, row in enumerate(grid.rows):
        if grid.ruled and number == grid.rule:
            lines.append(r"\hline")
        lines.append(_row([marks[cell.mark] % latex_text(cell.text) for cell in row]))
    lines += [r"\hline", r"\end{tabular}}"]
    lines += [rf"\par\smallskip {latex_text(note)}" for note in grid.notes]
    return "\n".join([*lines, r"\end{table*}", ""])


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


_STYLE = """
:root { color-scheme: light dark; --line: #8888; --text: #1a1a1a; --back: #ffffff; }
@media (prefers-color-scheme: dark) { :root { --text: #e8e8e8; --back: #16181c; } }
body { font: 15px/1.45 system-ui, sans-serif; color: var(--text); background: var(--back);
  margin: 1.5rem; }
.wide { overflow-x: auto; margin-bottom: 2.5rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding-bottom: .5rem; }
th, td { padding: .2rem .55rem; text-align: right; white-space: nowrap; }
thead th { text-align: center; font-weight: 600; }
tr > :first-child { text-align: left; position: sticky; left: 0; background: var(--back); }
tbody th { font-weight: 400; }
thead { border-bottom: 2px solid var(--text); }
tr.rule > * { border-top: 2px solid var(--text); }
tbody tr + tr:not(.rule) > * { border-top: 1px solid var(--line); }
ul { font-size: .87em; margin: .6rem 0 0; padding-left: 1.2rem; }
@media print { .wide { overflow: visible; } body { font-size: 8px; margin: 0; } }
""".strip()


def page(grids: Sequence[Grid], title: str) -> str:
    """Return an HTML page that needs nothing else."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>\n{_STYLE}\n</style>\n</head>\n<body>\n"
        + "\n".join(map(_html, grids))
        + "\n</body>\n</html>\n"
    )


def _html(grid: Grid) -> str:
    marks = {BEST: "<b>{}</b>", SECOND: "<u>{}</u>", "": "{}"}
    lines = [
        '<div class="wide">',
        "<table>",
        f"<caption>{html.escape(grid.title)}</caption>",
        "<thead>",
    ]
    above = [
        f'<th colspan="{span}" scope="colgroup">{html.escape(text)}</th>'
        for text, span in grid.groups
    ]
    below = [f'<th scope="col">{html.escape(head)}</th>' for head in grid.heads]
    lines += [f"<tr>{''.join(above)}</tr>", f"<tr>{''.join(below)}</tr>", "</thead>", "<tbody>"]
    for number, (name, *row) in enumerate(grid.rows):
        cells = [f"<td>{marks[cell.mark].format(html.escape(cell.text))}</td>" for cell in row]
        kind = ' class="rule"' if grid.ruled and number == grid.rule else ""
        lines.append(
            f'<tr{kind}><th scope="row">{html.escape(name.text)}</th>{"".join(cells)}</tr>'
        )
    lines += ["</tbody>", "</table>"]
    if grid.notes:
        lines += ["<ul>", *(f"<li>{html.escape(note)}</li>" for note in grid.notes), "</ul>"]
    return "\n".join([*lines, "</div>"])


def plain_csv(frame: "DataFrame") -> str:
    """Return a table as CSV, in which no spreadsheet finds a formula (see `plain_cell`)."""
    plain = frame.map(plain_cell).rename(columns=plain_cell)
    return plain.to_csv(index=False, lineterminator="\n")
