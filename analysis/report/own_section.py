"""The report's section on tasks of one's own, apart from SUPERB's."""

from typing import Any

from analysis.records.score import ARROWS
from analysis.report import page
from analysis.report.inputs import RunFiles
from analysis.report.page import Block, Details, Notes, Paragraph, Section
from analysis.tables.formats import Cell, Grid
from upstream.door import tasks

_HEADS = ["table", "kind", "metric", "value", "rate", "steps", "clips", "hours", "upstream"]


def sections(run: RunFiles) -> list[Section]:
    """Return the section, or nothing where there are no such tasks."""
    records = [record for record in run.records if tasks.is_own(record["task"])]
    if not records:
        return []
    rows = [[Cell("-" if text is None else str(text)) for text in _row(r)] for r in records]
    blocks: list[Block] = [
        page.Table(Grid("Heads on clips of one's own", [("", len(_HEADS))], _HEADS, rows)),
        Paragraph("These are no tasks of SUPERB, and in none of its scores."),
    ]
    if settings := list(dict.fromkeys(filter(None, map(_settings, records)))):
        blocks.append(Details("Settings", [Notes(settings)]))
    return [Section("own-tasks", "Tasks of one's own", blocks)]


def _row(record: dict[str, Any]) -> list[Any]:
    corpus, value = record.get("corpus") or {}, record.get("value")
    spread = record.get("deviation")
    spoken = "" if spread is None else f" ±{100 * spread:.2f}"
    shown = None if value is None else f"{100 * value:.2f}{spoken} %"
    clips = ", ".join(f"{split} {count}" for split, count in (corpus.get("counts") or {}).items())
    metric = f"{record['metric']} {ARROWS.get(str(record.get('direction')), '')}"
    rate, hours = record.get("rate"), corpus.get("hours")
    return [
        corpus.get("name"), record["task"], metric, shown, rate, record.get("step"), clips or None,
        None if hours is None else f"{hours:.2f}", record.get("name") or record.get("upstream"),
    ]  # fmt: skip


def _settings(record: dict[str, Any]) -> str:
    texts = [f"{key}={value}" for key, value in (record.get("overrides") or {}).items()]
    splits = (record.get("corpus") or {}).get("splits")
    texts += [f"splits: {splits}"] if splits else []
    texts += ["smoke run"] if record.get("smoke") else []
    return f"{record['task']}: {', '.join(texts)}" if texts else ""
