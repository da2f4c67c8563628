"""k-means over more frames than memory holds: every block of a stream moves the centroids."""

import torch
from torch import Tensor

from mt4ssl_core.labelling.lloyd import lloyd_step, parts_of

BLOCK = 1 << 15  # frames at once


class MiniBatch:
    """Centroids that each block of frames moves towards the means of its own (Sculley, 2010).

    A centroid weighs as many frames as have moved it, so that in the end each frame counts as much
    as any other. One without frames stays.

    Args:
        centroids: (K, D), to begin with.
        sample: points (N, D) that they were fitted on.
        device: where the blocks are taken to.
        drawn_from: frames that the sample stands for; None: itself alone.
    """

    def __init__(
        self,
        centroids: Tensor,
        sample: Tensor,
        device: str | torch.device = "cpu",
        drawn_from: int | None = None,
    ) -> None:
        self._first = centroids
        self._origin = centroids.mean(0).to(device)
        self._centroids = centroids.to(device) - self._origin
        self._waiting: list[Tensor] = []
        self.seen = 0  # frames after the sample
        self._sample = sample
        self._each = (drawn_from or len(sample)) / max(1, len(sample))  # frames for one of it
        self._weight: Tensor | None = None  # frames that have moved each centroid

    def add(self, frames: Tensor) -> None:
        """Take frames (T, D)."""
        self._waiting.append(frames.float().to(self._origin.device))
        self.seen += len(frames)
        if sum(map(len, self._waiting)) >= BLOCK:
            self._move()

    def finish(self) -> Tensor:
        """Return the centroids (K, D), after all frames."""
        self._move()
        return (self._centroids + self._origin).cpu() if self.seen else self._first

    def _move(self) -> None:
        if not self._waiting:
            return
        if self._weight is None:
            _, _, count = self._step(self._sample.to(self._origin.device))
            self._weight = count.double() * self._each
        means, _, count = self._step(torch.cat(self._waiting))
        self._waiting.clear()
        self._weight += count
        share = (count / self._weight.clamp_min(1)).to(means.dtype)
        self._centroids += share[:, None] * (means - self._centroids)

    def _step(self, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return lloyd_step(parts_of(points - self._origin), self._centroids)
