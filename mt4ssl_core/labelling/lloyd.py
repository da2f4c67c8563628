"""Lloyd's k-means in plain torch, on any device."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from mt4ssl_core.bars import Bar
from mt4ssl_core.threads import thread_pool

_CHUNK, _CHUNK_GPU = 512, 1 << 16  # points at once; 512 rows of distances stay in a CPU's cache
_PARTS = 32  # that the cores take in turn; as many on every machine, so that sums are the same
_START_POINTS, _START_VALUES = 1 << 14, 1 << 21  # of the sample that centroids start from
_GRAM_VALUES = 1 << 25  # of the products of that sample's points that are kept (256 MB)
_TRIALS = 8  # points drawn for every centroid, of which the best is taken
_SAME = 1e-8  # squared distance, over the points' variance, that rounding can leave
_NEAR = 1 / 16  # squared distance, over the point's norm, below which products lose digits
TOLERANCE = 1e-4  # share of the inertia that an iteration has to take away


@dataclass
class Fit:
    """What `fit_kmeans` found."""

    centroids: Tensor  # (K, D)
    inertia: list[float]  # mean squared distance before each update and, last, after all
    reseeded: int  # centroids that had lost all their points and were placed anew
    used: int  # centroids that have points: k, unless there are fewer different points
    converged: bool  # whether the tolerance ended it; else the number of iterations


def fit_kmeans(
    points: Tensor,
    k: int,
    iterations: int = 25,
    seed: int = 0,
    device: str | torch.device = "cpu",
    progress: bool = False,
    tolerance: float = TOLERANCE,
) -> Fit:
    """Cluster points (N, D) by Lloyd's algorithm, in at most ``iterations``.

    It stops when one has taken away no more than this share of the inertia (``tolerance``): with
    the default, further ones gain a few tenths of a per cent together.

    Starts from greedy k-means++ on a random sample of the points. A centroid that has lost all its
    points moves to a point far from every other centroid, so the inertia never rises; where there
    are fewer different points than k, it stays without any. Repeats exactly on a CPU; on a GPU up
    to the order of its sums.
    ValueError: fewer points than k, or NaN/infinity among them.
    """
    if not 1 <= k <= len(points):
        raise ValueError(
            f"{len(points)} frames cannot make {k} clusters; give more audio or a k from 1 to "
            f"{len(points)}"
        )
    if not bool(points.isfinite().all()):
        raise ValueError("the features contain NaN or infinity; use another checkpoint or layer")
    origin = points.detach().float().mean(0)
    points = points.detach().float().to(device) - origin.to(device)  # as all below
    random = torch.Generator().manual_seed(seed)  # of the CPU: the same draws on every device
    centroids = _start(points, k, random, progress)
    inertia: list[float] = []
    reseeded, converged = 0, False
    parts = parts_of(points)
    bar = Bar("k-means iteration", iterations, show=progress)
    for _ in bar.over(range(iterations)):
        updated, distance, count = lloyd_step(parts, centroids)
        empty = count == 0
        inertia.append(float(distance.double().mean()))
        bar.show(distance=f"{inertia[-1]:.4g}")
        if empty.any() and (moved := _place_anew(updated, empty, points, distance, random)):
            reseeded += moved
        elif len(inertia) > 1 and inertia[-2] - inertia[-1] <= tolerance * inertia[-2]:
            converged = True
            break
        centroids = updated
    else:
        _, distance, count = lloyd_step(parts, centroids)
        inertia.append(float(distance.double().mean()))
    used = int((count > 0).sum())
    return Fit(centroids.cpu() + origin.cpu(), inertia, reseeded, used, converged)


def _start(points: Tensor, k: int, random: torch.Generator, show: bool = False) -> Tensor:
    """Return k centroids (K, D) to start from: different points, as far as there are k."""
    size = max(4 * k, min(_START_POINTS, _START_VALUES // max(k, points.shape[1])))
    order = torch.randperm(len(points), generator=random)[:size]
    sample = points[order.to(points.device)].cpu().double()
    chosen = _spread(sample, k, random, show=show)
    repeated = chosen[:1].expand(k - len(chosen))
    return sample[torch.cat([chosen, repeated])].to(points)


def _place_anew(
    centroids: Tensor,
    empty: Tensor,
    points: Tensor,
    distance: Tensor,
    random: torch.Generator,
) -> int:
    """Move the empty ones of the centroids (K, D); return how many there were points for.

    The points to choose from are drawn in proportion to their squared distances (N,).
    """
    size = min(len(points), max(1024, 4 * int(empty.sum())))
    noise = torch.empty(len(points)).exponential_(generator=random).to(points.device)
    sample = points[(distance / noise).topk(size).indices].cpu().double()
    kept = centroids[~empty].cpu().double()
    exact = torch.cdist(sample, kept, compute_mode="donot_use_mm_for_euclid_dist")
    chosen = _spread(sample, int(empty.sum()), random, exact.min(1).values.square())
    places = empty.nonzero()[: len(chosen), 0]
    centroids[places] = sample[chosen].to(centroids)
    return len(chosen)


def _spread(
    points: Tensor,
    number: int,
    random: torch.Generator,
    distance: Tensor | None = None,
    show: bool = False,
) -> Tensor:
    """Choose points (N, D) by greedy k-means++, given squared distances (N,) to what there is.

    Returns the indices of ``number`` different points, or of as many as there are. Everything is in
    float64, so that the choice does not depend on how a processor rounds.
    """
    points = points - points.mean(0)
    norms = points.square().sum(1)
    same = _SAME * float(norms.mean())
    if distance is None:  # nothing yet: all are as far
        distance = torch.full_like(norms, 4 * float(norms.max()) or 1)
    chosen: list[Tensor] = []
    gram = points @ points.T if len(points) ** 2 <= _GRAM_VALUES < number * points.numel() else None
    for _ in Bar("first centroids", number, show=show).over(range(number)):
        distance = distance.where(distance > same, 0)
        total = distance.cumsum(0)
        if not total[-1] > 0:
            break
        drawn = total[-1] * torch.rand(_TRIALS, generator=random, dtype=torch.float64)
        tried = torch.searchsorted(total, drawn, right=True).clamp_max(len(points) - 1)
        product = points[tried] @ points.T if gram is None else gram[tried]
        to_tried = norms[tried, None] + norms - 2 * product  # (8, N)
        left = torch.minimum(to_tried.clamp_min_(0), distance)
        best = left.sum(1).argmin()
        distance = left[best]
        chosen.append(tried[best])
    return torch.stack(chosen) if chosen else torch.zeros(0, dtype=torch.int64)


def nearest(points: Tensor, centroids: Tensor) -> Tensor:
    """Return the ids (N,) of the nearest centroids (K, D) of points (N, D).

    Both are taken relative to the centroids' mean: an offset that all share leaves no rounding.
    """
    points, centroids = points.detach(), centroids.detach()
    origin = centroids.mean(0)
    return _nearest(points - origin, centroids - origin)[0]


def _nearest(points: Tensor, centroids: Tensor) -> tuple[Tensor, Tensor]:
    """Return ids (N,) of the nearest, and squared distances (N,) less the points' norms."""
    rows = min(len(points), _CHUNK if points.device.type == "cpu" else _CHUNK_GPU)
    norms = centroids.square().sum(1)[None]  # (1, K)
    buffer = centroids.new_empty(rows, len(centroids))
    ids, best = [], []
    for chunk in points.split(max(1, rows)):
        scores = torch.addmm(norms, chunk, centroids.T, alpha=-2, out=buffer[: len(chunk)])
        # NumPy's argmin takes a fifth of the time of torch's
        found = torch.from_numpy(scores.numpy().argmin(1)) if scores.is_cpu else scores.argmin(1)
        ids.append(found)
        best.append(scores.gather(1, found[:, None])[:, 0])
    return torch.cat(ids), torch.cat(best)


Part = tuple[Tensor, Tensor]  # points (N, D), and their squared norms (N,)


def parts_of(points: Tensor) -> list[Part]:
    """Share points (N, D) out into parts that the cores take in turn."""
    size = max(1024, -(-len(points) // _PARTS))
    size += -size % _CHUNK  # no chunk of a few rows: its product takes as long as a whole one's
    return [(part, part.square().sum(1)) for part in points.split(size)]


def lloyd_step(parts: Sequence[Part], centroids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return new centroids (K, D), squared distances to the old (N,), and points of each (K,).

    Centroids without points stay. Exact where all are relative to the points' mean.
    """
    workers = torch.get_num_threads() if centroids.device.type == "cpu" else 1
    with thread_pool(workers) as pool:
        sums, counts, distances = zip(*pool.map(partial(_sum_up, centroids), parts), strict=True)
    count = torch.stack(counts).sum(0)
    means = torch.stack(sums).sum(0) / count.clamp_min(1)[:, None]
    means = means.to(centroids.dtype).where(count[:, None] > 0, centroids)
    return means, torch.cat(distances), count


def _sum_up(centroids: Tensor, part: Part) -> tuple[Tensor, Tensor, Tensor]:
    """Return the sum of points (K, D) and their number (K,) per centroid, and distances (N,)."""
    points, norms = part
    ids, less = _nearest(points, centroids)
    counts = torch.bincount(ids, minlength=len(centroids))
    # sorted by centroid, their points are bags to be summed: faster than one row after the other
    sums = embedding_bag(ids.argsort(), points, counts.cumsum(0) - counts, mode="sum")
    distance = (less + norms).clamp_min_(0)
    near = (distance < _NEAR * norms).nonzero()[:, 0]
    distance[near] = (points[near] - centroids[ids[near]]).square().sum(1)
    return sums.double(), counts, distance
