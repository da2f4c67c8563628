"""``catalyst.data.sampler.DistributedSamplerWrapper``.

What: the KS expert imports it from catalyst, which s3prl does not install. It is used in
    distributed training only.
Why: catalyst is no longer maintained, and its dependencies pin old versions.
Since: catalyst's last release, 22.04.
Here: where catalyst is not installed, a module of that name with our own wrapper.
Delete when: s3prl no longer imports catalyst.
"""

import importlib.util
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import torch
from torch.utils.data import Dataset, DistributedSampler, Sampler


def install() -> bool:
    """Put the three modules on the path, unless catalyst is installed."""
    if "catalyst" in sys.modules or importlib.util.find_spec("catalyst") is not None:
        return False
    for name in ("catalyst", "catalyst.data", "catalyst.data.sampler"):
        module: Any = ModuleType(name, __doc__)
        module.__path__ = []
        sys.modules[name] = module
    module.DistributedSamplerWrapper = DistributedSamplerWrapper
    return True


class _Drawn(Dataset[int]):
    def __init__(self, size: int) -> None:
        self.size = size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> int:
        return index


class DistributedSamplerWrapper(DistributedSampler[int]):
    """Each rank takes its share of what ``sampler`` draws, the same on all ranks."""

    def __init__(self, sampler: Sampler[int], **kwargs: Any) -> None:
        super().__init__(_Drawn(len(sampler)), **kwargs)  # type: ignore[arg-type]
        self.sampler = sampler

    def __iter__(self) -> Iterator[int]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed + self.epoch)
            drawn = list(self.sampler)
        return (drawn[index] for index in super().__iter__())
