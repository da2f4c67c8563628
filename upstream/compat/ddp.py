"""s3prl's models in several processes.

What: training in several processes fails. On a CPU, DistributedDataParallel refuses s3prl's
    ``device_ids``; on GPUs, ``TypeError: first argument must be callable`` while it copies the
    records, a defaultdict, that an expert fills.
Why: with ``device_ids`` everything handed to a model is copied to its device. s3prl got around that
    by replacing Python's ``isinstance`` (see isinstance_hack).
Since: always on a CPU; on GPUs, since ``isinstance`` is left alone.
Here: models are made without ``device_ids``: they and what they are given stay where they are,
    which is the process's device.
Delete when: s3prl does so itself.
"""

from typing import Any

from torch.nn.parallel import DistributedDataParallel


def install() -> bool:
    """Give s3prl's runner our way of sharing a model."""
    from s3prl.downstream import runner

    if runner.DDP is share:
        return False
    runner.DDP = share
    return True


def share(model: Any, device_ids: Any = None, **settings: Any) -> DistributedDataParallel:
    """Return ``model`` with its gradients averaged over the processes."""
    return DistributedDataParallel(model, **settings)
