"""How many directions hidden states use: RankMe (arXiv 2210.02885)."""

import math

import torch
from torch import Tensor

from mt4ssl_core.model.encoder import Encoded

FRAMES = 2048  # that are looked at


def effective_rank(x: Tensor) -> float:
    """Exp of the entropy of the singular values of (M, D) frames, as shares of their sum.

    From 1 (all frames on a line through the origin) to D. NaN without frames, of zeros alone, and
    of NaN or infinity.
    """
    x = x.detach().double()
    if not bool(x.isfinite().all()) or not bool(x.any()):
        return math.nan
    values = torch.linalg.svdvals(x)
    shares = values / values.sum()
    return math.exp(-torch.special.xlogy(shares, shares).sum().item())


class FrameSample:
    """The first frames of some batches, of every layer, until there are enough."""

    def __init__(self) -> None:
        self.kept: list[Tensor] = []  # (layers, M, D) each
        self.lacking = FRAMES

    def add(self, encoded: Encoded) -> None:
        """Keep what is lacking of the valid frames of a batch."""
        states = torch.stack(encoded.hidden_states)  # (layers, B, T, D)
        valid = torch.arange(states.shape[2]) < encoded.lengths.cpu()[:, None]
        frames = states[:, valid.to(states.device)][:, : self.lacking]
        self.kept.append(frames)
        self.lacking -= frames.shape[1]

    def ranks(self) -> dict[str, float]:
        """The effective rank of the last layer, and the mean over all layers; {} of no frames."""
        if not self.kept:
            return {}
        found = [effective_rank(layer) for layer in torch.cat(self.kept, 1)]
        return {
            "effective_rank/last": found[-1],
            "effective_rank/mean": math.fsum(found) / len(found),
        }
