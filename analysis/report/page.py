"""The report as HTML: the blocks that it is made of, and the page, which needs nothing else."""

import base64
import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from analysis.tables import rendering
from analysis.tables.formats import Grid

_FOLDER = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Heading:
    """A heading below that of a section."""

    kind: ClassVar[str] = "heading"
    text: str


@dataclass(frozen=True)
class Table:
    """A table; rows of ``own`` models stand out. A click on a head sorts by its column."""

    kind: ClassVar[str] = "table"
    grid: Grid
    own: Collection[str] = ()


@dataclass(frozen=True)
class Figure:
    """A plot: what is inside its SVG, the view box, sizes in pixels, and its caption."""

    svg: str
    box: str
    width: int
    most: int  # pixels that it is enlarged to
    wide: bool  # too wide to shrink with the page
    caption: str


@dataclass(frozen=True)
class Figures:
    """Plots side by side, as many as there is room for."""

    kind: ClassVar[str] = "figures"
    figures: Sequence[Figure]


@dataclass(frozen=True)
class Details:
    """A part that opens on a click; without plots, it is open when printed."""

    kind: ClassVar[str] = "details"
    summary: str
    blocks: Sequence["Block"]


@dataclass(frozen=True)
class Missing:
    """What is not there, and the command that makes it."""

    kind: ClassVar[str] = "missing"
    what: str
    command: str


@dataclass(frozen=True)
class Paragraph:
    """A paragraph of plain text; ``look``: notes, missing or warning."""

    kind: ClassVar[str] = "paragraph"
    text: str
    look: str = "notes"


@dataclass(frozen=True)
class Notes:
    """Remarks as a list."""

    kind: ClassVar[str] = "notes"
    lines: Sequence[str]


@dataclass(frozen=True)
class Code:
    """Text as it is in a file."""

    kind: ClassVar[str] = "code"
    text: str


Block = Heading | Table | Figures | Details | Missing | Paragraph | Notes | Code


@dataclass(frozen=True)
class Section:
    """A part of the page with a heading."""

    id: str
    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Number:
    """A large number of the headline, and what it counts."""

    value: str
    what: str


@dataclass(frozen=True)
class Headline:
    """What is said first: one sentence, up to four numbers, and what they do not say."""

    sentence: str
    numbers: Sequence[Number] = ()
    remarks: Sequence[Block] = ()


def page(
    name: str,
    headline: Headline,
    facts: Mapping[str, str],
    sections: Sequence[Section],
    warnings: Sequence[str] = (),
) -> str:
    """Return the page of a model of this name."""
    script = (_FOLDER / "page.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    values = {
        "name": name,
        "headline": headline,
        "facts": facts,
        "sections": sections,
        "warnings": warnings,
        "script": script,
        "digest": digest,
    }
    return rendering.render("page.html", values, _FOLDER)
