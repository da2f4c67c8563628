"""Multi-head self-attention, plain or with WavLM's gated bias of relative positions.

Shapes: B utterances, T frames, D = ``cfg.dim``, H heads.
"""

import math

import torch
from torch import Tensor, nn

from mt4ssl_core.config import EncoderConfig
from mt4ssl_core.model.dropout import attention


class RelativeBias(nn.Module):
    """A learned bias per head and distance in frames; distant ones share buckets (WavLM, 3.1).

    Half of ``cfg.relative_buckets`` are for frames before, half for those after. Of each half, the
    first half are single distances, the rest grow with the logarithm up to
    ``cfg.relative_distance``; all beyond are in the last.
    """

    def __init__(self, cfg: EncoderConfig):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(cfg.relative_buckets, cfg.heads))
        nn.init.xavier_normal_(self.weight)
        self.farthest = cfg.relative_distance

    def forward(self, frames: int) -> Tensor:
        """(H, T, T) for ``frames`` T: of each frame (a row), towards every frame."""
        places = torch.arange(1 - frames, frames, device=self.weight.device)  # (2 T - 1,)
        bias = self.weight[self._buckets(places)].T  # (H, 2 T - 1)
        return bias.unfold(1, frames, 1).flip(1)  # row t: distances -t .. T - 1 - t

    def _buckets(self, distances: Tensor) -> Tensor:
        """The bucket of each distance."""
        side = len(self.weight) // 2
        single = side // 2
        size = distances.abs()
        # in this order of operations, or distances at a bucket's edge are rounded to another one
        grown = torch.log(size.float() / single) / math.log(self.farthest / single)
        far = (single + grown * (side - single)).clamp(0, side - 1).long()
        return (distances > 0) * side + torch.where(size < single, size, far)


class Attention(nn.Module):
    """Multi-head self-attention over (B, T, D); padding is masked as keys."""

    def __init__(self, cfg: EncoderConfig):
        super().__init__()
        self.heads, self.dropout = cfg.heads, cfg.attention_dropout
        self.q_proj = nn.Linear(cfg.dim, cfg.dim)
        self.k_proj = nn.Linear(cfg.dim, cfg.dim)
        self.v_proj = nn.Linear(cfg.dim, cfg.dim)
        self.out_proj = nn.Linear(cfg.dim, cfg.dim)
        if cfg.relative_buckets:
            self.gate = nn.Linear(cfg.dim // cfg.heads, 8)
            self.gate_scale = nn.Parameter(torch.ones(1, cfg.heads, 1, 1))

    def forward(self, x: Tensor, keep: Tensor | None, bias: Tensor | None = None) -> Tensor:
        """``keep``: (B, 1, 1, T) bool, True at frames that may be attended to, or None.

        ``bias``: (H, T, T), what `RelativeBias` gives, or None.
        """
        b, t, d = x.shape
        q, k, v = (
            proj(x).view(b, t, self.heads, -1).transpose(1, 2)  # (B, H, T, D / H)
            for proj in (self.q_proj, self.k_proj, self.v_proj)
        )
        mask = keep
        if bias is not None:
            mask = (self._gates(x) * bias).to(q.dtype)  # (B, H, T, T)
            if keep is not None:
                mask = mask.masked_fill(~keep, float("-inf"))
        dropout = self.dropout if self.training else 0.0
        x = attention(q, k, v, mask, dropout)
        return self.out_proj(x.transpose(1, 2).reshape(b, t, d))

    def _gates(self, x: Tensor) -> Tensor:
        """By how much the bias counts at each frame (B, T, D) for each head: (B, H, T, 1)."""
        b, t, _ = x.shape
        parts = self.gate(x.view(b, t, self.heads, -1)).transpose(1, 2)  # (B, H, T, 8)
        update, reset = parts.view(b, self.heads, t, 2, 4).sum(-1).sigmoid().chunk(2, -1)
        return update * (reset * self.gate_scale - 1.0) + 2.0
