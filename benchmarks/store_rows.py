"""What is measured for each task, and the arithmetic from steps to the lines of the result."""

import itertools
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

PLAIN, EXACT, BANK = "plain", "exact", "bank"
CROPS = 4  # kept of each file in mode bank
SEEDS, SWEEP, EPOCHS = 3, 5, 20

UTTERANCES = {  # to train on
    "ic": 64, "er": 32, "ks": 256, "sid": 32, "pr": 24, "sd": 16, "asr": 6, "sf": 32, "asv": 30,
}  # fmt: skip
PLAIN_BATCHES = {
    "ic": 2, "er": 8, "ks": 4, "sid": 4, "pr": 2, "sd": 4, "asr": 2, "sf": 2, "asv": 5,
}  # fmt: skip

# the BLSTM heads of 1,024 units take minutes for a batch of SUPERB's size on a few cores
SMALLER: dict[str, dict[str, int]] = {
    "asr": {"downstream_expert.datarc.batch_size": 2},
    "sf": {"downstream_expert.corpus.batch_size": 8},
}

FIELDS = (
    "plain_steps_per_s",
    "cold_steps_per_s",
    "warm_steps_per_s",
    "ratio_warm",
    "limit",
    "fraction_of_limit",
    "sweep5_cost_ratio",
    "score_plain",
    "score_store",
    "score_spread_3_seeds",
)  # of a line of the result, beside task, kind and mode


@dataclass(frozen=True)
class Row:
    """A line of the result: a task, and how its features are kept."""

    task: str
    kind: str
    mode: str
    batches: int  # of a training with the store
    sweep: bool = False  # five such trainings, of 20 epochs each

    @property
    def store(self) -> dict[str, Any]:
        """What is asked of the store."""
        asked: dict[str, Any] = {"mode": "frames"}  # whatever pays: that is what is measured
        return asked | ({"crops": CROPS} if self.mode == BANK else {})


ROWS = (
    Row("ic", "pooled", EXACT, 40, sweep=True),
    Row("er", "pooled", EXACT, 160, sweep=True),
    Row("ks", "pooled", EXACT, 48),
    Row("ks", "pooled", BANK, 160, sweep=True),
    Row("sid", "pooled", EXACT, 12),
    Row("sid", "pooled", BANK, 80, sweep=True),
    Row("pr", "frames", EXACT, 24),
    Row("sd", "frames", EXACT, 8),
    Row("asr", "frames", EXACT, 7),
    Row("sf", "frames", EXACT, 14),
    Row("asv", "frames", EXACT, 10),
)


def summary(row: Row, plain: Mapping[str, Any], ours: Mapping[str, Any]) -> dict[str, Any]:
    """Rates, ratios and sizes from the two measurements of a row."""
    accumulated = plain["accumulated"]
    per_plain = mean_seconds(settled(plain["steps"]))
    cold = [step for step in ours["steps"] if step["epoch"] == 0 and step["stored"]]
    full = [step for step in ours["steps"] if not step["stored"]]
    full = full[:-1] if len(full) > 3 else full  # the last one also writes a checkpoint
    per_cold, per_warm = mean_seconds(cold), mean_seconds(settled(full))
    upstream = statistics.mean(step["upstream"] for step in settled(plain["steps"]))
    head = statistics.mean(step["done"] - step["encoded"] for step in settled(plain["steps"]))
    parts = {"load": plain["parts"]["load"], "upstream": upstream, "head_plain": head}
    limit = sum(parts.values()) / sum(ours["parts"].values())
    stored = sum(step["stored"] for step in ours["steps"])
    return {
        "plain_steps_per_s": 1 / per_plain / accumulated,
        "cold_steps_per_s": 1 / per_cold / accumulated,
        "warm_steps_per_s": 1 / per_warm / accumulated,
        "ratio_warm": per_plain / per_warm,
        "limit": limit,
        "fraction_of_limit": per_plain / per_warm / limit,
        "sweep5_cost_ratio": sweep(row, ours, per_plain, per_warm),
        "sweep5": None if not sweeps(row) else "measured" if row.sweep else "from the speeds",
        "epochs": EPOCHS if sweeps(row) else None,
        "batches_per_step": accumulated,
        "changed": SMALLER.get(row.task, {}),
        "seconds_per_batch": {**parts, **ours["parts"]},
        "batches": {"plain": len(plain["steps"]), "cold": len(cold), "warm": len(full)},
        "crop_seconds_per_batch": statistics.mean(step["crops"] for step in full),
        "gb_per_hour_of_audio": ours["store_gb"] / stored * 3600,
        "fill_x_real_time": sum(step["stored"] for step in cold) / (per_cold * len(cold)),
        "peak_memory_gb": {"plain": plain["memory_gb"], "store": ours["memory_gb"]},
    }


def settled(steps: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The steps that are not the first of an epoch, where there are some; a real one is long."""
    pairs = itertools.pairwise(steps)
    rest = [step for before, step in pairs if step["epoch"] == before["epoch"]]
    return rest if len(rest) > 2 else list(steps)


def mean_seconds(steps: Sequence[Mapping[str, Any]]) -> float:
    """How long a batch took."""
    return statistics.mean(step["done"] - step["asked"] for step in steps)


def sweeps(row: Row) -> bool:
    """Whether the cost of five learning rates is told."""
    return row.sweep or row.task == "pr"


def sweep(row: Row, ours: Mapping[str, Any], per_plain: float, per_warm: float) -> float | None:
    """The time of five trainings that share the store, over that of one plain training.

    Five trainings of a frames task take long: their time follows from the speeds.
    """
    if row.sweep:
        return float(ours["seconds"] / (row.batches * per_plain))
    if not sweeps(row):
        return None
    batches = EPOCHS * sum(step["epoch"] == 0 for step in ours["steps"])
    first = [step["done"] - step["asked"] for step in ours["steps"] if step["stored"]]
    return (sum(first) + (SWEEP * batches - len(first)) * per_warm) / (batches * per_plain)
