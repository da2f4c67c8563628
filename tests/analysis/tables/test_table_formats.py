"""analysis/tables/formats.py."""

import csv
import io
import re
import shutil
import subprocess
from html.parser import HTMLParser

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from analysis import plots
from analysis.tables import formats, rendering
from analysis.tables.formats import BEST, SECOND, Cell, Grid

NASTY = r"a|b_c <d> & 50% #1 $x$ {y} ~^\*[z] é ł 汉"
GRID = Grid(
    "T & <t>",
    [("", 1), ("KS", 1), ("SF", 2)],
    ["model", "Acc ↑", "F1 ↑", "CER ↓"],
    [
        [Cell("theirs"), Cell("90.00", SECOND), Cell("1.00"), Cell("-")],
        [Cell(NASTY), Cell("95.00", BEST), Cell("2.00"), Cell("-")],
        [Cell("[odd"), Cell("1.00"), Cell("2.00"), Cell("-")],
    ],
    rule=1,
    notes=["from <there> & 50%"],
)


def test_markdown():
    lines = formats.markdown([GRID, GRID]).splitlines()
    assert lines[0] == "**T &amp; &lt;t&gt;**" and lines.count(lines[0]) == 2
    assert lines[2] == "| model | KS Acc ↑ | SF F1 ↑ | SF CER ↓ |"
    assert lines[3] == "| --- | ---: | ---: | ---: |"
    assert lines[4] == "| theirs | <u>90.00</u> | 1.00 | - |"
    assert lines[5] == "| — | — | — | — |"
    assert lines[6].startswith(r"| a\|b_c &lt;d&gt; &amp; 50% ") and "**95.00**" in lines[6]
    assert len(re.findall(r"(?<!\\)\|", lines[6])) == 5
    assert "- from &lt;there&gt; &amp; 50%" in lines


def unescaped(character, text):
    return re.findall(rf"(?<!\\){re.escape(character)}", text)


def test_latex_is_balanced_and_escaped():
    text = formats.latex([GRID])
    begun, ended = (re.findall(rf"\\{word}{{(.*?)}}", text) for word in ("begin", "end"))
    assert begun == ["table*", "tabular"] and ended == begun[::-1]
    assert len(unescaped("{", text)) == len(unescaped("}", text))
    assert len(unescaped("$", text)) % 2 == 0 and text.isascii()
    body = text[text.index(r"\hline") : text.index(r"\end{tabular}")]
    lines = [line for line in body.splitlines() if line.endswith(r"\\")]
    columns = [len(unescaped("&", line)) + 1 for line in lines]
    assert columns == [3, 4, 4, 4, 4]  # the upper head spans two
    assert r"\begin{tabular}{lrrr}" in text and r"\multicolumn{2}{c}{SF}" in text
    assert r"\textbf{95.00}" in text and r"\underline{90.00}" in text and r"$\uparrow$" in text
    assert r"{[}odd" in text and not re.search(r"\\\\\s*[\[*]", text)
    assert body.count(r"\hline") == 4  # above, below the head, the rule, below
    assert r"T \& \textless{}t\textgreater{}" in text and "U+6C49" in text


def test_booktabs_has_its_rules_and_no_others():
    text = formats.latex([GRID], booktabs=True)
    assert r"\hline" not in text and text.count(r"\midrule") == 2  # below the head, and the rule
    body = text[text.index(r"\toprule") : text.index(r"\bottomrule")]
    lines = body.splitlines()
    assert lines[2] == r"\cmidrule(lr){3-4}" and "SF" in lines[1] and "Acc" in lines[3]


@pytest.mark.parametrize("packages", ["", r"\usepackage{graphicx}", r"\usepackage{booktabs}"])
def test_latex_compiles(tmp_path, packages):
    if shutil.which("pdflatex") is None:
        pytest.skip("pdflatex is not installed (Debian: texlive-latex-base)")
    (tmp_path / "table.tex").write_text(
        formats.latex([GRID, GRID], booktabs="booktabs" in packages)
    )
    page = rf"\documentclass{{article}}{packages}\begin{{document}}\input{{table}}\end{{document}}"
    (tmp_path / "page.tex").write_text(page)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "page.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "page.pdf").stat().st_size > 1000


class Reader(HTMLParser):
    """Texts of the cells by row; complains of tags that are not closed, and of what is loaded."""

    VOID = ("meta", "!doctype")

    def __init__(self, text):
        super().__init__()
        self.open, self.rows, self.kinds = [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        assert tag not in ("script", "link", "img", "iframe")
        assert not {"src", "href"} & {name for name, _ in attrs}
        if tag == "tr":
            self.rows.append([])
            self.kinds.append(dict(attrs).get("class"))
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data


def test_html_is_one_escaped_page():
    text = rendering.render("leaderboard.html", {"grids": [GRID], "title": "A & B"})
    found = Reader(text)
    assert found.rows[0] == ["", "KS", "SF"] and found.rows[1][1:] == ["Acc ↑", "F1 ↑", "CER ↓"]
    assert found.rows[3] == [NASTY, "95.00", "2.00", "-"]
    assert found.kinds == [None, None, None, "rule", None]
    assert (
        "<title>A &amp; B</title>" in text
        and "<strong>95.00</strong>" in text
        and "<u>90.00</u>" in text
    )
    assert "http" not in text and "url(" not in text and "@import" not in text
    assert "prefers-color-scheme: dark" in text and "width=device-width" in text


def test_without_rows_on_both_sides_there_is_no_rule():
    for rule in (0, 3):
        grid = Grid(GRID.title, GRID.groups, GRID.heads, GRID.rows, rule)
        assert "| — |" not in formats.markdown([grid])
        page = rendering.render("leaderboard.html", {"grids": [grid], "title": ""})
        assert 'class="rule"' not in page
        assert formats.latex([grid]).count(r"\hline") == 3


@pytest.mark.parametrize("text", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\tx"])
def test_no_cell_of_a_csv_is_a_formula(text):
    frame = pd.DataFrame({text: [text, "plain"], "number": [-1.5, float("nan")], "whole": [-1, 2]})
    head, first, *_ = csv.reader(io.StringIO(formats.plain_csv(frame), newline=""))
    assert head == [f"'{text}", "number", "whole"] and first == [f"'{text}", "-1.5", "-1"]
    assert "\r" not in formats.plain_csv(pd.DataFrame({"name": [f"a\r{text}"]}))


@pytest.mark.parametrize("label", ["=cmd", "@home", "-run"])
def test_tables_beside_figures_hold_no_formula(label, tmp_path):
    frame = pd.DataFrame({"model": [label], "value": [-0.5]})
    plots.save(plt.figure(), tmp_path / "figure", frame)
    assert (tmp_path / "figure.csv").read_text() == f"model,value\n'{label},-0.5\n"
