"""What `mt4ssl decode` leaves behind: the record, a table of utterances, and the worst of them."""

import csv
import io
import json
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mt4ssl_core.command_line import aligned, printable
from mt4ssl_core.config import SAMPLE_RATE
from mt4ssl_core.files import atomic_path, check_out, plain_cell, refuse_others, user_path
from mt4ssl_core.recognition.decode import Decoded, Outcome
from mt4ssl_core.recognition.tuning import GridPoint
from mt4ssl_core.recognition.word_scores import side_by_side
from mt4ssl_core.settings.recognition_defaults import RECORD

UTTERANCES, WORST = "utterances.csv", "worst.txt"
NBEST, GRID = "nbest.jsonl", "tuning.csv"
WORST_COUNT = 20
COLUMNS = (
    "id", "speaker", "seconds", "reference", "hypothesis", "words", "substitutions", "deletions",
    "insertions", "wer", "cer", "confidence", "score",
)  # fmt: skip


def check_folder(out: str | Path | None) -> None:
    """See, before the work is done, that a folder can take a decoding, in place of an earlier one.

    Raises:
        ValueError: it is a file, or holds something else.
    """
    check_out(out)
    if out is not None:
        refuse_others(f"--out {out}", user_path(out), RECORD, (UTTERANCES, WORST, NBEST, GRID))


def write(outcome: Outcome, out: str | Path) -> Path:
    """Write all of it into a folder; returns the folder.

    nbest.jsonl and tuning.csv are there where there were several hypotheses, or tuning; of an
    earlier decoding they are removed.

    Raises:
        OSError: a file cannot be written; an earlier decoding is whole, then.
    """
    folder = user_path(out)
    several = any(len(one.hypotheses) > 1 for one in outcome.utterances)
    columns = ("lm_weight", "word_score", "wer")
    grid = ([point.record()[column] for column in columns] for point in outcome.grid)
    texts = {
        RECORD: json.dumps(outcome.record, indent=2, allow_nan=False) + "\n",
        UTTERANCES: _csv(COLUMNS, map(_row, outcome.utterances)),
        WORST: worst(outcome.utterances),
        NBEST: "".join(map(_nbest_line, outcome.utterances)) if several else None,
        GRID: _csv(columns, grid) if outcome.grid else None,
    }
    with ExitStack() as files:
        for name, text in texts.items():
            if text is not None:
                temporary = files.enter_context(atomic_path(folder / name))
                temporary.write_text(text, encoding="utf-8")
    for name, text in texts.items():
        if text is None:
            (folder / name).unlink(missing_ok=True)
    return folder


def _csv(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(columns)
    table.writerows([plain_cell(cell) for cell in row] for row in rows)
    return text.getvalue()


def _row(one: Decoded) -> list[Any]:
    best, words, characters = one.hypotheses[0], one.words, one.characters
    return [
        one.spoken.name,
        one.spoken.speaker or "",
        f"{one.spoken.samples / SAMPLE_RATE:.3f}",
        one.spoken.text,
        best.text,
        words.length,
        words.substitutions,
        words.deletions,
        words.insertions,
        f"{words.rate:.4f}" if words.length else "",
        f"{characters.rate:.4f}" if characters.length else "",
        "" if best.confidence is None else f"{best.confidence:.4f}",
        f"{best.score:.4f}",
    ]


def _nbest_line(one: Decoded) -> str:
    ranked = [
        {
            "text": h.text,
            "score": round(h.score, 4),
            "confidence": h.confidence and round(h.confidence, 4),
        }
        for h in one.hypotheses
    ]
    best = [asdict(word) for word in one.hypotheses[0].words]
    plain = {"id": one.spoken.name, "hypotheses": ranked, "words": best}
    return json.dumps(plain, ensure_ascii=False) + "\n"


def worst(utterances: Sequence[Decoded], count: int = WORST_COUNT) -> str:
    """Return the utterances with most errors, reference and hypothesis below each other."""
    wrong = [one for one in utterances if one.words.total]
    ranked = sorted(wrong, key=lambda one: (-one.words.total, one.spoken.name))[:count]
    blocks = []
    for one in ranked:
        head = f"{one.spoken.name}: {one.words.total} errors in {one.words.length} words"
        lines = side_by_side(one.spoken.text, one.hypotheses[0].text)
        blocks.append("\n".join([printable(head), *map(printable, lines)]))
    return "\n\n".join(blocks) + "\n" if blocks else "no errors\n"


def said(outcome: Outcome) -> str:
    """Return the result as lines to print."""
    record = outcome.record
    lines = [_rate_line(record, "wer", "words"), _rate_line(record, "cer", "characters")]
    share = record["empty"] / record["utterances"]
    if share > 0:
        lines.append(f"nothing was recognised in {100 * share:.1f} % of the utterances")
    if without := record["empty_references"]:
        lines.append(f"empty references: {without}; each word recognised there is an insertion")
    factor = record["real_time_factor"]
    whole = factor["encode"] + factor["search"]
    lines.append(
        f"real-time factor {whole:.3g} (encoder {factor['encode']:.3g}, search "
        f"{factor['search']:.3g}) on {factor['device']}"
    )
    if outcome.grid:
        lines += ["", f"tuned on {record['tuned']['on']}:", _grid_table(outcome.grid)]
    return "\n".join(lines)


def _rate_line(record: dict[str, Any], kind: str, units: str) -> str:
    rate = record[kind]
    interval = ""
    if rate["interval"]:
        low, high = (100 * value for value in rate["interval"])
        over = f"{record['groups']} {record['interval_over']}"
        interval = f" (95 %: {low:.2f} to {high:.2f}, bootstrap over {over})"
    return (
        f"{kind.upper()} {100 * rate['rate']:.2f} %{interval}: {rate['substitutions']} "
        f"substitutions, {rate['deletions']} deletions, {rate['insertions']} insertions in "
        f"{rate['length']:,} {units}"
    )


def _grid_table(grid: Sequence[GridPoint]) -> str:
    """A row for every weight of the language model, a column for every score of a word, in %."""
    weights = sorted({point.lm_weight for point in grid})
    scores = sorted({point.word_score for point in grid})
    found = {(point.lm_weight, point.word_score): point.wer for point in grid}
    best = (grid[0].lm_weight, grid[0].word_score)
    rows = [["lm weight \\ word score", *(f"{score:g}" for score in scores)]]
    for weight in weights:
        cells = [
            f"{100 * found[weight, score]:.2f}{'*' if (weight, score) == best else ''}"
            for score in scores
        ]
        rows.append([f"{weight:g}", *cells])
    return aligned(rows)
