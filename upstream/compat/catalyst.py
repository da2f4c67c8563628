"""``catalyst.data.sampler.DistributedSamplerWrapper``.

What: the KS expert imports it from catalyst, which s3prl does not install. It is used in
    distributed training only.
Why: catalyst is no longer maintained, and its dependencies pin old versions.
Since: catalyst's last release, 22.04.
Here: where catalyst is not installed, a module of that name with our own wrapper.
Delete when: s3prl no longer imports catalyst.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import Dataset, DistributedSampler, Sampler

from upstream.compat._modules import is_there, put


def install() -> bool:
    """Put the module on the path, unless catalyst is installed."""
    if is_there("catalyst"):
        return False
    put("catalyst.data.sampler", DistributedSamplerWrapper=DistributedSamplerWrapper)
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
