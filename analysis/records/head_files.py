"""The heads that a run tested: where they are, and what they made of the upstream's layers.

A run is a folder of ``mt4ssl superb run``, or one with s3prl experiments in it. A suite trains many
heads of a task; which of them was tested is in the states of its test jobs.
"""

import argparse
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch

from analysis.records import score_files
from analysis.records.attempts import Attempts
from mt4ssl_core.checkpoints import checkpoint
from mt4ssl_core.files import reading
from upstream.door import tasks
from upstream.heads import results, states
from upstream.heads.task_request import NONE, transform_of
from upstream.suite import protocol, roots, run_folder

LAYERS = 1000  # no upstream has more
TRAIN = "train its heads with `mt4ssl superb run`"


@dataclass(frozen=True)
class Head:
    """A tested head, and the upstream that it listened to.

    ``weights`` (L,) sum to 1; None where it does not listen to several layers, as ``why`` says.
    """

    task: str
    upstream: str
    ckpt: str | None
    fingerprint: str | None
    finetuned: bool  # the upstream too: not what its checkpoint holds any more
    path: Path | None = None  # None: nothing was trained
    weights: np.ndarray | None = None
    normalized: bool = False  # each frame of each layer before the sum, or each layer's features
    why: str = ""
    seed: int | None = None

    @property
    def model(self) -> tuple[str, str | None]:
        """What tells its upstream from others."""
        upstream = f"{self.upstream} fine-tuned" if self.finetuned else self.upstream
        return upstream, self.fingerprint or self.ckpt


def read(run: str | Path, broken: list[str] | None = None) -> list[Head]:
    """Return the heads of a run that were tested, of every fold and seed.

    ``broken`` gets a line on each head that cannot be read, which is left out unless there is no
    other; None: the first one is refused.

    Raises:
        ValueError: no results, a head that is gone or broken, or weights that are not finite.
    """
    records = tested(run)
    found: list[Head] = []
    attempts = Attempts(broken)
    for folder, record in records:
        with attempts.one(), reading(folder, TRAIN):
            found.append(_head(folder, record))
    attempts.close(found)
    return found


def tested(run: str | Path) -> list[tuple[Path, dict[str, Any]]]:
    """Return the records of the tests of a run, of every task, fold and seed, with their folders.

    Each is that of the task's first metric, as the experiment's results.json has it.

    Raises:
        ValueError: no such folder, no results, or what was tested is gone.
    """
    run = Path(run)
    if not run.is_dir():
        raise ValueError(f"{run}: no such folder; give what `mt4ssl superb run` made with --out")
    suites, experiments = score_files.places(run)
    records = [found for suite in suites for found in _of_suite(suite)]
    records += _of_experiments(experiments)
    if not records:
        raise ValueError(f"{run}: no results of any task; {TRAIN}")
    return records


def _of_suite(run: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield what was tested of each task and variant, with its folder."""
    found = run_folder.read_results(run)
    for task in roots.in_order({record["task"] for record in found}):
        header = tasks.header(task)
        first = header["metrics"][0]
        for seed, variant in product(_seeds(found, task), protocol.variants(header)):
            job = run_folder.job_name(task, variant.name, "test", seed)
            state = run_folder.read_state(run, job)
            tested = state.get("result", {}).get("records", [])
            same = [record for record in tested if _is(record, first)]
            if not same:
                raise ValueError(
                    f"{run_folder.state_path(run, job)}: not there, or without {first['name']} "
                    f"of the test, so that it is not known which head of {task} was tested; "
                    "remove it and run `mt4ssl superb run` again, which tests it once more"
                )
            folder = run / protocol.best_of(same)["folder"]
            record = _tested(folder, first)
            if record is None:
                raise ValueError(
                    f"{folder / results.RESULTS}: gone, or without {first['name']} of the test; "
                    "give the folder as `mt4ssl superb run` left it"
                )
            yield folder, record


def _seeds(records: Iterable[Mapping[str, Any]], task: str) -> list[int | None]:
    """Return the seeds of a task's heads; None: the suite's own."""
    for record in records:
        if record["task"] == task and (seeds := record.get("seeds")):
            return [None if seed == str(record.get("seed")) else int(seed) for seed in seeds]
    return [None]


def _of_experiments(folders: Iterable[Path]) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield one record of each s3prl experiment that was tested, with its folder."""
    for folder in folders:
        records = results.read(folder)
        if not all(isinstance(record, dict) for record in records):
            raise ValueError(f"{folder / results.RESULTS}: expected a list of records; {TRAIN}")
        task = str(next((record.get("task") for record in records), None))
        if task in tasks.names() or tasks.is_own(task):
            record = _tested(folder, tasks.header(task)["metrics"][0])
            if record is not None:
                yield folder, record


def _tested(folder: Path, metric: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the record of a metric of the task's test, which names the head."""
    return next((r for r in results.read(folder) if _is(r, metric)), None)


def _is(record: Mapping[str, Any], metric: Mapping[str, Any]) -> bool:
    stage = tasks.stage_of(dict(metric))
    return (record.get("metric"), record.get("stage", tasks.TEST)) == (metric["name"], stage)


def _head(folder: Path, record: dict[str, Any]) -> Head:
    keys = ("task", "upstream", "upstream_ckpt", "fingerprint", "upstream_trainable")
    if lacking := [key for key in (*keys, "head") if key not in record]:
        raise ValueError(f"{folder}: its results do not say {', '.join(lacking)}; {TRAIN}")
    head = replace(Head(*(record[key] for key in keys)), seed=record.get("seed"))
    if record["head"] is None:
        return replace(head, why=f"layer {record['layer']} alone, chosen on dev")
    name = Path(record["head"]).name  # the run may have been moved
    places = (folder / name, folder.parent.parent / name, Path(record["head"]))
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        raise ValueError(f"{places[0]}: the head that was tested is gone; {TRAIN}")
    weights, args = _read(path)
    if weights is not None:
        normalized = args.upstream_feature_normalize or transform_of(args) != NONE
        return replace(head, path=path, weights=weights, normalized=bool(normalized))
    layer = args.upstream_layer_selection
    one = f"{record['upstream']} has a single layer"
    return replace(head, path=path, why=one if layer is None else f"layer {layer} alone")


def _read(path: Path) -> tuple[np.ndarray | None, argparse.Namespace]:
    """Return a head's weights (L,), which sum to 1, and s3prl's arguments."""
    stored = checkpoint.read(path, states.NAMESPACE)
    parts = stored if isinstance(stored, dict) else {}
    args, featurizer = parts.get("Args"), parts.get("Featurizer")
    weights = featurizer.get("weights") if isinstance(featurizer, dict) else 0
    listed = isinstance(weights, torch.Tensor) and weights.dim() == 1
    if not isinstance(args, argparse.Namespace) or not (
        weights is None or (isinstance(weights, torch.Tensor) and listed and len(weights) <= LAYERS)
    ):
        raise ValueError(f"{path}: not a checkpoint of s3prl's runner; {TRAIN}")
    for name in ("upstream_feature_normalize", "upstream_layer_selection"):
        if name not in vars(args):
            raise ValueError(f"{path}: Args has no {name}; {TRAIN}")
    if weights is None:
        return None, args
    if not weights.isfinite().all():
        raise ValueError(
            f"{path}: Featurizer.weights are not finite ({weights.tolist()}); train the head again "
            "with a lower learning rate"
        )
    return weights.double().softmax(-1).numpy(), args
