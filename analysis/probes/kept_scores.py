"""Probe scores of the checkpoints of a run: kept in its folder, and not measured twice."""

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from analysis.abx.items import ItemFile
from analysis.labelled_speech import speech
from analysis.labelled_speech.speech import LabelledUtterance
from analysis.probes import probing
from analysis.probes.probe_rows import Row, plain
from analysis.probes.probe_tasks import ABX
from mt4ssl_core.files import write_json
from upstream.door import cache

FOLDER = "probes"  # of a run
_ROW = {"measure", "layer", "value", "unit", "direction", "held_out", "chosen"}


@dataclass(frozen=True)
class KeptScores:
    """Probes by some labelled speech, in RUN/probes/DATA/CHECKPOINT.json.

    They hold while checkpoint, speech, seed and minutes are the same, and of ABX the items, too.

    seed, minutes, items, device: as of `analysis.probes.probing.score_layers`.
    """

    utterances: Sequence[LabelledUtterance]
    seed: int = 0
    minutes: float = probing.MINUTES
    items: ItemFile | None = None
    device: str = "auto"

    @cached_property
    def _setting(self) -> dict[str, Any]:
        data = speech.speech_fingerprint(self.utterances)
        return {
            "data": data, "seed": self.seed, "minutes": self.minutes, "version": probing.VERSION,
        }  # fmt: skip

    def path(self, run: Path, checkpoint: Path) -> Path:
        """Where the scores of a checkpoint of a run are kept."""
        return run / FOLDER / self._setting["data"] / f"{checkpoint.stem}.json"

    def score_layers(self, run: Path | None, checkpoint: Path, probes: Sequence[str]) -> list[Row]:
        """Return the rows of some probes of every layer; None is what is no number.

        ``run``: its folder; without one nothing is kept.

        Raises:
            ValueError: what `analysis.probes.probing.score_layers` refuses.
        """
        if run is None:
            return self._measured(checkpoint, probes)
        path = self.path(run, checkpoint)
        key = {"checkpoint": cache.file_fingerprint(checkpoint), **self._setting}
        items = None if self.items is None else cache.file_fingerprint(self.items.path)
        known, compared = _read(path, key)
        if compared != items and set(probes) & set(ABX):
            known = {name: rows for name, rows in known.items() if name not in ABX}
            compared = items
        if missing := [name for name in probes if name not in known]:
            for row in self._measured(checkpoint, missing):
                known.setdefault(row["measure"], []).append(row)
            with suppress(PermissionError):  # somebody else's run
                write_json(path, {"key": key, "items": compared, "probes": known})
        return [row for name in probes for row in known.get(name, [])]

    def _measured(self, checkpoint: Path, probes: Sequence[str]) -> list[Row]:
        rows = probing.score_layers(
            checkpoint, self.utterances, probes, self.seed, self.minutes, device=self.device,
            items=self.items,
        )  # fmt: skip
        return [plain(row) for row in rows]


def _read(path: Path, key: dict[str, Any]) -> tuple[dict[str, list[Row]], str | None]:
    """The rows of each probe and what ABX compared; nothing of a damaged file or another key."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        known = found["probes"] if found["key"] == key else {}
        whole = all(row.keys() >= _ROW for rows in known.values() for row in rows)
        return (known, found["items"]) if whole else ({}, None)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}, None
