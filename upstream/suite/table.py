"""Results and surveys as plain text."""

from collections.abc import Mapping, Sequence
from typing import Any

from mt4ssl_core.command_line import aligned
from upstream.door.tasks import OWN
from upstream.heads import results

_ARROWS = {"max": "higher", "min": "lower"}


def render_table(records: Sequence[Mapping[str, Any]]) -> str:
    """Return the table of results.jsonl: value, unit, which way is better, what was chosen.

    Published figures are shown only beside results on the whole real corpora.
    """
    if not records:
        return "no results yet"
    head = ["task", "metric", "value", "unit", "better", "chosen", "corpus"]
    real = any(_comparable(record) for record in records)
    rows = [head + (["FBANK", "SOTA"] if real else [])]
    for record in records:
        corpus = ", ".join([str(record["corpus"]["kind"]), *_remarks(record)])
        stage = "" if record["stage"] == "test" else f" ({record['stage']})"
        row = [
            record["task"],
            record["metric"] + stage,
            with_deviation(record),
            record["unit"] or "",
        ]
        row += [_ARROWS.get(record["direction"], ""), _chosen(record), corpus]
        reference = record.get("reference") if _comparable(record) else None
        if real:
            row += [_reference(reference, key) for key in ("fbank", "sota")]
        rows.append(row)
    return aligned(rows)


def _remarks(record: Mapping[str, Any]) -> list[str]:
    """Say what is not as published."""
    changed = record["overrides"] and record["corpus"]["kind"] != OWN  # which has no other setting
    found = ["smoke"] if record["smoke"] else ["changed"] if changed else []
    found += [f"{record['heads']} heads"] if record.get("heads") else []
    found += [f"{len(record['seeds'])} seeds"] if record.get("seeds") else []
    return found + results.remarks(record)


def four_digits(value: float | None) -> str:
    """Return a value as it is shown."""
    return "nan" if value is None else f"{value:.4g}"


def with_deviation(record: Mapping[str, Any]) -> str:
    """Return a record's value as it is shown, with its deviation over the seeds of heads."""
    shown, spread = four_digits(record["value"]), record.get("deviation")
    return shown if spread is None else f"{shown} ±{spread:.2g}"


def _comparable(record: Mapping[str, Any]) -> bool:
    changed = any(record.get(key) for key in ("overrides", "feature_transform", "protocol"))
    return record["corpus"]["kind"] == "real" and not changed


def _chosen(record: Mapping[str, Any]) -> str:
    rates = {each.get("rate") for each in (record.get("seeds") or {}).values()}
    if len(rates) > 1:
        return f"lr {', '.join(f'{rate:g}' for rate in sorted(rates))} of {len(record['tried'])}"
    if record["layer"] is not None:
        return f"layer {record['layer']} of {len(record['tried'])}"
    rate = "" if record["rate"] is None else f"lr {record['rate']:g}"
    tried = f" of {len(record['tried'])}" if len(record["tried"]) > 1 else ""
    return rate + tried


def _reference(reference: Mapping[str, Any] | None, key: str) -> str:
    if not reference or key not in reference:
        return ""
    return f"{four_digits(reference[key])} {reference['unit']}"
