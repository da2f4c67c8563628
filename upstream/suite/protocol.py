"""SUPERB's protocol: what is tried, how dev chooses among it, and what the tests amount to.

Driven by the ``superb:`` block of downstream_configs/TASK.yaml alone:

- ``learning_rates``: each is trained with, and the one that did best on dev is tested, once.
- ``select: layer`` (no training): each layer is evaluated on dev, the best one on test;
  ``select: none``: the default learning rate, without a choice.
- ``variants``: the whole is done for each value (the folds of emotion recognition), one choice is
  made for all by the mean of their dev values, and the result is the mean.
- ``dev``: the split that chooses; its values are those reported while training.
- ``test_on: checkpoints``: every saved head is tested and the best result reported.
"""

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from upstream.corpora.texts import read_text
from upstream.door import tasks
from upstream.heads import results

LAYER, NONE = "layer", "none"
DEFAULT_DEV = "dev"


@dataclass(frozen=True)
class Candidate:
    """One of the things to choose from; ``name`` is also its folder's."""

    name: str
    rate: float | None = None  # None: that of the config
    layer: int | None = None  # None: the weighted sum of all


@dataclass(frozen=True)
class Variant:
    """One of the settings whose results are averaged; most tasks have a single one, unnamed."""

    name: str | None = None
    override: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True)
class Dev:
    """Where the value that chooses is read."""

    split: str
    key: str  # name of the value that s3prl reports while training
    metric: str  # name of the record when a layer is evaluated
    direction: str


def candidates(
    header: Mapping[str, Any],
    default_rate: float | None,
    layers: int,
    rates: Sequence[float] | None = None,
    smoke: bool = False,
) -> list[Candidate]:
    """Return what a task chooses from.

    Args:
        header: the task's ``superb:`` block.
        default_rate: learning rate of its config.
        layers: how many hidden states the upstream has.
        rates: learning rates in place of the header's.
        smoke: only one rate, and only the first and last layer.
    """
    select = header.get("select", "rate")
    if select == LAYER:
        chosen = sorted({0, layers - 1}) if smoke else range(layers)
        return [Candidate(f"layer_{layer}", layer=layer) for layer in chosen]
    found = [] if select == NONE else list(rates or header.get("learning_rates") or [])
    if not found:
        return [Candidate("default")]
    if smoke:
        found = found[:1] if rates or default_rate is None else [default_rate]
    return [Candidate(f"lr_{rate:g}", rate=float(rate)) for rate in dict.fromkeys(found)]


def variants(header: Mapping[str, Any]) -> list[Variant]:
    """Return the settings whose mean is the result."""
    entry = header.get("variants")
    if not entry:
        return [Variant()]
    return [Variant(str(value), ((entry["key"], value),)) for value in entry["values"]]


def dev_of(header: Mapping[str, Any]) -> Dev:
    """Return where the choosing value of a task is read: by default its first metric's, on dev."""
    entry, metric = header.get("dev") or {}, header["metrics"][0]
    return Dev(
        split=entry.get("split", DEFAULT_DEV),
        key=entry.get("key", metric["key"]),
        metric=entry.get("metric", metric["name"]),
        direction=entry.get("direction", metric["direction"]),
    )


def dev_while_training(expdir: str | Path, dev: Dev) -> float | None:
    """Return the best dev value that an experiment reported while training; None when none did."""
    path = Path(expdir) / results.EVALUATIONS
    values = []
    for line in read_text(path).splitlines() if path.is_file() else []:
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):  # cut off by a crash; the evaluation was repeated
            continue
        if isinstance(entry, dict) and entry.get("split") == dev.split:
            value = entry.get(dev.key)
            values.append(value if type(value) in (int, float) else None)
    return best(values, dev.direction)


def best(values: Sequence[float | None], direction: str) -> float | None:
    """Return the largest (``max``) or smallest finite value; None when there is none."""
    finite = [value for value in values if value is not None and math.isfinite(value)]
    if not finite:
        return None
    return max(finite) if direction == "max" else min(finite)


def best_candidate(devs: Mapping[str, Sequence[float | None]], direction: str, where: str) -> str:
    """Return the candidate whose mean dev value (over the variants) is best; of equals the first.

    Raises:
        ValueError: there are several, and no one has a dev value for every variant.
    """
    if len(devs) == 1:
        return next(iter(devs))
    means = {name: mean(values) for name, values in devs.items()}
    top = best(list(means.values()), direction)
    if top is None:
        raise ValueError(
            f"{where}: no finite dev value of {', '.join(devs)}; train longer than "
            "runner.eval_step, or give one learning rate with --rates"
        )
    return next(name for name, value in means.items() if value == top)


def mean(values: Sequence[float | None]) -> float | None:
    """Return the mean; None when a value is missing or not finite."""
    if any(value is None or not math.isfinite(value) for value in values):
        return None
    return math.fsum(value for value in values if value is not None) / len(values)


def best_of(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return, of one metric's records of several heads, the best (the first one if all failed)."""
    top = best([record["value"] for record in records], records[0]["direction"])
    return dict(next((record for record in records if record["value"] == top), records[0]))


def average(records: Mapping[str | None, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the record of a metric over all variants: the mean, and each one's value and step."""
    first = next(iter(records.values()))
    if list(records) == [None]:
        return {**first, "variants": None}
    shown = {
        str(name): {"value": record["value"], "step": record["step"]}
        for name, record in records.items()
    }
    seconds = round(math.fsum(record["seconds"] for record in records.values()), 3)
    value = mean([record["value"] for record in records.values()])
    return {**first, "value": value, "step": None, "seconds": seconds, "variants": shown}


def over_seeds(records: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the record of a metric over the seeds of heads, unchanged where there is one seed.

    Of several, ``value`` is the mean and ``deviation`` the sample deviation (None where a value
    is), and ``seeds`` has the value, step and variants of each.
    """
    first = next(iter(records.values()))
    if len(records) == 1:
        return dict(first)
    values = [record["value"] for record in records.values()]
    value, kept = mean(values), ("value", "step", "variants")
    return {
        **first,
        "value": value,
        "deviation": None if value is None else statistics.stdev(values),
        "step": None,
        "seconds": round(math.fsum(record["seconds"] for record in records.values()), 3),
        "variants": None,
        "seeds": {str(s): {key: record[key] for key in kept} for s, record in records.items()},
    }


def planned_stages(
    header: Mapping[str, Any], paths: Mapping[str, Any], asked: Sequence[str] = ()
) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the evaluations to do, and why optional ones are left out.

    An optional one is done when its name is ``asked`` for, or when it needs packages or optional
    files of the corpus, and these are there.
    """
    done, left_out = [], []
    optional = [key for key, entry in header["root_keys"].items() if entry.get("optional")]
    for stage in tasks.all_stages(header):
        lacking = [f"package {name}" for name in tasks.missing_packages(stage)]
        lacking += [header["root_keys"][key]["what"] for key in optional if key not in paths]
        by_hand = not stage.get("packages") and not optional
        if not stage.get("optional") or stage["name"] in asked or not (lacking or by_hand):
            done.append(stage)
        else:
            why = f"{', '.join(lacking)} not there" if lacking else "done only with --stages"
            left_out.append(f"{header['code']} ({stage['name']}): {why}")
    return done, left_out
