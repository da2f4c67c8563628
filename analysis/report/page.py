"""The report as HTML: one page that needs nothing else, and the blocks that it is made of."""

import base64
import hashlib
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from analysis.tables.formats import BEST, SECOND, Grid

# 1,234.5, with a bound or a range: ≤ 300, 730 (591 to 1,000), 2 of 3, (2/10); - and nothing: none
_NUMBER = re.compile(r"(?:[≤≥] )?-?[\d,]*\.?\d+(?: \(.*\)| of \d+)?|\(\d+/\d+\)|-?")
_MARKS = {BEST: "<strong>{}</strong>", SECOND: "<u>{}</u>", "": "{}"}


@dataclass(frozen=True)
class Section:
    """A part of the page with a heading; ``body`` is HTML."""

    id: str
    title: str
    body: str


def page(name: str, lead: str, sections: Sequence[Section]) -> str:
    """Return the page; ``lead`` is HTML that stands below its heading, ``name``."""
    digest = base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()
    policy = (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
        f"form-action 'none'; script-src 'sha256-{digest}'"
    )
    links = "".join(f'<li><a href="#{s.id}">{escape(s.title)}</a></li>' for s in sections)
    parts = "\n".join(
        f'<section id="{s.id}" aria-labelledby="{s.id}-title">\n'
        f'<h2 id="{s.id}-title">{escape(s.title)}</h2>\n{s.body}\n</section>'
        for s in sections
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        '<link rel="icon" href="data:,">\n'
        f"<title>{escape(name)}: mt4ssl report</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f"<header>\n<h1>{escape(name)}</h1>\n{lead}\n"
        f'<nav aria-label="Sections"><ul>{links}</ul></nav>\n</header>\n'
        f"<main>\n{parts}\n</main>\n<script>{_SCRIPT}</script>\n</body>\n</html>\n"
    )


def table(grid: Grid, own: Collection[str] = ()) -> str:
    """Return a table in a box of its own that scrolls; ``own`` rows stand out.

    With JavaScript, a click on a head sorts by its column.
    """
    lines = ["<thead>"]
    if any(text for text, _ in grid.groups):
        above = "".join(
            f'<th colspan="{span}" scope="colgroup">{escape(text)}</th>'
            for text, span in grid.groups
        )
        lines.append(f"<tr>{above}</tr>")
    kinds = [_kind(cell.text for cell in column) for column in zip(*grid.rows, strict=True)]
    kinds = kinds or [""] * len(grid.heads)
    below = "".join(
        f'<th scope="col"{kind}>{escape(head)}</th>'
        for head, kind in zip(grid.heads, kinds, strict=True)
    )
    lines += [f"<tr>{below}</tr>", "</thead>", "<tbody>"]
    for number, (first, *rest) in enumerate(grid.rows):
        marks = ["own"] if first.text in own else []
        marks += ["rule"] if grid.ruled and number == grid.rule else []
        row = f' class="{" ".join(marks)}"' if marks else ""
        cells = "".join(
            f"<td{kind}>{_MARKS[cell.mark].format(escape(cell.text))}</td>"
            for cell, kind in zip(rest, kinds[1:], strict=True)
        )
        lines.append(f'<tr{row}><th scope="row">{escape(first.text)}</th>{cells}</tr>')
    lines.append("</tbody>")
    notes = "".join(f"<li>{escape(note)}</li>" for note in grid.notes)
    label = escape(grid.title)
    body = "\n".join(lines)
    return (
        f"<h3>{label}</h3>\n"
        f'<div class="scroll" tabindex="0" role="region" aria-label="Table: {label}">\n'
        f'<table class="sortable" aria-label="{label}">\n{body}\n</table>\n</div>'
        + (f'\n<ul class="notes">{notes}</ul>' if notes else "")
    )


def _kind(texts: Iterable[str]) -> str:
    """Return the class of a column: of texts, unless all are numbers or missing."""
    return "" if all(_NUMBER.fullmatch(text) for text in texts) else ' class="text"'


def figure(svg: str, caption: str, wide: bool = False) -> str:
    """Return an inline SVG with its caption; a wide one scrolls in a box of its own."""
    box = ' class="scroll" tabindex="0" role="region" aria-label="Figure"' if wide else ""
    kind = ' class="wide"' if wide else ""
    return (
        f"<figure{kind}>\n<div{box}>{svg}</div>\n<figcaption>{escape(caption)}</figcaption>\n"
        "</figure>"
    )


def figures(found: Sequence[str]) -> str:
    """Return figures side by side, as many as there is room for."""
    return '<div class="figures">\n' + "\n".join(found) + "\n</div>"


def facts(found: Mapping[str, str], main: Collection[str] = ()) -> str:
    """Return names and values as a list; ``main`` ones are larger."""
    return (
        '<dl class="facts">'
        + "".join(
            f"<div{' class=main' if name in main else ''}><dt>{escape(name)}</dt>"
            f"<dd>{escape(value)}</dd></div>"
            for name, value in found.items()
        )
        + "</dl>"
    )


def details(summary: str, body: str) -> str:
    """Return a part that opens on a click; without plots, it is open when printed."""
    return f"<details>\n<summary>{escape(summary)}</summary>\n{body}\n</details>"


def missing(what: str, command: str) -> str:
    """Return the line that stands where something is not there: which command makes it."""
    return f'<p class="missing">{escape(what)}: <code>{escape(command)}</code></p>'


def paragraph(text: str, kind: str = "") -> str:
    """Return a paragraph of plain text."""
    return f"<p{f' class={chr(34)}{kind}{chr(34)}' if kind else ''}>{escape(text)}</p>"


def listing(lines: Sequence[str]) -> str:
    """Return remarks as a list; nothing when there are none."""
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f'<ul class="notes">{items}</ul>' if items else ""


_STYLE = """
:root { color-scheme: light dark; --sans: system-ui, "DejaVu Sans", sans-serif;
  --c0: #0072b2; --c1: #d55e00; --c2: #009e73; --c3: #cc79a7; --c4: #e69f00; --c5: #56b4e9;
  --text: #1b1d21; --muted: #5a5f68; --line: #d5d8dd; --back: #ffffff; --panel: #f5f6f8;
  --own: #fff3e6; --accent: #0b63a5; --warn: #9a3412; }
@media (prefers-color-scheme: dark) { :root { --text: #e7e8ea; --muted: #a3a9b3; --line: #3a3f47;
  --c0: #4fa8e0; --c1: #f2833c; --c2: #2bc08f; --c3: #e39cc4; --c4: #f0b83f; --c5: #8fd0f5;
  --back: #15171b; --panel: #1e2126; --own: #3a2a17; --accent: #7cc0f5; --warn: #fdba74; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem 1.25rem 4rem; max-width: 75rem; color: var(--text);
  background: var(--back); font: 16px/1.5 var(--sans); overflow-wrap: anywhere; }
h1 { font-size: 1.8rem; line-height: 1.2; margin: .5rem 0 .25rem; }
h2 { font-size: 1.3rem; margin: 2.5rem 0 .75rem; padding-top: .75rem;
  border-top: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.5rem 0 .5rem; }
a { color: var(--accent); }
p { margin: .5rem 0; }
nav ul { list-style: none; display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; padding: 0;
  margin: 1rem 0 0; }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 13rem), 1fr));
  gap: .75rem; margin: 1rem 0; }
.facts div { background: var(--panel); border-radius: 8px; padding: .6rem .8rem; }
dt { color: var(--muted); font-size: .8rem; }
dd { margin: 0; font-weight: 600; }
.facts .main dd { font-size: 1.7rem; line-height: 1.2; }
.scroll { overflow-x: auto; max-width: 100%; }
.scroll:focus-visible, button:focus-visible, summary:focus-visible, a:focus-visible {
  outline: 2px solid var(--accent); outline-offset: 2px; }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums;
  overflow-wrap: normal; }
th, td { padding: .25rem .55rem; text-align: right; white-space: nowrap; font-weight: 400; }
thead th { font-weight: 600; vertical-align: bottom; }
thead th[colspan] { text-align: center; }
thead { border-bottom: 2px solid var(--text); }
tr > :first-child { text-align: left; position: sticky; left: 0; background: var(--back); }
tbody tr + tr > * { border-top: 1px solid var(--line); }
tr.own > * { background: var(--own); }
tr.own > th { font-weight: 600; }
table:not(.resorted) tr.rule > * { border-top: 2px solid var(--text); }
th button { all: unset; cursor: pointer; }
th button::after { content: " \\2195"; opacity: .45; }
th[aria-sort=ascending] button::after { content: " \\25b2"; opacity: 1; }
th[aria-sort=descending] button::after { content: " \\25bc"; opacity: 1; }
th.text, td.text { text-align: left; }
.notes { font-size: .82rem; color: var(--muted); padding-left: 1.1rem; margin: .6rem 0; }
p.notes { padding: 0; }
.missing { color: var(--muted); border-left: 3px solid var(--line); padding-left: .75rem; }
.warning { color: var(--warn); border-left: 3px solid var(--warn); padding-left: .75rem; }
code, pre { font-family: ui-monospace, "DejaVu Sans Mono", monospace; font-size: .85em; }
pre { background: var(--panel); border-radius: 8px; padding: .75rem; overflow-x: auto;
  overflow-wrap: normal; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr));
  gap: 1.5rem; align-items: start; margin: 1rem 0; }
figure { margin: 0; min-width: 0; }
figure.wide { grid-column: 1 / -1; }
figure svg { display: block; width: 100%; height: auto; color: var(--text); }
figure svg * { stroke-linejoin: round; stroke-linecap: butt; }
figcaption { font-size: .85rem; color: var(--muted); margin-top: .35rem; max-width: 45rem; }
details { margin: .75rem 0; }
summary { cursor: pointer; font-weight: 600; }
@media (max-width: 700px) { body { padding: .75rem .9rem 3rem; } .figures { display: block; }
  figure + figure { margin-top: 1.75rem; } h1 { font-size: 1.45rem; } }
@page { size: A4 landscape; margin: 12mm; }
@media print {
  :root { color-scheme: light; --text: #000; --muted: #444; --line: #bbb; --back: #fff;
    --panel: #f3f3f3; --own: #eee; --accent: #000; --warn: #000; }
  body { max-width: none; padding: 0; font-size: 10pt; }
  nav, th button::after { display: none; }
  .scroll { overflow: visible; }
  tr > :first-child { position: static; }
  table { font-size: 7pt; }
  th, td { padding: 1pt 3pt; }
  pre { white-space: pre-wrap; font-size: 7pt; columns: 3; }
  figcaption { font-size: 7.5pt; line-height: 1.3; }
  figure, tr, .facts div { break-inside: avoid; }
  h2, h3 { break-after: avoid; }
  .figures { display: grid; grid-template-columns: repeat(3, 1fr); gap: 1rem; }
  figure + figure { margin: 0; }
  figure svg { min-width: 0 !important; max-height: 130mm; }
  details:not(:has(figure))::details-content { content-visibility: visible; }
  details:has(figure):not([open]) { display: none; }
}
"""

# Tables are sorted in place: best first, then the other way round, then as they were.
_SCRIPT = """
"use strict";
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0], before = [...body.rows];
  const heads = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
  const text = (row, column) => row.cells[column].textContent.trim();
  const none = value => value === "" || value === "-" || value.startsWith("(");
  const shape = /^(?:[\\u2264\\u2265] )?(-?[\\d,]*\\.?\\d+)(?: \\(.*\\)| of \\d+)?$/;
  const number = value => parseFloat((value.match(shape) || ["", ""])[1].replace(/,/g, ""));
  const sorted = (column, sign) => {
    const values = before.map(row => text(row, column));
    const numeric = values.every(value => none(value) || !isNaN(number(value)));
    return [...before].sort((first, second) => {
      const a = text(first, column), b = text(second, column);
      if (none(a) || none(b)) return none(a) - none(b);
      return sign * (numeric ? number(a) - number(b) : a.localeCompare(b, "en", {numeric: true}));
    });
  };
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    const best = button.textContent.includes("\\u2191") ? "descending" : "ascending";
    const worst = best === "ascending" ? "descending" : "ascending";
    button.addEventListener("click", () => {
      const next = {[best]: worst, [worst]: null}[head.getAttribute("aria-sort")];
      const order = next === undefined ? best : next;
      heads.forEach(other => other.removeAttribute("aria-sort"));
      if (order) head.setAttribute("aria-sort", order);
      const rows = order ? sorted(column, order === "ascending" ? 1 : -1) : before;
      table.classList.toggle("resorted", order !== null);
      body.append(...rows);
    });
  });
}
"""
