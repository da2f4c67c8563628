"""What an s3prl experiment reports, as JSON next to it.

``results.json``: a list of records, one per task, metric and split, of ``-m evaluate`` or
``--then-test``.
``evaluations.jsonl``: one line per log step and evaluation while training: step, split and every
value.
"""

import errno
import json
import math
import os
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from mt4ssl_core.checkpoints.foreign import hub_models
from mt4ssl_core.files import read_json, write_json, write_text, writing
from upstream.corpora.texts import read_text
from upstream.door import cache, packages, tasks
from upstream.heads import blank_share
from upstream.store import decision

RESULTS, EVALUATIONS = "results.json", "evaluations.jsonl"
NOT_LEARNED = "only blanks: not learned"  # a remark on a head that says nothing
_NEEDED = ("task", "metric", "value", "split", "stage")


class Scalars:
    """A TensorBoard writer that remembers the scalars, by name without task and split."""

    def __init__(self, logger: Any, split: str) -> None:
        self._logger, self._split = logger, split
        self.values: dict[str, float] = {}

    def add_scalar(self, tag: str, value: Any, *args: Any, **kwargs: Any) -> None:
        """Remember ``value`` and pass it on."""
        name = tag.rsplit("/", 1)[-1].removeprefix(f"{self._split}-")
        self.values[name] = float(value)
        self._logger.add_scalar(tag, value, *args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._logger, name)


def records(
    args: Any,
    config: dict[str, Any],
    split: str,
    step: int | None,
    values: dict[str, float],
    stage: str = tasks.TEST,
) -> list[dict[str, Any]]:
    """Return one record per metric of the task's stage, each with its setting.

    A config without the ``superb:`` block gives a record for every value that s3prl reported.

    Raises:
        ValueError: s3prl did not report a metric that the block names.
    """
    header = config.get("superb") or {}
    metrics = header.get("metrics") or [{"name": key, "key": key} for key in values]
    metrics = [metric for metric in metrics if not header or tasks.stage_of(metric) == stage]
    setting = describe(args, config)
    found = []
    for metric in metrics:
        if metric["key"] not in values:
            raise ValueError(
                f"{setting['task']}: s3prl reported {', '.join(values)} but not {metric['key']}; "
                "correct superb.metrics in the config"
            )
        value = values[metric["key"]]
        found.append(
            {
                "task": setting["task"],
                "metric": metric["name"],
                "value": value if math.isfinite(value) else None,
                "unit": metric.get("unit"),
                "direction": metric.get("direction"),
                "split": split,
                "stage": stage,
                "step": step,
                **{key: value for key, value in setting.items() if key != "task"},
            }
        )
    return found


def describe(args: Any, config: dict[str, Any]) -> dict[str, Any]:
    """Return the setting of a run: task, upstream, its fingerprint, seed, versions, config."""
    header = config.get("superb") or {}
    return {
        "task": header.get("code", args.downstream),
        "upstream": args.upstream,
        "upstream_ckpt": args.upstream_ckpt,
        "fingerprint": cache.fingerprint_of(args.upstream_ckpt),
        "hub_model": hub_models.origin(args.upstream_ckpt),
        **({"name": name} if (name := cache.own_name(args.upstream_ckpt)) else {}),
        "upstream_trainable": args.upstream_trainable,
        "layer": args.upstream_layer_selection,
        "seed": args.seed,
        "head": args.init_ckpt,
        "corpus": tasks.corpus_paths(config),
        "device": hardware_name(args.device),
        "s3prl": packages.s3prl(),
        "torch": version("torch"),
        "config": {key: value for key, value in config.items() if key != "superb"},
    }


def remarks(record: Mapping[str, Any]) -> list[str]:
    """Say what else must be known to read a record's value."""
    found = [f"--protocol {name}"] if (name := record.get("protocol")) else []
    found += decision.remarks(record.get("store"))
    if transform := record.get("feature_transform"):
        found.append(f"--feature-transform {transform.get('kind')}")
    return [*found, NOT_LEARNED] if blank_share.only_blanks(record) else found


def hardware_name(device: str) -> str:
    """Return the name of the GPU, or "cpu" with the machine's architecture."""
    if str(device).startswith("cuda"):
        return torch.cuda.get_device_name(device)
    return f"{device} ({platform.machine()}, {torch.get_num_threads()} threads)"


def write(expdir: str | Path, new: list[dict[str, Any]]) -> Path:
    """Put records into results.json, in place of older ones of the same metric, split and stage."""
    path = Path(expdir) / RESULTS
    replaced = {_key(record) for record in new}
    old = [record for record in read(expdir) if _key(record) not in replaced]
    write_json(path, old + new)
    return path


def _key(record: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(record.get(name) for name in ("task", "metric", "split", "stage"))


def read(expdir: str | Path) -> list[dict[str, Any]]:
    """Read the records of an experiment; none when there is no results.json.

    Raises:
        ValueError: the file is not such a list.
    """
    path = Path(expdir) / RESULTS
    if not path.is_file():
        return []
    found = read_json(path, remedy="remove it and evaluate again")
    if not isinstance(found, list) or not all(_is_record(record) for record in found):
        raise ValueError(
            f"{path}: expected a list of records with {', '.join(_NEEDED)}; remove it and evaluate "
            "again"
        )
    return found


def _is_record(found: Any) -> bool:
    if not isinstance(found, dict) or not set(_NEEDED) <= set(found):
        return False
    return type(found["value"]) in (int, float, type(None))


def log(expdir: str | Path, split: str, step: int, values: dict[str, float]) -> None:
    """Append what was reported at a step of training to evaluations.jsonl."""
    line = {"step": step, "split": split}
    finite = {key: value if math.isfinite(value) else None for key, value in values.items()}
    path, text = Path(expdir) / EVALUATIONS, json.dumps({**line, **finite}) + "\n"
    with writing(path), open(path, "ab", buffering=0) as file:
        end = file.seek(0, os.SEEK_END)
        written = file.write(text.encode())
        if written != len(text):  # the disk is full
            file.truncate(end)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def forget_after(expdir: str | Path, step: int) -> None:
    """Drop what was reported after ``step``, which a run that goes on from there reports again."""
    path = Path(expdir) / EVALUATIONS
    if path.is_file():
        lines = read_text(path).splitlines(keepends=True)
        write_text(path, "".join(line for line in lines if _step_of(line) <= step))


def _step_of(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, TypeError, KeyError, RecursionError):  # the run was killed while it wrote
        return math.inf
