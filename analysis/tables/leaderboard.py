"""SUPERB's table: published scores, a rule, and those of your runs, with superb_s.

Whatever was not measured on the whole real corpora in SUPERB's setting stands in a table of its
own, without published scores and without superb_s.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby, product
from pathlib import Path

import pandas as pd

from analysis.records import model_names, score_files
from analysis.records import score as results
from analysis.records.score import MINI, PARTIAL, REAL, UNKNOWN, Score
from analysis.records.score_files import ModelScores, Size
from analysis.records.superb_score import (
    Column,
    columns_of,
    name_of,
    points,
    superb_s,
    tasks_of,
)
from analysis.tables import formats, head_agreement
from analysis.tables.formats import Cell, Grid, plain_csv
from analysis.tables.rendering import render
from upstream.suite import recipe, roots

FORMATS = ("md", "latex", "booktabs", "csv", "html")
SCORE, DONE, PARAMS, MACS = "superb_s", "tasks", "params", "macs"
_DIFFERENT = "Settings differ from SUPERB's and may differ between runs: see results.jsonl of each."
_SEEDS = "±: sample deviation over the seeds of heads, of which the value is the mean."
_MACS = "MACs: sum over 32 utterances of LibriSpeech test-clean, 225 s."
DIGITS = 2  # shown, and compared when the best is sought
_SIZES = {PARAMS: ("Params", "M", 1e6), MACS: ("MACs", "G", 1e9)}
_TITLES = {
    REAL: "SUPERB",
    PARTIAL: "Parts of SUPERB's corpora: not comparable with SUPERB",
    MINI: "mini_superb, synthesised corpora: not comparable with SUPERB",
    UNKNOWN: "s3prl experiments, corpora not checked: not comparable with SUPERB",
}
_PROTOCOLS = {"": "", recipe.MINI: "MiniSUPERB's recipe (arXiv 2305.19011), not SUPERB's, on: "}
_STATES = {
    "": "",
    results.SMOKE: " (smoke runs)",
    results.CHANGED: " (changed settings)",
    results.UNCHECKED: " (settings not checked)",
}


_OFFICIAL = (REAL, "", "")  # corpus, state and protocol


@dataclass(frozen=True)
class ScoreTable:
    """Models by metrics: ``frame`` has a row per model, a column per `Column.key`, and more.

    These are params, macs, superb_s (NaN where a task is missing, and in tables that are not
    SUPERB's) and tasks, how many of the set are done. The first ``published`` rows are.
    ``deviations``: over the seeds of heads, by model and column, where there are several;
    ``scores``: those of your runs.
    """

    title: str
    score_set: str
    columns: list[Column]
    frame: pd.DataFrame
    published: int = 0
    scored: bool = False
    notes: list[str] = field(default_factory=list)
    deviations: dict[tuple[str, str], float] = field(default_factory=dict)
    scores: Sequence[Score] = ()


def leaderboard(
    runs: Sequence[str | Path],
    format: str = "md",
    score_set: str = "paper",
    broken: list[str] | None = None,
    names: Sequence[str] = (),
) -> str:
    """Return the leaderboard of run folders (none: the published scores alone).

    Args:
        runs: folders of ``mt4ssl superb run``, or with s3prl experiments in them.
        format: md, latex (for \\input), booktabs (likewise, for that package), csv (one line per
            model, the first column names its table) or html (a page).
        score_set: the tasks of superb_s: those of the "paper", or of the challenge's "public" set.
        broken: gets a line on each run that cannot be read, as the table's notes do; None: the
            first one is refused.
        names: what the first runs are called, instead of their folders.

    Raises:
        ValueError: another format or set, or what `score_files.read` and `tables` refuse.
    """
    if format not in FORMATS:
        raise ValueError(f"--format {format}: no such format; choose one of {', '.join(FORMATS)}")
    read = score_files.read(runs, broken, model_names.given(names, len(runs)))
    found = tables(read, score_files.published(), score_set)
    found[0].notes.extend(broken or [])
    if format == "csv":
        return csv(found)
    grids = [grid(table) for table in found]
    if format == "html":
        return render("leaderboard.html", {"title": "SUPERB leaderboard", "grids": grids})
    if format == "md":
        return formats.markdown(grids)
    return formats.latex(grids, booktabs=format == "booktabs")


def tables(
    found: ModelScores, published: ModelScores, score_set: str = "paper"
) -> list[ScoreTable]:
    """Return SUPERB's table, and one for every other kind of corpus or setting there is.

    Raises:
        ValueError: no such set, a run that is called like a published model, or results on
            different corpora in one column.
    """
    tasks_of(score_set)
    if same := {s.model for s in found.scores} & {s.model for s in published.scores}:
        raise ValueError(
            f"{', '.join(sorted(same))}: published scores have this name; give another with --name"
        )
    kinds: dict[tuple[str, str, str], list[Score]] = {_OFFICIAL: []}
    for score in found.scores:
        kinds.setdefault(score.setting.table, []).append(score)
    order = [key for key in product(_TITLES, _STATES, _PROTOCOLS) if key in kinds]
    sizes = {**published.sizes, **found.sizes}
    made = [
        _table(key, kinds[key], published.scores if key == _OFFICIAL else [], sizes, score_set)
        for key in order
    ]
    for key, table in zip(order, made, strict=True):
        table.notes.extend(head_agreement.told(kinds[key], found.scores))
    return made


def _table(
    kind: tuple[str, str, str],
    new: Sequence[Score],
    published: Sequence[Score],
    sizes: Mapping[str, Size],
    score_set: str,
) -> ScoreTable:
    if kind[0] != REAL:
        _check_columns(new)
    values: dict[str, dict[str, float]] = {}
    deviations: dict[tuple[str, str], float] = {}
    for score in (*published, *new):
        metric = results.metric_of(score.task, score.metric, score.setting.stage)
        row = values.setdefault(score.model, {})
        unit = results.shown_unit(metric)
        row[key_of(score)] = score.value_in(unit)
        if (deviation := score.deviation_in(unit)) is not None:
            deviations[score.model, key_of(score)] = deviation
    measured, scored = {key for row in values.values() for key in row}, kind == _OFFICIAL
    names = tasks_of(score_set)
    names += [name for name in roots.in_order({s.task for s in new}) if name not in names]
    every = [column for name in names for column in columns_of(name)]
    columns = [c for c in every if c.key in measured or (scored and c.fbank is not None)]
    rows = []
    for model, row in values.items():
        size = sizes.get(model, Size())
        total = superb_s(row, score_set) if scored else None
        done = len(points(row, score_set))
        rows.append({PARAMS: size.params, MACS: size.macs, **row, SCORE: total, DONE: done})
    keys = [column.key for column in columns]
    frame = pd.DataFrame(rows, index=list(values), columns=[PARAMS, MACS, *keys, SCORE, DONE])
    frame = frame.astype({key: float for key in (PARAMS, MACS, *keys, SCORE)})
    notes = [_explained(columns, score_set if scored else None), *_sources(published)]
    notes += [_MACS] if frame[MACS].notna().any() else []
    notes += [_SEEDS] if deviations else []
    notes += [_DIFFERENT] if kind[1] else []
    if left_out := sorted({key_of(score) for score in new} - set(keys)):
        notes.append(f"Not shown, not of SUPERB: {', '.join(left_out)}")
    title, above = _title(*kind), len({s.model for s in published})
    notes += _remarks(new)
    return ScoreTable(title, score_set, columns, frame, above, scored, notes, deviations, new)


def _title(corpus: str, state: str, protocol: str) -> str:
    return _PROTOCOLS[protocol] + _TITLES[corpus] + _STATES[state]


def key_of(score: Score) -> str:
    """Return the key of a score's column."""
    return f"{score.task}/{results.spoken(score.metric, score.setting.stage)}"


def _check_columns(scores: Sequence[Score]) -> None:
    """See that all models were scored on one corpus of a task."""
    first: dict[str, Score] = {}
    for score in scores:
        other = first.setdefault(score.task, score)
        here, there = score.setting.corpus_id, other.setting.corpus_id
        if None not in (here, there) and here != there:
            raise ValueError(
                f"{score.task}: different corpora in one column: {other.model} on {there} "
                f"({other.source}), {score.model} on {here} ({score.source}); score both on one "
                "corpus, or give only one of the runs"
            )


def _explained(columns: Sequence[Column], score_set: str | None) -> str:
    """Say what the signs and units are, and what superb_s is the mean of."""
    units = [f"{c.head[:-2]} in {c.unit}" for c in columns if c.unit != "percent"]
    text = f"↑ higher, ↓ lower is better. {', '.join(['In percent', *dict.fromkeys(units)])}."
    if score_set is None:
        return text
    names = ", ".join(name_of(name) for name in tasks_of(score_set))
    return f"{text} superb_s: mean over {names}; (2/10): two of these ten are there."


def _sources(published: Sequence[Score]) -> list[str]:
    found: dict[str, dict[str, None]] = {}
    for score in published:
        found.setdefault(score.source, {})[score.model] = None
    most = max(found, key=lambda source: len(found[source]), default=None)
    return [
        (f"Published: {source}" if source == most else f"{', '.join(models)}: {source}")
        for source, models in found.items()
    ]


def _remarks(scores: Sequence[Score]) -> list[str]:
    found: dict[tuple[str, str], dict[str, None]] = {}
    for score in scores:
        for remark in score.setting.remarks:
            found.setdefault((score.model, remark), {})[score.task] = None
    return [f"{model}: {', '.join(names)}: {remark}" for (model, remark), names in found.items()]


def marks(frame: pd.DataFrame, directions: Mapping[str, str]) -> pd.DataFrame:
    """Return for every cell whether it is the best or the second of its column.

    Values that are shown alike are marked alike; a column of one value has no marks.

    Args:
        frame: the values.
        directions: max or min, by column.
    """
    found = pd.DataFrame("", index=frame.index, columns=list(directions))
    for key, direction in directions.items():
        digits = 0 if key == SCORE else DIGITS
        texts = [number(value, digits) for value in frame[key]]
        shown = pd.Series([math.nan if text == "-" else float(text) for text in texts], frame.index)
        ranks = shown.rank(method="dense", ascending=direction == "min")
        if ranks.nunique() > 1:
            found.loc[ranks == 1, key] = formats.BEST
            found.loc[ranks == 2, key] = formats.SECOND
    return found


def grid(table: ScoreTable) -> Grid:
    """Return a table as it is shown: superb_s, or how many tasks there are, beside the name."""
    directions = {column.key: column.direction for column in table.columns}
    marked = marks(table.frame, directions | ({SCORE: "max"} if table.scored else {}))
    sizes = [column for column in _SIZES if table.frame[column].notna().any()]
    asked = len(tasks_of(table.score_set))
    groups = [("", 1), (SCORE if table.scored else "Tasks", 1)]
    groups += [(_SIZES[column][0], 1) for column in sizes]
    for task, same in groupby(table.columns, key=lambda column: column.task):
        groups.append((name_of(task), len(list(same))))
    heads = ["model", "↑" if table.scored else f"of {asked}"]
    heads += [*(_SIZES[column][1] for column in sizes), *(c.head for c in table.columns)]
    rows = []
    for model in table.frame.index:
        row = table.frame.loc[model]
        if not table.scored:
            total = Cell(str(int(row[DONE])))
        elif math.isnan(row[SCORE]):
            total = Cell(f"({int(row[DONE])}/{asked})")
        else:
            total = Cell(number(row[SCORE], 0), marked.loc[model, SCORE])
        cells = [Cell(str(model)), total, *(Cell(short(row[c], _SIZES[c][2])) for c in sizes)]
        cells += [
            Cell(
                with_deviation(row[key], table.deviations.get((model, key))), marked.loc[model, key]
            )
            for key in directions
        ]
        rows.append(cells)
    return Grid(table.title, groups, heads, rows, table.published, table.notes)


def number(value: float, digits: int = DIGITS) -> str:
    """Return a value as it is shown; "-" when there is none."""
    if math.isnan(value):
        return "-"
    if digits and 0 < abs(value) < 0.5 * 10**-digits:
        return f"{value:.2g}"
    return f"{round(value, digits) + 0.0:.{digits}f}"  # + 0.0: no "-0"


def with_deviation(value: float, deviation: float | None) -> str:
    """Return a value as it is shown, with its deviation over seeds if there is one."""
    return number(value) if deviation is None else f"{number(value)} ±{number(deviation)}"


def short(value: float, unit: float) -> str:
    """Return parameters or MACs in millions or billions; "-" when they are not known."""
    if math.isnan(value):
        return "-"
    text = f"{value / unit:,.0f}" if value >= 1000 * unit else f"{value / unit:.2f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def csv(found: Sequence[ScoreTable]) -> str:
    """Return all tables as one CSV with full precision; its first column says which one it is."""
    parts = []
    for table in found:
        part = table.frame.rename_axis("model").reset_index()
        rule = ["published"] * table.published
        for (model, key), deviation in table.deviations.items():
            part.loc[part["model"] == model, f"{key} ±"] = deviation
        part.insert(0, "table", table.title)
        part.insert(2, "from", rule + ["run"] * (len(part) - len(rule)))
        parts.append(part)
    keys = dict.fromkeys(column.key for table in found for column in table.columns)
    keys |= dict.fromkeys(f"{key} ±" for table in found for _, key in table.deviations)
    ordered = ["table", "model", "from", SCORE, DONE, PARAMS, MACS, *keys]
    whole = pd.concat([part.astype(object) for part in parts], ignore_index=True)
    return plain_csv(whole.reindex(columns=ordered))
