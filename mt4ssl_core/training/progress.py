"""How far a run is."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

_MOST = 10**12  # of any counter: beyond it a file is damaged


@dataclass
class Progress:
    """How far a run is.

    epoch, batches: so many batches of this epoch has each of ``processes`` consumed, not merely
        prefetched, after the first ``earlier`` ones, which other numbers of processes consumed.
    best: lowest held-out loss, or word error rate. second: what decided between equals then.
    validated: update of the last validation.
    train_data, held_out_data: names of ids and lengths (see `PretrainLoader.fingerprint`).
    skipped_files, skipped_seconds: what could not be used of this epoch so far.
    """

    update: int = 0
    epoch: int = 0
    batches: int = 0
    earlier: int = 0
    processes: int = 1
    audio_hours: float = 0.0
    wall_hours: float = 0.0
    best: float | None = None
    second: float | None = None
    validated: int = 0
    train_data: str | None = None
    held_out_data: str | None = None
    skipped_files: int = 0
    skipped_seconds: float = 0.0

    def consume(self, epoch: int, batches: int) -> None:
        """Each process has now consumed ``batches`` of ``epoch``."""
        if epoch != self.epoch:
            self.earlier = 0
        self.epoch, self.batches = epoch, batches

    def begin_again(self) -> None:
        """Go back to the beginning of the epoch."""
        self.batches, self.earlier = 0, 0
        self.skipped_files, self.skipped_seconds = 0, 0.0

    def share_among(self, processes: int) -> None:
        """Let another number of processes go on with the next batch of the epoch."""
        self.earlier += self.batches * self.processes
        self.batches, self.processes = 0, processes


def read_progress(values: Mapping[str, Any], path: Path) -> Progress:
    """Return the progress in a checkpoint; keys of other programs' are left out.

    Raises:
        ValueError: one of ours is of another type, or out of bounds.
    """
    known = {field.name: field.default for field in fields(Progress)}
    taken = {key: value for key, value in values.items() if key in known}
    for key, value in taken.items():
        default = known[key]
        if default is None:
            kind: type = str if key in ("train_data", "held_out_data") else float
            good = value is None or (type(value) is kind and _finite(value))
        elif isinstance(default, float):
            good = type(value) in (int, float) and _finite(value) and 0 <= value <= _MOST
        else:
            good = type(value) is int and (key == "processes") <= value <= _MOST
        if not good:
            shown = repr(value)[:60] if isinstance(value, str | int | float) else type(value)
            raise ValueError(f"{path}: progress.{key} is {shown}, which no run can have written")
    taken.setdefault("validated", taken.get("update", 0))  # older files: saved after validation
    return Progress(**taken)


def _finite(value: Any) -> bool:
    return not isinstance(value, float) or math.isfinite(value)
