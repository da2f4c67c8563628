"""The table of the papers: word error rates on LibriSpeech after CTC fine-tuning.

A table for each amount of transcribed speech; rows are models, columns are without and with the
4-gram language model, each with the four splits. What was decoded elsewhere, in part, with other
searches or after another amount stands in a table of its own, without published rates.
"""

from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path

import pandas as pd

from analysis.records import decodings, model_names
from analysis.records.decodings import FOUR_GRAM, NONE, SPLITS, Decoding
from analysis.tables import formats
from analysis.tables.formats import Cell, Grid, plain_csv
from analysis.tables.rendering import render

FORMATS = ("md", "latex", "booktabs", "csv", "html")
AMOUNTS = ("10m", "1h", "10h", "100h")
NOT_RUN = "not run"
_LMS = (NONE, FOUR_GRAM)
_IN_WORDS = {"m": "min", "h": "h"}


def wer_table(
    runs: Sequence[str | Path],
    format: str = FORMATS[0],
    broken: list[str] | None = None,
    names: Sequence[str] = (),
) -> str:
    """Return the tables of folders with results of ``mt4ssl decode`` (none: the published alone).

    Args:
        runs: folders.
        format: md, latex (for \\input), booktabs, csv (a line per result) or html.
        broken: gets a line on each run that cannot be read; None: the first one is refused.
        names: what the first runs are called, instead of their folders.

    Raises:
        ValueError: another format, damaged records, a run that is called like a published model,
            or two results for one cell.
    """
    if format not in FORMATS:
        raise ValueError(f"--format {format}: no such format; choose one of {', '.join(FORMATS)}")
    found = decodings.read(runs, broken, model_names.given(names, len(runs)))
    known = decodings.published()
    if same := {one.model for one in found} & {one.model for one in known}:
        raise ValueError(f"{min(same)}: published rates have this name; give another with --name")
    if format == "csv":
        return _csv(known, found)
    made = grids(found, known)
    made[0].notes.extend(broken or [])
    if format == "html":
        return render("leaderboard.html", {"title": "Word error rates", "grids": made})
    if format == "md":
        return formats.markdown(made)
    return formats.latex(made, booktabs=format == "booktabs")


def grids(found: Sequence[Decoding], known: Sequence[Decoding]) -> list[Grid]:
    """Return the papers' tables, and one of what cannot stand there."""
    fits = [one for one in found if _fits(one)]
    own = list(dict.fromkeys(one.model for one in found))
    out = [_paper_grid(amount, fits, known, own) for amount in AMOUNTS]
    rest = [one for one in found if not _fits(one)]
    return out + ([_rest_grid(rest)] if rest else [])


def _fits(one: Decoding) -> bool:
    return one.whole and one.labelled in AMOUNTS and one.lm in _LMS


def _paper_grid(
    amount: str, found: Sequence[Decoding], known: Sequence[Decoding], own: Sequence[str]
) -> Grid:
    """A row per model: all of ours, and the published ones that have this amount."""
    above = [one for one in known if one.labelled == amount]
    models = list(dict.fromkeys(one.model for one in above))
    cells = _cells([*above, *(one for one in found if one.labelled == amount)])
    columns = [(lm, split) for lm in _LMS for split in SPLITS]
    texts = {key: _percent(one) for key, one in cells.items()}
    missing = {**dict.fromkeys(models, "-"), **dict.fromkeys(own, NOT_RUN)}
    marks = _marks(texts, columns)
    rows = [
        [
            Cell(model),
            *(
                Cell(texts.get((model, *c), missing[model]), marks.get((model, *c), ""))
                for c in columns
            ),
        ]
        for model in (*models, *own)
    ]
    groups = [("", 1), *((lm, len(SPLITS)) for lm in _LMS)]
    heads = ["model", *(split for _ in _LMS for split in SPLITS)]
    title = f"LibriSpeech, {amount[:-1]} {_IN_WORDS[amount[-1]]} of transcribed speech: WER in %"
    notes = [
        "↓ lower is better. 4-gram: LibriSpeech's; of runs, a file that is called like it.",
        *_sources(above),
    ]
    return Grid(title, groups, heads, rows, len(models), notes)


def _cells(found: Iterable[Decoding]) -> dict[tuple[str, str, str], Decoding]:
    """Results by model, language model and split; each only once."""
    cells: dict[tuple[str, str, str], Decoding] = {}
    for one in found:
        other = cells.setdefault((one.model, one.lm, one.split), one)
        if other is not one:
            raise ValueError(
                f"{other.source} and {one.source}: two results for {one.split} of {one.model}; "
                "give one of them, or --name"
            )
    return cells


def _percent(one: Decoding, interval: bool = False) -> str:
    text = f"{100 * one.wer:.1f}"
    if interval and one.interval is not None:
        text += f" ({100 * one.interval[0]:.1f} to {100 * one.interval[1]:.1f})"
    return text


def _marks(
    texts: dict[tuple[str, str, str], str], columns: Sequence[tuple[str, str]]
) -> dict[tuple[str, str, str], str]:
    """The best and the second of each column, as they are shown."""
    marks = {}
    for column in columns:
        part = {key: float(text) for key, text in texts.items() if key[1:] == column}
        order = sorted(set(part.values()))
        for key, value in part.items():
            if len(order) > 1 and value in order[:2]:
                marks[key] = formats.BEST if value == order[0] else formats.SECOND
    return marks


def _sources(known: Sequence[Decoding]) -> list[str]:
    """Which publication the rates of a model come from."""
    by_source: dict[str, dict[str, None]] = {}
    for one in known:
        by_source.setdefault(one.source, {})[one.model] = None
    return [f"{', '.join(models)}: {source}" for source, models in by_source.items()]


def _rest_grid(found: Sequence[Decoding]) -> Grid:
    """A row per model and amount, a column per list of utterances and language model."""
    lists = sorted({(one.split, one.lm) for one in found})
    rows = []
    for (model, labelled), some in groupby(sorted(found, key=_row), _row):
        cells = {(one.split, one.lm): _percent(one, interval=True) for one in _cells(some).values()}
        texts = [cells.get(column, NOT_RUN) for column in lists]
        rows.append([Cell(model), Cell(labelled), *map(Cell, texts)])
    spans = groupby(split for split, _ in lists)
    groups = [("", 2), *((split, len(list(same))) for split, same in spans)]
    heads = ["model", "labelled", *(lm for _, lm in lists)]
    title = "Other speech, parts of LibriSpeech or other settings: WER in %, not comparable with it"
    note = "↓ lower is better. In brackets: 95 % bootstrap intervals."
    return Grid(title, groups, heads, rows, notes=[note])


def _row(one: Decoding) -> tuple[str, str]:
    return one.model, one.labelled or "-"


def _csv(known: Sequence[Decoding], found: Sequence[Decoding]) -> str:
    rows = [
        {
            "model": one.model, "from": "published" if place < len(known) else "run",
            "labelled": one.labelled, "lm": one.lm, "split": one.split, "whole": one.whole,
            "wer": round(100 * one.wer, 4),
            "low": None if one.interval is None else round(100 * one.interval[0], 4),
            "high": None if one.interval is None else round(100 * one.interval[1], 4),
            "source": one.source,
        }
        for place, one in enumerate([*known, *found])
    ]  # fmt: skip
    return plain_csv(pd.DataFrame(rows))
