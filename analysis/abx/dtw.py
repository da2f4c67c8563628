"""Distances between stretches of speech: dynamic time warping of many pairs at once.

The distance of two stretches is the sum of frame distances on the cheapest path from both starts to
both ends, over the number of pairs of frames on it (Schatz et al. 2013).
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from analysis.abx.distances import DISTANCES

_NUMBERS = 1 << 22  # in the frames that are gathered at once: 16 MB, not hundreds


def unit_frames(frames: np.ndarray) -> Tensor:
    """Frames (N, D) of length 1, as `pair_distances` takes them; a frame of zeros stays one."""
    return F.normalize(torch.from_numpy(np.asarray(frames, np.float32)), dim=1, eps=1e-30)


def pair_distances(
    units: Tensor,
    starts: np.ndarray,
    lengths: np.ndarray,
    pairs: np.ndarray,
    distance: str = DISTANCES[0],
) -> np.ndarray:
    """Distances (P,) float32 of ``pairs`` (P, 2) of S stretches.

    ``units``: (N, D) of `unit_frames`; stretch s is frames ``starts[s]`` and on, ``lengths[s]`` of
    them. Of frames at the angle a, ``angular`` is a / pi and ``cosine`` 1 - cos a.
    """
    assert distance in DISTANCES
    found = np.empty(len(pairs), np.float32)
    sizes = lengths[pairs]  # (P, 2)
    order = np.lexsort((sizes[:, 1], sizes[:, 0]))
    begin = 0
    while begin < len(order):  # of similar lengths: little is padded
        one, other = sizes[order[begin]]
        most = max(1, _NUMBERS // ((one + 2 * other) * units.shape[1]))
        some = order[begin : begin + most]
        some = some[(sizes[some, 0] == one) & (sizes[some, 1] <= 2 * other)]
        found[some] = _warped(units, starts[pairs[some]], sizes[some], distance).numpy()
        begin += len(some)
    return found


def _warped(units: Tensor, starts: np.ndarray, sizes: np.ndarray, distance: str) -> Tensor:
    """Distances (B,) of B pairs with first stretches of one length: starts, sizes (B, 2)."""
    sides = []
    for side in (0, 1):
        steps = np.minimum(np.arange(sizes[:, side].max()), sizes[:, side, None] - 1)  # (B, T)
        sides.append(units[torch.from_numpy(starts[:, side, None] + steps)])  # (B, T, D)
    alike = (sides[0] @ sides[1].transpose(1, 2)).clamp(-1, 1)  # (B, T1, T2)
    costs = alike.acos() / math.pi if distance == "angular" else 1 - alike
    return warp(costs.permute(1, 2, 0).contiguous(), torch.from_numpy(sizes[:, 1]))


def warp(costs: Tensor, stops: Tensor) -> Tensor:
    """Cost per step of the cheapest path through each of ``costs`` (T1, T2, B): (B,).

    From (0, 0) to (T1 - 1, stop - 1), with ``stops`` (B,) in T2. Of paths that cost the same, the
    one that comes by both, else by the second side. Cells of one diagonal are found together.
    """
    rows, columns, batch = costs.shape
    flat, found = costs.flatten(0, 1), costs.new_empty(batch)
    none = costs.new_full((rows + 1, batch), math.inf)
    before = last = none, torch.zeros_like(none)  # (cost, steps) of row i at i + 1
    for place in range(rows + columns - 1):
        low, high = max(0, place - columns + 1), min(place, rows - 1) + 1
        cells = [row * columns + place - row for row in range(low, high)]
        (both, both_steps), (one, one_steps) = before, last
        diagonal, second, first = both[low:high], one[low + 1 : high + 1], one[low:high]
        single = second <= first
        best, steps = torch.minimum(second, first), torch.empty_like(first)
        torch.where(single, one_steps[low + 1 : high + 1], one_steps[low:high], out=steps)
        steps = torch.where(diagonal <= best, both_steps[low:high], steps) + 1
        best = torch.minimum(diagonal, best) if place else torch.zeros_like(best)
        cost, count = none.clone(), torch.zeros_like(none)
        cost[low + 1 : high + 1], count[low + 1 : high + 1] = flat[cells] + best, steps
        before, last = last, (cost, count)
        ended = (stops == place - rows + 2).nonzero()[:, 0]
        found[ended] = cost[rows, ended] / count[rows, ended]
    return found
