"""Fluent Speech Commands for intent classification.

``fluent_speech_commands_dataset/data/{train,valid,test}_data.csv`` name the recordings below that
folder, with the action, object and location that each asks for. Nothing has to be made from these.
"""

from pathlib import Path

from mt4ssl_core.settings.frames import SAMPLE_RATE
from upstream.corpora.audio_checks import inner, name_some, sample_headers
from upstream.corpora.survey import Survey
from upstream.corpora.texts import read_rows
from upstream.door import tasks

SPLITS = ("train", "valid", "test")
LABELS = ("action", "object", "location")
Row = dict[str, str]


def folder(root: Path) -> Path:
    """Return the folder of the corpus: ``root/fluent_speech_commands_dataset`` or ``root``."""
    return inner(root, "fluent_speech_commands_dataset")


def survey(root: Path) -> Survey:
    """Count the rows of the tables; check that they name recordings and labels that are there."""
    base = folder(root)
    remedy = f"get the corpus from {tasks.header('ic')['corpus']['source'][0]}"
    problems, hours, tables = [], 0.0, {}
    for split in SPLITS:
        table = base / "data" / f"{split}_data.csv"
        tables[split], wrong = _read(table, remedy)
        problems += wrong
        files = [base / row["path"] for row in tables[split]]
        there = [file for file in files if file.is_file()]
        if lost := sorted(set(files) - set(there)):
            problems.append(
                f"{table}: names {len(lost)} files that are not there "
                f"({name_some([file.relative_to(base) for file in lost])}); {remedy}"
            )
        wrong, length = sample_headers(there, SAMPLE_RATE, remedy)
        problems += wrong
        hours += length
    problems += _unknown_labels(base, tables)
    return Survey({split: len(rows) for split, rows in tables.items()}, problems, hours)


def _read(table: Path, remedy: str) -> tuple[list[Row], list[str]]:
    """Return the rows of a table and what is wrong with it."""
    if not table.is_file():
        return [], [f"{table}: no such file; {remedy}"]
    rows = read_rows(table, remedy)
    needed = ("path", *LABELS)
    if lacking := [name for name in needed if rows and name not in rows[0]]:
        what = f"{table}: lacks the column {', '.join(lacking)} of Fluent Speech Commands"
        return [], [f"{what}; {remedy}"]
    if not rows:
        return [], [f"{table}: has no rows; {remedy}"]
    bad = [number for number, row in enumerate(rows, 2) if not all(row[name] for name in needed)]
    lines = f"{table}: no value for {', '.join(needed)} in lines {name_some(bad)}; {remedy}"
    return rows, [lines] if bad else []


def _unknown_labels(base: Path, tables: dict[str, list[Row]]) -> list[str]:
    """Return the labels that s3prl would fail on: those that training has not seen."""
    problems = []
    for split in ("valid", "test"):
        for name in LABELS:
            seen = {row[name] for row in tables["train"]}
            if tables["train"] and (new := sorted({row[name] for row in tables[split]} - seen)):
                problems.append(
                    f"{base / 'data' / f'{split}_data.csv'}: {name} {name_some(new)} does not "
                    "occur in train_data.csv; remove these rows or use the corpus's own tables"
                )
    return problems
