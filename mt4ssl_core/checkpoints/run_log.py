"""What a run noted of its data in the log.jsonl beside its checkpoints."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from mt4ssl_core.checkpoints.foreign.foreign_settings import mapping

_LINE = 1 << 22  # bytes that are read of a line


def amounts(checkpoint: Path) -> dict[str, Any]:
    """Return the hours and counts that a run began with, unchecked; {} where nothing is noted.

    A run that began twice, since it was stopped before its first checkpoint, noted them twice; the
    last ones count.
    """
    found: dict[str, Any] = {}
    with (
        suppress(OSError, ValueError, RecursionError),
        open(checkpoint.parent / "log.jsonl", "rb") as file,
    ):
        while (line := mapping(json.loads(file.readline(_LINE)))).get("update") == 0:
            found |= line
    return found
