#!/usr/bin/env python
"""One measured training in a process of its own: what benchmarks/feature_store.py starts.

    python benchmarks/timed_training.py ASKED.json ANSWER.json

The training is s3prl's, through `upstream.heads.runner`, with its loader, heads and optimiser. A
step
lasts from when the training asks for a batch until it asks for the next one. Parts of a step are
then measured one by one, without the others.
"""

import json
import resource
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
from mt4ssl_core.config import SAMPLE_RATE  # noqa: E402
from mt4ssl_core.files import write_json  # noqa: E402

RATES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)  # of a sweep
PART_SECONDS, MOST_BATCHES = 5.0, 40  # for a part; a few slow batches take longer
NEVER = 10**9
GB = 1e9


@dataclass
class Step:
    """A step of training; times in seconds."""

    epoch: int
    asked: float  # for its batch
    got: float = 0.0
    encoded: float = 0.0  # when the upstream, or what stands for it, was done
    done: float = 0.0
    upstream: float = 0.0  # of `encoded` - `got`
    stored: float = 0.0  # seconds of audio whose features are new in the store
    crops: float = 0.0  # seconds of audio that went through the upstream and is in no store


class Watch:
    """Takes down the steps of a training while it is ``on``."""

    def __init__(self, device: str) -> None:
        self.steps: list[Step] = []
        self.on = False
        self._cuda = device.startswith("cuda")

    def now(self) -> float:
        """Return the time when all work given to the device so far is done."""
        if self._cuda:
            torch.cuda.synchronize()
        return time.perf_counter()

    def batches(self, loaded: Iterable[Any]) -> Iterator[Any]:
        """Pass the batches of an epoch on."""
        epoch, batches, end = self.steps[-1].epoch + 1 if self.steps else 0, iter(loaded), object()
        last: Step | None = None
        while True:
            asked = self.now()
            if last is not None:
                last.done = asked
            if (batch := next(batches, end)) is end:
                return
            last = Step(epoch, asked, self.now())
            self.steps.append(last)
            yield batch

    def attach(self, upstream: torch.nn.Module) -> None:
        """Time the calls of an upstream, and count what a store before it has to encode."""
        began = 0.0

        def before(*_: Any) -> None:
            nonlocal began
            began = self.now()

        def after(*_: Any) -> None:
            if self.on:
                self.steps[-1].encoded = self.now()
                self.steps[-1].upstream = self.steps[-1].encoded - began

        upstream.register_forward_pre_hook(before)
        upstream.register_forward_hook(after)

    def keeping(self, keep: Any) -> Any:
        """Return `StoredFeatures.keep` that counts."""

        def counted(features: Any, utterance: Any, values: Any) -> Any:
            if self.on:
                seconds = utterance.samples / SAMPLE_RATE
                step = self.steps[-1]
                if utterance.key is None:
                    step.crops += seconds
                else:
                    step.stored += seconds
            return keep(features, utterance, values)

        return counted


def timed(
    task: str,
    ckpt: str,
    root: str,
    out: str,
    batches: int,
    overrides: dict[str, Any],
    store: dict[str, Any],
    runs: int = 1,
    device: str = "cpu",
) -> dict[str, Any]:
    """Train ``runs`` heads one after another, each on ``batches`` batches; return measurements.

    ``steps`` are those of the first run, ``parts`` the seconds of single parts, ``seconds`` how
    long all runs took together, from building the data sets on.
    """
    from upstream.door import tasks
    from upstream.heads import data_order, runner, s3prl_runner
    from upstream.store import options as store_options
    from upstream.store import stored_features as stored_features

    watch = Watch(device)
    parts: dict[str, float] = {}
    options = store_options.StoreOptions(**store)
    asked_for, keep = data_order.Batches.__iter__, stored_features.StoredFeatures.keep
    spent = used = 0.0  # seconds for the parts, bytes before them

    def watched(self: Any) -> Iterator[Any]:
        return watch.batches(asked_for(self)) if watch.on else asked_for(self)

    class Runner(s3prl_runner.Runner):
        def train(self) -> None:
            nonlocal parts, spent, used
            first = not watch.steps
            if first:
                watch.attach(self.upstream.model)
            watch.on = first
            super().train()
            watch.on = False
            if first:
                used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
                started = time.perf_counter()
                parts = measure_parts(self, watch)
                spent = time.perf_counter() - started

    data_order.Batches.__iter__ = watched  # type: ignore[method-assign]
    stored_features.StoredFeatures.keep = watch.keeping(keep)  # type: ignore[method-assign]
    runner.Runner = Runner  # type: ignore[misc]
    accumulated = tasks.read(tasks.path_of(task))["runner"]["gradient_accumulate_steps"]
    total = max(1, batches // accumulated)
    changes = {
        **overrides,
        "runner.total_steps": total,
        "runner.eval_step": NEVER,
        "runner.save_step": total,
    }
    started = time.perf_counter()
    for number, rate in enumerate(RATES[:runs]):
        rates = {"optimizer.lr": rate} if runs > 1 else {}
        runner.run(
            task,
            "mt4ssl",
            Path(out) / f"run{number}",
            ckpt=ckpt,
            root=root,
            overrides=changes | rates,
            device=device,
            store=options,
            stages=[],
        )
    took = time.perf_counter() - started - spent
    return {
        "steps": [asdict(step) for step in watch.steps if step.done],
        "accumulated": accumulated,
        "parts": parts,
        "seconds": took,
        "memory_gb": used / GB,
        "store_gb": _size(options) / GB,
    }


def _size(options: Any) -> int:
    files = options.place.rglob("*") if options.mode != "off" else []
    return sum(path.stat().st_size for path in files if path.is_file())


def measure_parts(runner: Any, watch: Watch) -> dict[str, float]:
    """Return seconds per batch of ``load`` (s3prl's loader alone), or of ``read`` and ``head``.

    ``read`` is a loader and what stands for the upstream, without a head; ``head`` is featurizer,
    head, backward pass and optimiser on batches that are there.
    """
    from upstream.store.lazy_audio import Utterance

    split = runner.config["runner"].get("train_dataloader", "train")

    def epoch() -> Iterator[Any]:
        return iter(runner.downstream.model.get_dataloader(split, epoch=0))

    if runner.storage is None:
        return {"load": _per_batch(epoch(), lambda batch: None, watch)}
    kept: list[Any] = []

    def given(wav: Any) -> Any:
        return wav if isinstance(wav, Utterance) else torch.FloatTensor(wav).to(runner.args.device)

    def encode(batch: Any) -> None:
        wavs, *others = batch
        with torch.no_grad():
            answer = runner.upstream.model([given(wav) for wav in wavs])
        if len(kept) < 2:
            kept.append((wavs, answer, others))

    reading = _per_batch(epoch(), encode, watch)
    trained = [p for e in runner.all_entries if e.trainable for p in e.model.parameters()]
    optimizer = runner._get_optimizer([e.model for e in runner.all_entries if e.trainable])

    steps, done = runner.config["runner"]["gradient_accumulate_steps"], list[None]()

    def learn(batch: Any) -> None:
        wavs, answer, others = batch
        features = runner.featurizer.model(wavs, answer)
        if augment is not None:
            features, _ = augment(features)
        records: dict[str, list[Any]] = defaultdict(list)
        (runner.downstream.model(split, features, *others, records=records) / steps).backward()
        done.append(None)
        if len(done) % steps == 0:
            torch.nn.utils.clip_grad_norm_(trained, runner.config["runner"]["gradient_clipping"])
            optimizer.step()
            optimizer.zero_grad()

    augment = _augmentation(runner.config)
    head = _per_batch((batch for _ in range(20) for batch in kept), learn, watch)
    return {"read": reading, "head": head}


def _augmentation(config: dict[str, Any]) -> Any:
    from s3prl.downstream.specaug import SpecAug

    return SpecAug(**config["specaug"]) if config.get("specaug") else None


def _per_batch(batches: Iterator[Any], work: Any, watch: Watch) -> float:
    """Return the mean seconds from one batch to the next, the first one left out if it can be."""
    times = [watch.now()]
    for batch in islice(batches, MOST_BATCHES):
        work(batch)
        times.append(watch.now())
        if times[-1] - times[0] > PART_SECONDS * max(1, 4 - len(times)):
            break
    if len(times) > 2:
        del times[0]
    return (times[-1] - times[0]) / (len(times) - 1)


def scored(
    task: str,
    ckpt: str,
    root: str,
    out: str,
    overrides: dict[str, Any],
    store: dict[str, Any],
    seeds: int,
    device: str = "cpu",
) -> dict[str, Any]:
    """Train and test heads with several seeds; return the task's first metric of each."""
    from upstream.door import tasks
    from upstream.heads import runner
    from upstream.store import options as store_options

    metric = tasks.header(task)["metrics"][0]["name"]
    options, values = store_options.StoreOptions(**store), []
    for seed in range(1, seeds + 1):
        records = runner.run(
            task,
            "mt4ssl",
            Path(out) / f"seed{seed}",
            ckpt=ckpt,
            root=root,
            overrides=overrides,
            seed=seed,
            device=device,
            store=options,
        )
        values += [r["value"] for r in records if r["metric"] == metric]
    return {"metric": metric, "values": values, "store": records[0]["store"]}


def main() -> None:
    """Do what a JSON file asks for, and write another one."""
    asked, answer = map(Path, sys.argv[1:3])
    given = json.loads(asked.read_text())
    torch.set_num_threads(given.pop("threads"))
    known: dict[str, Callable[..., dict[str, Any]]] = {"timed": timed, "scored": scored}
    write_json(answer, known[given.pop("what")](**given))


if __name__ == "__main__":
    main()
