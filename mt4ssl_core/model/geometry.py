"""How frames lie in space, without labels: rank, uniformity, and how well clusters stand apart.

All take (M, D) frames and compute in float64; NaN of frames of which nothing can be said.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def effective_rank(x: Tensor) -> float:
    """Exp of the entropy of the singular values of (M, D) frames, as shares of their sum: RankMe
    (arXiv 2210.02885).

    From 1 (all frames on a line through the origin) to D. NaN without frames, of zeros alone, and
    of NaN or infinity.
    """
    x = x.detach().double()
    if not bool(x.isfinite().all()) or not bool(x.any()):
        return math.nan
    values = torch.linalg.svdvals(x)
    shares = values / values.sum()
    return math.exp(-torch.special.xlogy(shares, shares).sum().item())


def uniformity(x: Tensor) -> float:
    """Log of the mean of exp(-2 d^2) over all pairs of frames, brought to length 1, at distance d
    (Wang & Isola, arXiv 2005.10242, t = 2).

    0 where all point one way, near -4 where many are spread evenly over many directions. NaN of
    fewer than two frames, of a frame of zeros, and of NaN or infinity.
    """
    x = x.detach().double()
    if len(x) < 2 or not bool(x.isfinite().all()) or not bool(x.any(1).all()):
        return math.nan
    x, count = F.normalize(x, dim=1), len(x)
    near = torch.exp(4 * (x @ x.T) - 4).fill_diagonal_(0)  # exp(-2 d^2) with d^2 = 2 - 2 cos
    return math.log(near.sum().item() / (count * (count - 1)))


def silhouette(x: Tensor, clusters: Tensor) -> float:
    """Mean over frames of (b - a) / max(a, b): a the mean distance to the frame's own cluster, b to
    the nearest other one (Rousseeuw 1987); ``clusters`` (M,) int64.

    From -1 to 1, the higher the better; a cluster of one frame counts as 0. NaN of one cluster, of
    as many as frames, and of NaN or infinity.
    """
    x, ids, counts = _clustered(x, clusters)
    if ids is None:
        return math.nan
    sums = _distances(x) @ F.one_hot(ids, len(counts)).double()  # (M, K)
    own = ids[:, None]
    inside = sums.gather(1, own)[:, 0] / (counts[ids] - 1).clamp(min=1)
    outside = (sums / counts).scatter(1, own, math.inf).min(1).values
    scores = (outside - inside) / torch.maximum(inside, outside)
    return torch.where(counts[ids] > 1, scores.nan_to_num(), 0.0).mean().item()


def davies_bouldin(x: Tensor, clusters: Tensor) -> float:
    """Mean over clusters of the worst (s_i + s_j) / d_ij: s the mean distance to the centroid, d
    between two centroids (Davies & Bouldin 1979); ``clusters`` (M,) int64.

    From 0, the lower the better. NaN as `silhouette`.
    """
    x, ids, counts = _clustered(x, clusters)
    if ids is None:
        return math.nan
    sums = x.new_zeros(len(counts), x.shape[1]).index_add_(0, ids, x)
    centroids = sums / counts[:, None]
    spread = x.new_zeros(len(counts)).index_add_(0, ids, (x - centroids[ids]).norm(dim=1)) / counts
    apart = _distances(centroids)
    apart[apart == 0] = math.inf
    return ((spread[:, None] + spread) / apart).max(1).values.mean().item()


def _distances(x: Tensor) -> Tensor:
    """Between all pairs of (M, D), (M, M); of a row to itself exactly 0, which rounding is not."""
    return torch.cdist(x, x).fill_diagonal_(0)


def _clustered(x: Tensor, clusters: Tensor) -> tuple[Tensor, Tensor | None, Tensor]:
    """Frames, their clusters numbered from 0 without gaps, and how many frames each has.

    The second is None where clusters cannot be judged.
    """
    x = x.detach().double()
    names, ids, counts = clusters.unique(return_inverse=True, return_counts=True)
    known = 2 <= len(names) < len(x) and bool(x.isfinite().all())
    return x, ids if known else None, counts.double()
