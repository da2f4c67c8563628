"""How long an update takes at best, from its own operations: no GPU is needed.

``python benchmarks/roofline.py`` runs one update of BASE and of LARGE on tensors without values
(device meta), counts FLOPs and bytes of every operation, and predicts for each GPU the time, the
share of its peak and the memory. An operation takes the longer of its arithmetic and its traffic.
Two bounds: ``eager``, where every operation reads and writes memory, and ``fused``, where all
between two matrix products (attention, convolutions) is one kernel. ceiling.py beside this file
compares the method with a CPU.
"""

import argparse
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
from mt4ssl_core import config  # noqa: E402
from mt4ssl_core.data.masking import Places  # noqa: E402
from mt4ssl_core.model.mt4ssl import MT4SSL  # noqa: E402

SIZES = {
    "BASE": [],
    "LARGE": ["encoder.dim=1024", "encoder.layers=24", "encoder.heads=16", "encoder.ffn_dim=4096",
              "encoder.pre_norm=true"],
}  # fmt: skip
GPUS = {"A100": (312e12, 2.04e12), "H100": (989e12, 3.35e12), "H200": (989e12, 4.8e12)}
REACHED = (0.7, 0.8)  # of peak (bf16, dense) and of bandwidth, by good kernels
OPTIMISER_BYTES = 28 + 6 + 12  # a parameter: AdamW in fp32, its bf16 copy, the teacher's average
UPDATES, PROCESSES = 400_000, 16  # of the paper


@dataclass
class Operation:
    """What an operation computes, and the memory that it touches: {storage: bytes}."""

    flops: float
    read: dict[int, int]
    written: dict[int, int]

    @property
    def size(self) -> float:
        """Bytes of all its tensors."""
        return sum(self.read.values()) + sum(self.written.values())


class Count(TorchDispatchMode):
    """The operations inside; one that only views others is free.

    ``keep``: hold every storage, so that its number names it for good (on device meta that costs
    nothing); only then is there a `fused`.
    """

    def __init__(self, keep: bool = False) -> None:
        super().__init__()
        self.operations: list[Operation] = []
        self.kept: list[Any] | None = [] if keep else None

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        out = function(*args, **(kwargs or {}))
        flops = flop_registry.get(function.overloadpacket)
        work = flops(*args, **(kwargs or {}), out_val=out) if flops else 0
        if not function.is_view:
            read, written = self._memory((args, kwargs)), self._memory(out)
            self.operations.append(Operation(float(work), read, written))
        return out

    def _memory(self, values: Any) -> dict[int, int]:
        found = {}
        for x in tree_leaves(values):
            if isinstance(x, Tensor):
                storage = x.untyped_storage()
                if self.kept is not None:
                    self.kept.append(storage)
                found[storage._cdata] = x.numel() * x.element_size()
        return found

    def fused(self) -> list[Operation]:
        """The same work where all operations between two of matrices are one kernel.

        Such a kernel reads what others wrote, and writes what others read, or nobody (gradients).
        """
        kernels: list[list[Operation]] = []
        for item in self.operations:
            if item.flops or not kernels or kernels[-1][0].flops:
                kernels.append([])
            kernels[-1].append(item)
        readers: dict[int, set[int]] = defaultdict(set)
        for number, kernel in enumerate(kernels):
            for item in kernel:
                for storage in item.read:
                    readers[storage].add(number)
        return [_joined(kernel, number, readers) for number, kernel in enumerate(kernels)]

    @property
    def flops(self) -> float:
        """Of all operations."""
        return sum(item.flops for item in self.operations)


def _joined(kernel: list[Operation], number: int, readers: dict[int, set[int]]) -> Operation:
    """One operation for those of kernel ``number``, whose inner results stay out of memory."""
    read: dict[int, int] = {}
    written: dict[int, int] = {}
    for item in kernel:
        read |= {key: size for key, size in item.read.items() if key not in written}
        written |= item.written
    seen = {k: size for k, size in written.items() if readers[k] != {number}}
    return Operation(sum(item.flops for item in kernel), read, seen)


def seconds(operations: Iterable[Operation], peak: float, bandwidth: float) -> float:
    """Sum over the operations of the longer of arithmetic and traffic."""
    return sum(max(item.flops / peak, item.size / bandwidth) for item in operations)


class Kept:
    """The memory that backward waits for; what several tensors share counts once."""

    def __init__(self) -> None:
        self.storages: dict[int, torch.UntypedStorage] = {}

    def keep(self, x: Tensor) -> Tensor:
        """Take a tensor down that is saved for backward; returns it."""
        storage = x.untyped_storage()
        self.storages[storage._cdata] = storage  # held, so that its number stays its own
        return x

    @property
    def bytes(self) -> int:
        """Of all of it."""
        return sum(storage.nbytes() for storage in self.storages.values())


def update_of(model: MT4SSL, count: int, samples: int, device: str, kind: torch.dtype) -> Callable:
    """Forward and backward of a batch of ``count`` utterances; everything made beforehand."""
    lengths = torch.full((count,), samples)
    frames = int(model.encoder.frame_lengths(samples))
    mask = (torch.arange(frames) % 20 < 10).expand(count, -1)
    labels = torch.zeros(count, frames, dtype=torch.int64)
    places = Places.of(mask, labels).map(lambda x: x.to(device))
    waves = torch.zeros(count, samples, dtype=kind, device=device)
    there = mask.to(device), labels.to(device)

    def update() -> None:
        losses = model(waves, lengths, *there, 1, places)
        torch.stack([loss.total for loss in losses]).sum().backward()

    return update


def build(size: str, device: str, kind: torch.dtype) -> MT4SSL:
    """The model of a size, without LayerDrop, which would leave layers out at random."""
    given = ["data.train=x", "data.labels=x", "encoder.layerdrop=0", *SIZES[size]]
    with torch.device(device):
        return MT4SSL(config.load("base", given)).train().to(kind)


def counted(size: str, count: int, length: float) -> tuple[Count, float, float]:
    """The operations of an update, its parameters, and the bytes that backward waits for."""
    model = build(size, "meta", torch.bfloat16)
    update = update_of(model, count, int(length * 16_000), "meta", torch.bfloat16)
    operations, kept = Count(keep=True), Kept()
    with operations, torch.autograd.graph.saved_tensors_hooks(kept.keep, lambda x: x):
        update()
    parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return operations, parameters, kept.bytes


def rows(count: int, length: float) -> list[str]:
    """The lines of a table in Markdown."""
    lines = ["| model | GPU | ms, eager to fused | share of peak | memory (GB) | GPU-hours |"]
    lines.append("| --- | --- | ---: | ---: | ---: | ---: |")
    for size in SIZES:
        found, parameters, saved = counted(size, count, length)
        fused = found.fused()
        memory = (parameters * 22 + saved) / 1e9
        for name, (peak, bandwidth) in GPUS.items():
            rates = peak * REACHED[0], bandwidth * REACHED[1]
            rest = parameters * OPTIMISER_BYTES / rates[1]
            times = [seconds(made, *rates) + rest for made in (found.operations, fused)]
            shares = [found.flops / took / peak for took in times]
            hours = [took * UPDATES * PROCESSES / 3600 for took in times]
            lines.append(
                f"| {size} | {name} | {times[0] * 1e3:.0f} to {times[1] * 1e3:.0f} | "
                f"{shares[0]:.0%} to {shares[1]:.0%} | {memory:.0f} | "
                f"{hours[0]:.0f} to {hours[1]:.0f} |"
            )
    return lines


def main() -> None:
    """Print the predictions."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=12, help="utterances of a batch")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each")
    args = parser.parse_args()
    with patch.object(torch, "autocast", lambda *_, **__: nullcontext()):  # meta knows of none
        print("\n".join(rows(args.count, args.seconds)))


if __name__ == "__main__":
    main()
