"""Probe scores of the checkpoints of a run: kept in its folder, and not measured twice."""

import hashlib
import json
import sys
from collections.abc import Sequence
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
    """Probes by some labelled speech, in RUN/probes/SETTING/CHECKPOINT.json.

    Each speech, seed and number of minutes has a folder of its own. What is kept holds while the
    checkpoint is the same, and of ABX the items, too. What cannot be written (somebody else's run)
    is said and measured again the next time.

    seed, minutes, items, device: as of `analysis.probes.probing.score_layers`.
    """

    utterances: Sequence[LabelledUtterance]
    seed: int = 0
    minutes: float = probing.MINUTES
    items: ItemFile | None = None
    device: str = "auto"

    @cached_property
    def setting(self) -> dict[str, Any]:
        """What decides the scores of a checkpoint."""
        return {
            "speech": speech.speech_fingerprint(self.utterances), "seed": self.seed,
            "minutes": float(self.minutes), "version": probing.VERSION,
        }  # fmt: skip

    @cached_property
    def _folder(self) -> str:
        return hashlib.sha256(json.dumps(self.setting).encode()).hexdigest()[:16]

    def path(self, run: Path, checkpoint: Path) -> Path:
        """Where the scores of a checkpoint of a run are kept."""
        return run / FOLDER / self._folder / f"{checkpoint.stem}.json"

    def score_layers(self, run: Path | None, checkpoint: Path, probes: Sequence[str]) -> list[Row]:
        """Return the rows of some probes of every layer; None is what is no number.

        ``run``: its folder; without one nothing is kept.

        Raises:
            ValueError: what `analysis.probes.probing.score_layers` refuses.
        """
        probes = list(dict.fromkeys(probes))
        if run is None:
            return self._measured(checkpoint, probes)
        path, own = self.path(run, checkpoint), cache.file_fingerprint(checkpoint)
        items = None if self.items is None else cache.file_fingerprint(self.items.path)
        known, compared = _read(path, own)
        if compared != items and set(probes) & set(ABX):
            known = {name: rows for name, rows in known.items() if name not in ABX}
            compared = items
        if missing := [name for name in probes if name not in known]:
            for row in self._measured(checkpoint, missing):
                known.setdefault(row["measure"], []).append(row)
            try:
                write_json(path, {
                    "checkpoint": own, **self.setting, "items": compared, "probes": known,
                })  # fmt: skip
            except OSError as error:
                print(f"scores are not kept: {error}", file=sys.stderr)
        return [row for name in probes for row in known.get(name, [])]

    def _measured(self, checkpoint: Path, probes: Sequence[str]) -> list[Row]:
        rows = probing.score_layers(
            checkpoint, self.utterances, probes, self.seed, self.minutes, device=self.device,
            items=self.items,
        )  # fmt: skip
        return [plain(row) for row in rows]


def _read(path: Path, checkpoint: str) -> tuple[dict[str, list[Row]], str | None]:
    """The rows of each probe and what ABX compared; nothing of a damaged file or another's."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        known = found["probes"] if found["checkpoint"] == checkpoint else {}
        whole = all(row.keys() >= _ROW for rows in known.values() for row in rows)
        return (known, found["items"]) if whole else ({}, None)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}, None
