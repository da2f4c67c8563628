"""How long an update takes at best, from its own operations: no GPU is needed.

``python benchmarks/roofline.py`` runs one update of BASE and of LARGE on tensors without values
(device meta), counts FLOPs and bytes of every operation, and predicts for each GPU the time, the
share of its peak and the memory. An operation takes the longer of its arithmetic and its traffic.
Two bounds: ``eager``, where every operation reads and writes memory, and ``fused``, where only
matrix products, attention and convolutions do. ``--check`` compares the method with this CPU.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
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
class Count(TorchDispatchMode):
    """FLOPs and bytes of the operations inside; one that only views others is free."""

    operations: list[tuple[str, float, float]] = field(default_factory=list)  # name, FLOPs, bytes

    def __post_init__(self) -> None:
        super().__init__()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        out = function(*args, **(kwargs or {}))
        flops = flop_registry.get(function.overloadpacket)
        work = flops(*args, **(kwargs or {}), out_val=out) if flops else 0
        if not function.is_view:
            moved = [x for x in tree_leaves((args, kwargs, out)) if isinstance(x, Tensor)]
            size = sum(x.numel() * x.element_size() for x in moved)
            self.operations.append((str(function.overloadpacket), float(work), float(size)))
        return out

    def seconds(self, peak: float, bandwidth: float, fused: bool) -> float:
        """Sum over the operations of the longer of arithmetic and traffic."""
        return sum(
            max(flops / peak, size / bandwidth)
            for _, flops, size in self.operations
            if flops or not fused
        )

    @property
    def flops(self) -> float:
        """Of all operations."""
        return sum(flops for _, flops, _ in self.operations)


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


def counted(size: str, count: int, seconds: float) -> tuple[Count, float, float]:
    """The operations of an update, its parameters, and the bytes that backward waits for."""
    model = build(size, "meta", torch.bfloat16)
    update = update_of(model, count, int(seconds * 16_000), "meta", torch.bfloat16)
    kept: dict[int, Tensor] = {}

    def keep(x: Tensor) -> Tensor:
        kept[id(x.untyped_storage()._cdata)] = x
        return x

    operations = Count()
    with operations, torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        update()
    parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)
    saved = sum(x.numel() * x.element_size() for x in kept.values())
    return operations, parameters, saved


def rows(count: int, seconds: float) -> list[str]:
    """The lines of a table in Markdown."""
    lines = ["| model | GPU | ms, eager to fused | share of peak | memory (GB) | GPU-hours |"]
    lines.append("| --- | --- | ---: | ---: | ---: | ---: |")
    for size in SIZES:
        found, parameters, saved = counted(size, count, seconds)
        memory = (parameters * 22 + saved) / 1e9
        for name, (peak, bandwidth) in GPUS.items():
            rates = peak * REACHED[0], bandwidth * REACHED[1]
            rest = parameters * OPTIMISER_BYTES / rates[1]
            times = [found.seconds(*rates, fused) + rest for fused in (False, True)]
            shares = [found.flops / took / peak for took in times]
            hours = [took * UPDATES * PROCESSES / 3600 for took in times]
            lines.append(
                f"| {size} | {name} | {times[0] * 1e3:.0f} to {times[1] * 1e3:.0f} | "
                f"{shares[0]:.0%} to {shares[1]:.0%} | {memory:.0f} | "
                f"{hours[0]:.0f} to {hours[1]:.0f} |"
            )
    return lines


def best(work: Callable[[], Any], repeats: int = 5) -> float:
    """The shortest of some times."""
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return min(times)


def check(seconds: float) -> str:
    """Predicted and measured time of one utterance on this CPU, in float32."""
    a, x = torch.randn(2048, 2048), torch.randn(1 << 26)
    peak = 2 * 2048**3 / best(lambda: a @ a)
    y = torch.empty_like(x)
    bandwidth = 2 * 4 * x.numel() / best(lambda: y.copy_(x))
    samples, kind = int(seconds * 16_000), torch.float32
    operations, model = Count(), build("BASE", "cpu", kind)
    update = update_of(model, 1, samples, "cpu", kind)
    with operations:
        update()
    measured = statistics.median(best(update, 1) for _ in range(3))
    predicted = operations.seconds(peak, bandwidth, fused=False)
    return (
        f"{peak / 1e9:.0f} GFLOP/s, {bandwidth / 1e9:.1f} GB/s: predicted {predicted:.2f} s, "
        f"measured {measured:.2f} s, {measured / predicted:.2f} times"
    )


def main() -> None:
    """Print the predictions, or the check."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=12, help="utterances of a batch")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each")
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    if args.check:
        print(check(min(args.seconds, 5.0)))
        return
    with patch.object(torch, "autocast", lambda *_, **__: nullcontext()):  # meta knows of none
        print("\n".join(rows(args.count, args.seconds)))


if __name__ == "__main__":
    main()
