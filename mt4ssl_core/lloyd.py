"""Lloyd's k-means in plain torch, on any device, and the reservoir that bounds its sample."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from mt4ssl_core.threads import thread_pool

_CHUNK, _CHUNK_GPU = 512, 1 << 16  # points at once; 512 rows of distances stay in a CPU's cache
_PARTS = 32  # that the cores take in turn; as many on every machine, so that sums are the same


@dataclass
class Fit:
    """What :func:`fit` found."""

    centroids: Tensor  # (K, D)
    inertia: list[float]  # mean squared distance before each update and, last, after all
    reseeded: int  # centroids that had lost all their points and were placed anew


def fit(
    points: Tensor,
    k: int,
    iterations: int = 25,
    seed: int = 0,
    device: str | torch.device = "cpu",
    progress: bool = False,
) -> Fit:
    """Cluster points (N, D) by Lloyd's algorithm from k random ones; stops early when converged.

    A centroid without points moves to a random point, drawn in proportion to its squared distance,
    so the inertia never rises. Repeats exactly on a CPU; on a GPU up to the order of its sums.
    ValueError: fewer points than k, or NaN/infinity among them.
    """
    if not 1 <= k <= len(points):
        raise ValueError(
            f"{len(points)} frames cannot make {k} clusters; give more audio or a k from 1 to "
            f"{len(points)}"
        )
    if not bool(points.isfinite().all()):
        raise ValueError("the features contain NaN or infinity; use another checkpoint or layer")
    points = points.float().to(device)
    random = torch.Generator().manual_seed(seed)  # of the CPU: the same draws on every device
    centroids = points[torch.randperm(len(points), generator=random)[:k].to(device)].clone()
    inertia: list[float] = []
    reseeded = 0
    parts = points.split(max(1024, -(-len(points) // _PARTS)))
    bar = tqdm(range(iterations), desc="k-means", unit="iteration", disable=not progress)
    for _ in bar:
        updated, distance, empty = _lloyd_step(parts, centroids)
        inertia.append(float(distance.double().mean()))
        bar.set_postfix(inertia=f"{inertia[-1]:.4g}")
        if number := int(empty.sum()):
            noise = torch.empty(len(points)).exponential_(generator=random).to(device)
            updated[empty] = points[(distance / noise).topk(number).indices]
            reseeded += number
        if torch.equal(updated, centroids):
            break
        centroids = updated
    inertia.append(float(_lloyd_step(parts, centroids)[1].double().mean()))
    return Fit(centroids.cpu(), inertia, reseeded)


def nearest(points: Tensor, centroids: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield, chunk by chunk: points (C, D), squared distances (C,) and ids (C,) of the nearest."""
    points, centroids = points.detach(), centroids.detach()
    norms = centroids.square().sum(1)  # (K,)
    for chunk in points.float().split(_CHUNK if points.device.type == "cpu" else _CHUNK_GPU):
        scores = torch.addmm(norms[None], chunk, centroids.T, alpha=-2)  # (C, K), less |x|^2
        if scores.is_cpu:  # NumPy's argmin takes a fifth of the time of torch's
            ids = torch.from_numpy(scores.numpy().argmin(1))
            best = scores.gather(1, ids[:, None])[:, 0]
        else:
            best, ids = scores.min(1)
        yield chunk, (best + chunk.square().sum(1)).clamp_min(0), ids


def _lloyd_step(parts: Sequence[Tensor], centroids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return new centroids (K, D), squared distances to the old (N,), and which are empty (K,)."""
    workers = torch.get_num_threads() if centroids.device.type == "cpu" else 1
    with thread_pool(workers) as pool:
        sums, counts, distances = zip(*pool.map(partial(_sum_up, centroids), parts), strict=True)
    count = torch.stack(counts).sum(0)
    means = torch.stack(sums).sum(0) / count.clamp_min(1)[:, None]
    return means.to(centroids.dtype), torch.cat(distances), count == 0


def _sum_up(centroids: Tensor, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return per centroid the sum (K, D) and number (K,) of its points, and distances (N,)."""
    k = len(centroids)
    sums = torch.zeros_like(centroids)
    counts = torch.zeros(k, dtype=torch.int64, device=points.device)
    distances = []
    for chunk, best, ids in nearest(points, centroids):
        sums.index_add_(0, ids, chunk)
        counts += torch.bincount(ids, minlength=k)
        distances.append(best)
    return sums.double(), counts, torch.cat(distances)


class Reservoir:
    """A uniform random sample of at most ``size`` frames of a stream of unknown length."""

    def __init__(self, size: int, seed: int = 0) -> None:
        """Prepare for ``size`` frames; nothing is allocated before the first arrives."""
        self.size, self.seen = size, 0
        self._random = np.random.default_rng(seed)
        self._kept: np.ndarray | None = None

    def add(self, frames: np.ndarray) -> None:
        """Offer frames (T, D): frame number n takes a random place with probability size / n."""
        if self._kept is None:
            self._kept = np.empty((self.size, frames.shape[1]), dtype=np.float32)
        first = min(self.size - min(self.seen, self.size), len(frames))
        self._kept[self.seen : self.seen + first] = frames[:first]
        numbers = np.arange(self.seen + first, self.seen + len(frames))
        places = self._random.integers(0, numbers + 1)
        taken = places < self.size
        self._kept[places[taken]] = frames[first:][taken]  # a place drawn twice keeps the later
        self.seen += len(frames)

    @property
    def points(self) -> Tensor:
        """The sample, (min(size, seen), D)."""
        kept = np.zeros((0, 1), np.float32) if self._kept is None else self._kept
        return torch.from_numpy(kept[: self.seen])
