"""How much transcribed speech a model was fine-tuned on, as the papers' tables are sorted."""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mt4ssl_core.checkpoints import run_log
from mt4ssl_core.settings.finetuning import PARTS

AMOUNT = re.compile(r"\d{1,6}(\.\d{1,3})?[mh]")  # such as 10m, 100h
_WHOLE = "train-clean-100"  # LibriSpeech's; parts of it have other names
_HOURS = {"10m": 1 / 6, "1h": 1.0, "10h": 10.0, "100h": 100.0}
_OFF, _HELD_OUT = 0.05, 0.1  # shares of an amount that may be off, and held out of it


def labelled(config: Mapping[str, Any] | None, checkpoint: Path) -> str | None:
    """Return 10m, 1h, 10h or 100h for a run of `mt4ssl finetune` on the papers' data of this size.

    None: unknown. The data has to be called so, and the log beside the checkpoint has to have the
    hours, within 5 %, of which at most a tenth was held out.
    """
    data = (config or {}).get("data")
    if not isinstance(data, dict) or (amount := _called(data)) is None:
        return None
    noted, hours = run_log.amounts(checkpoint), _HOURS[amount]
    held_out = _noted(noted, "held_out_hours") if data.get("valid") is None else 0.0
    off = abs(_noted(noted, "train_hours") + held_out - hours)
    return amount if off <= _OFF * hours and held_out <= _HELD_OUT * hours else None


def _called(data: Mapping[str, Any]) -> str | None:
    """What the data of a run is by its name."""
    part, train = data.get("part"), Path(str(data.get("train")))
    if part in PARTS:
        return str(part).replace("min", "m")
    return "100h" if _WHOLE in (*train.parts, train.stem) else None


def _noted(noted: Mapping[str, Any], name: str) -> float:
    value: Any = noted.get(name)
    return float(value) if type(value) in (int, float) and 0 <= value < 1e9 else math.nan
