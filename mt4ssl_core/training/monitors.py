"""What held-out audio says of a model without labels: a sample of frames with nothing hidden.

The sample is the first frames of the held-out audio, the same ones at every validation.
"""

import math
from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor

from mt4ssl_core.model import geometry
from mt4ssl_core.model.encoder import Encoded
from mt4ssl_core.model.targets import Target

FRAMES = 2048  # that are looked at


class Monitors:
    """The first frames of some batches, of every layer, until there are enough."""

    def __init__(self) -> None:
        self.kept: list[Tensor] = []  # (layers, M, D) each
        self.codes: dict[str, list[Tensor]] = defaultdict(list)  # of a target: (M,) each
        self.lacking = FRAMES

    def add(self, encoded: Encoded, targets: Iterable[Target] = ()) -> None:
        """Keep what is lacking of a batch's valid frames, and what ``targets`` take each for."""
        states = torch.stack(encoded.hidden_states)  # (layers, B, T, D)
        valid = torch.arange(states.shape[2]) < encoded.lengths.cpu()[:, None]
        valid = valid.to(states.device)
        frames = states[:, valid][:, : self.lacking]
        for target in targets:
            if (codes := target.codes(encoded)) is not None:
                self.codes[target.name].append(codes[valid][: self.lacking])
        self.kept.append(frames)
        self.lacking -= frames.shape[1]

    def read(self) -> dict[str, float]:
        """Effective rank of the last layer and as a mean over all; of the last layer also its
        uniformity and, for every target that takes them for more than one class, how well classes
        stand apart. {} of no frames.
        """
        if not self.kept:
            return {}
        layers = torch.cat(self.kept, 1)
        ranks, last = [geometry.effective_rank(layer) for layer in layers], layers[-1].float()
        found = {
            "effective_rank/last": ranks[-1],
            "effective_rank/mean": math.fsum(ranks) / len(ranks),
            "uniformity": geometry.uniformity(last),
        }
        for name, parts in self.codes.items():
            codes = torch.cat(parts)
            if len(codes.unique()) > 1:
                found[f"{name}/silhouette"] = geometry.silhouette(last, codes)
                found[f"{name}/davies_bouldin"] = geometry.davies_bouldin(last, codes)
        return found
