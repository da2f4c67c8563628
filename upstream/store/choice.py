"""Whether a store pays for a training, found out by timing both ways on its first batches.

A task whose audio is mostly cropped at random, or an encoder that takes no longer than reading, can
be faster without. What was found is kept beside the training's checkpoints, so that going on and
testing measure nothing again.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from mt4ssl_core.files import read_json, write_json
from upstream.store.lazy_audio import Utterance
from upstream.store.stored_features import StoredFeatures

FILE = "store_choice.json"  # in the folder of a training
LEAST = 200  # batches of a training that is worth measuring
TIMED = 2  # batches that are measured


@dataclass(frozen=True)
class Choice:
    """Seconds per batch of both ways, and batches of the whole training and of an epoch."""

    computed: float
    first: float  # in the first epoch with a store: each utterance is encoded alone, and written
    stored: float  # from then on: random crops are still encoded
    batches: int
    epoch: int

    @property
    def used(self) -> bool:
        """Whether the training is over sooner with a store."""
        filled = min(self.epoch, self.batches)
        with_store = filled * self.first + (self.batches - filled) * self.stored
        return with_store <= self.batches * self.computed

    def __str__(self) -> str:
        seconds = (
            f"a batch takes {self.stored:.2g} s with it ({self.first:.2g} s in the first epoch) "
            f"and {self.computed:.2g} s computed, over {self.batches:,} batches"
        )
        if self.used:
            return f"store: used, since {seconds}"
        return f"store: not used, since {seconds}; --store frames uses it all the same"


def kept(folders: Iterable[Path]) -> Choice | None:
    """Return what was found for a training before, in the first folder that has it.

    Raises:
        ValueError: the file holds something else.
    """
    for folder in folders:
        path = folder / FILE
        if path.is_file():
            found = read_json(path)
            values = found if isinstance(found, dict) else {}
            whole = all(type(values.get(key)) is int for key in ("batches", "epoch"))
            times = [values.get(key, -1) for key in ("computed", "first", "stored")]
            if not whole or not all(type(t) in (int, float) and 0 <= t < 1e9 for t in times):
                raise ValueError(f"{path}: not what was measured of a store; remove it")
            computed, first, stored = times
            return Choice(computed, first, stored, values["batches"], values["epoch"])
    return None


def keep(choice: Choice, folder: Path) -> None:
    """Write a choice into the folder of a training."""
    write_json(folder / FILE, {**asdict(choice), "used": choice.used})


def measured(
    features: StoredFeatures, batches: Iterable[Any], total: int, epoch: int, workers: int
) -> Choice | None:
    """Time the first of some batches, as a `Reading` gives them, both ways.

    Args:
        features: the store; it keeps what is encoded here.
        batches: of one epoch.
        total: how many there are in the whole training.
        epoch: how many there are in one epoch.
        workers: processes that decode audio for what is computed.

    Returns:
        None where the batches hold no utterances of files.
    """
    times: list[tuple[float, float, float]] = []
    for batch in batches:
        found = batch[0] if isinstance(batch, tuple) and isinstance(batch[0], list) else []
        given = [wave for wave in found if isinstance(wave, Utterance)]
        if not given or any(utterance.source is None for utterance in given):
            return None
        times.append(_both(features, given, max(1, workers), warm=bool(times)))
        if len(times) == TIMED:
            break
    if not times:
        return None
    computed, first, stored = (sum(column) / len(times) for column in zip(*times, strict=True))
    return Choice(computed, first, stored, total, epoch)


def _both(
    features: StoredFeatures, given: Sequence[Utterance], workers: int, warm: bool
) -> tuple[float, float, float]:
    """Return the seconds of one batch: computed, stored when it is new, stored."""
    device = features.device
    decoding, waves = _timed(lambda: [_samples(utterance) for utterance in given], device)
    waves = [wave.to(device) for wave in waves]
    if not warm:
        _timed(lambda: features.computed(waves[:1]), device)
    computing, _ = _timed(lambda: features.computed(waves), device)
    filling, _ = _timed(lambda: features.features(given), device)
    reading, _ = _timed(lambda: features.features(given), device)
    decoding /= workers
    crops = sum(utterance.key is None for utterance in given) / len(given)
    return decoding + computing, decoding + filling, crops * decoding + reading


def _samples(utterance: Utterance) -> torch.Tensor:
    assert utterance.source is not None
    return torch.from_numpy(utterance.source.read())


def _timed(work: Callable[[], Any], device: torch.device) -> tuple[float, Any]:
    with torch.no_grad():
        start = time.perf_counter()
        found = work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - start, found
