"""s3prl's training in several processes, as torchrun starts them.

s3prl knows the launcher of old, which hands over ``--local_rank``, and GPUs only. Here the
processes meet as for pre-training (nccl on GPUs, gloo on a CPU); they train together, then the
first one alone tests and writes results.
"""

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from typing import Any, TypeVar, cast

import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from mt4ssl_core import distributed

Made = TypeVar("Made")
PATIENCE = timedelta(days=1)  # the others wait while the first process evaluates


def rank() -> int:
    """Return this process's number among those that train together, 0 when alone."""
    return dist.get_rank() if distributed.together() else 0


def size() -> int:
    """Return how many processes train together."""
    return dist.get_world_size() if distributed.together() else 1


def is_first() -> bool:
    """Whether this process is the one that tests: alone, or torchrun's first."""
    return os.environ.get("WORLD_SIZE", "1") == "1" or os.environ.get("RANK", "0") == "0"


def join(device: str) -> int | None:
    """Meet the other processes that torchrun started; return the number on this machine, if any.

    Raises:
        ValueError: ``device`` names one GPU, while each process takes its own.
    """
    if distributed.start(device, PATIENCE).size == 1:
        return None
    return int(os.environ.get("LOCAL_RANK", "0"))


def part(entries: Iterable[Any]) -> None:
    """Leave the other processes once all are here; models are no longer shared, which would need
    them.
    """
    if distributed.together():
        dist.barrier()
        for entry in entries:
            entry.model = bare(entry)
        distributed.stop()


def from_first(make: Callable[[], Made]) -> Made:
    """Return what the first process makes; the others wait for it."""
    made = [make() if rank() == 0 else None]
    if distributed.together():
        dist.broadcast_object_list(made)
    return cast(Made, made[0])


class Ended(Exception):
    """A process other than the first has trained as long as the first."""


def end_after(optimizer: Any, steps: int) -> None:
    """Raise `Ended` after so many updates, on all processes but the first.

    s3prl counts updates on the first process only; the others would wait for a next one for ever.
    """
    clear, done = optimizer.zero_grad, 0

    def zero_grad(*args: Any, **kwargs: Any) -> None:  # s3prl's last call of an update
        nonlocal done
        clear(*args, **kwargs)
        done += 1
        if done == steps:
            raise Ended

    if rank() > 0:
        optimizer.zero_grad = zero_grad


def bare(entry: Any) -> Any:
    """Return the model of one of s3prl's entries without what shares its gradients out."""
    shared = isinstance(entry.model, DistributedDataParallel)
    return entry.model.module if shared else entry.model


@contextlib.contextmanager
def alone(entries: list[Any]) -> Iterator[None]:
    """Let the first process use the models without the others, which would have to take part."""
    shared = [entry.model for entry in entries]
    for entry in entries:
        entry.model = bare(entry)
    try:
        yield
    finally:
        for entry, model in zip(entries, shared, strict=True):
            entry.model = model
