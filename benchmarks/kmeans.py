#!/usr/bin/env python
"""k-means beside faiss and scikit-learn on the same points, and x real time of MFCC.

    python benchmarks/kmeans.py [--repeats 5] [--threads 2] [--machine NAME] [--tables-only]

takes less than four minutes on two cores, writes benchmarks/results/kmeans_<machine>.json and the
table of docs/results.md. All sides fit in
turn in one process, so the ratios hold even where other programs are running. Ours has its
defaults: it stops by its tolerance. The others make 25 iterations: faiss from random points (it has
no other start) and on all points, scikit-learn from random points (its fastest) and from its
k-means++. faiss is left out where it is not installed (pip install faiss-cpu).
"""

import argparse
import contextlib
import importlib
import importlib.util
import io
import math
import platform
import re
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from sklearn.cluster import KMeans as SklearnKMeans
from threadpoolctl import threadpool_limits

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
from benchmarks import pages  # noqa: E402
from mt4ssl_core.data.mfcc import log_mel, mfcc  # noqa: E402
from mt4ssl_core.files import write_json  # noqa: E402
from mt4ssl_core.labelling import lloyd  # noqa: E402

ITERATIONS, CENTRES = 25, 4000
SIZES = ((100_000, 39), (30_000, 768))
NEAR = 1.001  # times our inertia at the end: starts differ by as much
OURS, FAISS, RANDOM, PLUS = "ours", "faiss", "scikit-learn, random", "scikit-learn, k-means++"
Curve = list[tuple[float, float]]  # (seconds since the call, inertia) of an iteration


def mixture(points: int, dim: int, seed: int = 0) -> torch.Tensor:
    """Return overlapping clusters (N, D), more than are fitted, as speech features have them."""
    random = torch.Generator().manual_seed(seed)
    spread = torch.linspace(1, 0.1, dim)  # a few directions matter, as after a cosine transform
    centres = spread * torch.randn(CENTRES, dim, generator=random)
    which = torch.randint(0, CENTRES, (points,), generator=random)
    return centres[which] + 0.7 * spread * torch.randn(points, dim, generator=random)


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return the wall time of a call and its result."""
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def ours(data: torch.Tensor, k: int, seed: int) -> Curve:
    """Every iteration of ours, with the start before the first, and its end."""
    step, ends = lloyd.lloyd_step, list[float]()

    def timed(*given: Any) -> Any:
        found = step(*given)
        ends.append(time.perf_counter())
        return found

    with patch.object(lloyd, "lloyd_step", timed):
        began = time.perf_counter()
        took, found = seconds(partial(lloyd.fit_kmeans, data, k, ITERATIONS, seed))
    curve = zip(ends, found.inertia, strict=True)
    return [*((end - began, inertia) for end, inertia in curve), (took, found.inertia[-1])]


def faiss(data: torch.Tensor, k: int, seed: int) -> Curve:
    """Every iteration of faiss, with what it does before the first."""
    library: Any = importlib.import_module("faiss")
    library.omp_set_num_threads(torch.get_num_threads())
    model = library.Kmeans(
        data.shape[1], k, niter=ITERATIONS, seed=seed + 1, max_points_per_centroid=len(data)
    )
    took, _ = seconds(lambda: model.train(data.numpy()))
    times = [each["time"] for each in model.iteration_stats]
    return [
        (took - times[-1] + at, float(obj) / len(data))
        for at, obj in zip(times, model.obj, strict=True)
    ]


class Timed(io.StringIO):
    """Notes when scikit-learn says what inertia an iteration began with."""

    def __init__(self) -> None:
        super().__init__()
        self.start = time.perf_counter()
        self.found: Curve = []

    def write(self, text: str) -> int:
        """Take a part of a line."""
        if said := re.search(r"inertia ([0-9.e+]+?)\.?$", text.strip()):
            self.found.append((time.perf_counter() - self.start, float(said[1])))
        return len(text)


def scikit_learn(init: str, data: torch.Tensor, k: int, seed: int) -> Curve:
    """Every iteration of scikit-learn, and its end."""
    model = SklearnKMeans(
        k, init=init, n_init=1, max_iter=ITERATIONS, tol=0, random_state=seed, verbose=1
    )
    with threadpool_limits(torch.get_num_threads()), contextlib.redirect_stdout(Timed()) as said:
        took, fitted = seconds(partial(model.fit, data.numpy()))
    curve = [*said.found, (took, fitted.inertia_)]
    return [(at, inertia / len(data)) for at, inertia in curve]


SIDES: dict[str, Callable[[torch.Tensor, int, int], Curve]] = {
    OURS: ours,
    FAISS: faiss,
    RANDOM: partial(scikit_learn, "random"),
    PLUS: partial(scikit_learn, "k-means++"),
}


def clustering(points: int, dim: int, k: int, repeats: int) -> dict[str, Any]:
    """Fit all sides in turn; of each, seconds and inertia of every fit's iterations."""
    data = mixture(points, dim)
    there = [side for side in SIDES if side != FAISS or importlib.util.find_spec("faiss")]
    curves: dict[str, list[Curve]] = {side: [] for side in there}
    for seed in range(repeats):
        for side in there:
            curves[side].append(SIDES[side](data, k, seed))
            print(points, dim, side, [round(value, 3) for value in curves[side][-1][-1]])
    return {
        "setting": {"points": points, "dim": dim, "k": k, "iterations": ITERATIONS},
        "curves": curves,
    }


def to_equal(fits: list[Curve], ours: list[Curve]) -> float:
    """Seconds until fits are as near to their points as ours from the same start in the end.

    Median over starts; infinity: never.
    """
    goals = [NEAR * goal[-1][1] for goal in ours]
    return statistics.median(
        next((at for at, inertia in fit if inertia <= goal), math.inf)
        for fit, goal in zip(fits, goals, strict=True)
    )


def features(length: float, repeats: int) -> dict:
    """Measure x real time of MFCC (39-dim) and log-mel (80) on one utterance of ``length`` s."""
    wave = 0.1 * torch.randn(int(16000 * length))
    times: dict[str, list[float]] = {"mfcc": [], "log_mel": []}
    for _ in range(repeats):
        times["mfcc"].append(seconds(lambda: mfcc(wave))[0])
        times["log_mel"].append(seconds(lambda: log_mel(wave))[0])
    return {
        "setting": {"seconds": length, "repeats": repeats},
        **{f"{name}_x_real_time": length / statistics.median(t) for name, t in times.items()},
    }


def cpu_name() -> str:
    """Return the processor's name where Linux tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def table_of(record: dict[str, Any]) -> str:
    """A row for each side and size."""
    lines = [
        "| points | side | s | inertia / ours | s to equal | s to equal / ours |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for found in record["kmeans"]:
        about, goals = found["setting"], found["curves"][OURS]
        for side, fits in found["curves"].items():
            pairs = list(zip(fits, goals, strict=True))
            ratio = statistics.median(fit[-1][1] / goal[-1][1] for fit, goal in pairs)
            ended, equal = statistics.median(fit[-1][0] for fit in fits), to_equal(fits, goals)
            mine, never = to_equal(goals, goals), equal == math.inf
            cells = [f"{ended:.2f}", f"{ratio:.4f}", "never" if never else f"{equal:.2f}"]
            cells.append(f"> {ended / mine:.2f}" if never else f"{equal / mine:.2f}")
            lines.append(f"| {about['points']:,} x {about['dim']} | {side} | {' | '.join(cells)} |")
    return "\n".join(lines) + (
        f"\n\nK = 500, {record['threads']} thread(s) of {record['machine']['cpu']}, medians of "
        f"{len(goals)} starts; the others make {ITERATIONS} iterations, ours stops by its "
        "tolerance. `python benchmarks/kmeans.py` repeats it."
    )


def table() -> str:
    """The table of docs/results.md, from the committed JSON."""
    kept = pages.records("kmeans")
    return table_of(kept[0]) if kept else pages.NOT_RUN


def main() -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--machine", default=platform.node(), help="name in the result's file name")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--share", type=float, default=1.0, help="of the points")
    parser.add_argument("--out", type=Path, help="of the JSON")
    parser.add_argument("--tables-only", action="store_true", help="only write the table")
    args = parser.parse_args()
    if not args.tables_only:
        torch.set_num_threads(args.threads)
        names = ["torch", "scikit-learn", "numpy"]
        names += ["faiss-cpu"] if importlib.util.find_spec("faiss") else []
        result = {
            "machine": {"name": args.machine, "cpu": cpu_name()},
            "threads": args.threads,
            "versions": {name: version(name) for name in names},
            "kmeans": [
                clustering(int(args.share * points), dim, 500, args.repeats)
                for points, dim in SIZES
            ],
            "features": [features(length, 50 * args.repeats) for length in (1.0, 4.0, 15.0)],
        }
        write_json(args.out or pages.record_path("kmeans", args.machine), result)
        print(table_of(result))
    if args.out is None:
        pages.show("kmeans", table())


if __name__ == "__main__":
    main()
