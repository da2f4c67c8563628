"""Where the time of an update goes on this CPU, beside what the machine reaches at best.

``python benchmarks/ceiling.py`` takes a minute, writes benchmarks/results/ceiling_<machine>.json
and the table in docs/results.md. It is also the check of roofline.py beside this file, whose method
predicts the update from the ceilings. One thread in processor time, which does not count what other
programs take; ceilings (a product of the feed-forward blocks' size, a copy) and updates take turns.
"""

import argparse
import os
import platform
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
from benchmarks import pages  # noqa: E402
from benchmarks.roofline import Count, build, seconds, update_of  # noqa: E402
from mt4ssl_core.files import write_json  # noqa: E402
from mt4ssl_core.memory import keep_memory  # noqa: E402

PRODUCTS = 16  # matrix products of one measurement
KINDS = {
    "aten::mm": "matrix products: extractor and linear layers",
    "aten::addmm": "matrix products: extractor and linear layers",
    "aten::bmm": "matrix products: attention",
    "aten::convolution": "positional convolution",
    "aten::convolution_backward": "positional convolution",
}
OTHERS, BESIDE = "other operators", "beside operators: random words of dropout, Python"


class Timed(TorchDispatchMode):
    """Processor time and FLOPs of the operators inside, by their kind: ``{kind: [s, FLOPs]}``."""

    def __init__(self) -> None:
        super().__init__()
        self.kinds: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        started = time.process_time()
        out = function(*args, **(kwargs or {}))
        found = self.kinds[KINDS.get(function.name().split(".")[0], OTHERS)]
        found[0] += time.process_time() - started
        if flops := flop_registry.get(function.overloadpacket):
            found[1] += float(flops(*args, **(kwargs or {}), out_val=out))
        return out


def spent(work: Callable[[], Any]) -> float:
    """Processor time of this process for it."""
    started = time.process_time()
    work()
    return time.process_time() - started


def shares(update: Callable[[], None]) -> dict[str, list[float]]:
    """Seconds and FLOPs of an update by kind; their times add up to the update's."""
    with Timed() as timed:
        took = spent(update)
    inside = sum(time for time, _ in timed.kinds.values())
    return dict(timed.kinds) | {BESIDE: [took - inside, 0.0]}


def check(length: float, rounds: int) -> dict[str, Any]:
    """Ceilings, time and shares of an update of one utterance, in float32: medians of rounds."""
    torch.set_num_threads(1)
    keep_memory()
    kind = torch.float32
    a, b, x = torch.randn(int(length * 50), 768), torch.randn(768, 3072), torch.randn(1 << 25)
    y, flops = torch.empty_like(x), PRODUCTS * 2 * a.numel() * b.shape[1]
    update = update_of(build("BASE", "cpu", kind), 1, int(length * 16_000), "cpu", kind)
    with Count() as operations:
        update()
    peaks, bandwidths, times, ratios, kinds = [], [], [], [], []
    for _ in range(rounds):
        peaks.append(flops / spent(lambda: [a @ b for _ in range(PRODUCTS)]))
        bandwidths.append(2 * 4 * x.numel() / spent(lambda: y.copy_(x)))
        times.append(spent(update))
        kinds.append(shares(update))
        ratios.append(times[-1] / seconds(operations.operations, peaks[-1], bandwidths[-1]))
    middle = {
        name: [statistics.median(each[name][part] for each in kinds) for part in (0, 1)]
        for name in kinds[0]
    }
    names = ("peak", "bandwidth", "took")
    found = zip(names, map(statistics.median, (peaks, bandwidths, times)), strict=True)
    return {**dict(found), "flops": operations.flops, "ratios": ratios, "kinds": middle}


def table() -> str:
    """The table of docs/results.md, from the committed JSON."""
    kept = pages.records("ceiling")
    if not kept:
        return pages.NOT_RUN
    record = kept[0]
    whole = sum(took for took, _ in record["kinds"].values())
    lines = ["| part of an update | share of its time | GFLOP | of the ceiling |"]
    lines.append("| --- | ---: | ---: | ---: |")
    for name, (took, flops) in sorted(record["kinds"].items(), key=lambda each: -each[1][0]):
        work = [f"{flops / 1e9:.0f}", f"{flops / took / record['peak']:.0%}"] if flops else ["", ""]
        lines.append(f"| {name} | {took / whole:.0%} | {' | '.join(work)} |")
    ratios, flops = record["ratios"], record["flops"]
    return "\n".join(lines) + (
        f"\n\nBASE, 1 x {record['seconds']:g} s, forward and backward, one thread of "
        f"{record['machine']}, load {record['load']:.1f}; processor time, medians of "
        f"{record['rounds']} rounds. Matrix products reach {record['peak'] / 1e9:.0f} GFLOP/s, a "
        f"copy {record['bandwidth'] / 1e9:.1f} GB/s. {flops / 1e9:.0f} GFLOP took "
        f"{record['took']:.2f} s: {flops / record['took'] / record['peak']:.0%} of that ceiling, "
        f"{statistics.median(ratios):.2f} times what `benchmarks/roofline.py` predicts "
        f"({min(ratios):.2f} to {max(ratios):.2f}). `python benchmarks/ceiling.py` repeats it."
    )


def main() -> None:
    """Measure and write, or only the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=5.0, help="of the utterance")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--machine", default=platform.machine())
    parser.add_argument("--tables-only", action="store_true")
    args = parser.parse_args()
    if not args.tables_only:
        about = {"machine": args.machine, "torch": torch.__version__, "load": os.getloadavg()[0]}
        setting = {"seconds": args.seconds, "rounds": args.rounds}
        found = check(args.seconds, args.rounds)
        write_json(pages.record_path("ceiling", args.machine), about | setting | found)
    pages.show("ceiling", table())


if __name__ == "__main__":
    main()
