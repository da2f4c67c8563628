"""k-means and MFCC speed: ours against scikit-learn on the same points, and x real time per core.

``python benchmarks/kmeans.py`` writes benchmarks/results/kmeans_<machine>.json. Both sides run in
turn in one process with one thread, so the ratio holds even where other programs are running.
"""

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
import torch
from sklearn.cluster import KMeans as SklearnKMeans
from threadpoolctl import threadpool_limits

from mt4ssl_core.data.mfcc import log_mel, mfcc
from mt4ssl_core.files import write_json
from mt4ssl_core.labelling.lloyd import fit_kmeans


def mixture(points: int, dim: int, seed: int = 0) -> torch.Tensor:
    """Return overlapping clusters of different width, (N, D), as speech features have them."""
    random = torch.Generator().manual_seed(seed)
    spread = torch.linspace(3, 0.3, dim)  # a few directions matter, as after a cosine transform
    centres = spread * torch.randn(200, dim, generator=random)
    width = 0.5 + torch.rand(200, 1, generator=random)
    which = torch.randint(0, 200, (points,), generator=random)
    return centres[which] + spread * width[which] * torch.randn(points, dim, generator=random)


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return the wall time of a call and its result."""
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def clustering(points: int, dim: int, k: int, repeats: int) -> dict:
    """Fit both sides in turn; 25 iterations, scikit-learn from random points (its fastest)."""
    data = mixture(points, dim)
    ours, theirs = [], []
    ours_inertia, theirs_inertia = [], []
    for seed in range(repeats):
        took, found = seconds(partial(fit_kmeans, data, k, 25, seed))
        ours.append(took)
        ours_inertia.append(found.inertia[-1])
        model = SklearnKMeans(k, init="random", n_init=1, max_iter=25, tol=0, random_state=seed)
        took, fitted = seconds(partial(model.fit, data.numpy()))
        theirs.append(took)
        theirs_inertia.append(fitted.inertia_ / points)
    return {
        "setting": {"points": points, "dim": dim, "k": k, "iterations": 25, "repeats": repeats},
        "ours_seconds": statistics.median(ours),
        "sklearn_seconds": statistics.median(theirs),
        "sklearn_over_ours": statistics.median(np.array(theirs) / np.array(ours)),
        "ours_inertia": statistics.mean(ours_inertia),
        "sklearn_inertia": statistics.mean(theirs_inertia),
    }


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


def main() -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--machine", default=platform.node(), help="name in the result's file name")
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    with threadpool_limits(1):
        result = {
            "machine": {"name": args.machine, "cpu": cpu_name()},
            "threads": 1,
            "versions": {
                "python": platform.python_version(),
                "torch": str(torch.__version__),
                "sklearn": sklearn.__version__,
                "numpy": np.__version__,
            },
            "kmeans": [
                clustering(200_000, 39, 500, args.repeats),
                clustering(50_000, 768, 500, args.repeats),
            ],
            "features": [features(length, 50 * args.repeats) for length in (1.0, 4.0, 15.0)],
        }
    out = Path(__file__).parent / "results" / f"kmeans_{args.machine}.json"
    write_json(out, result)
    print(out.read_text())


if __name__ == "__main__":
    main()
