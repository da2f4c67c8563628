"""Transformer layers with fairseq's initial weights and parameter names."""

import math
from argparse import Namespace
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

# attention module -> its keys and values so far, (B, heads, T, D/heads) each
State = dict[nn.Module, tuple[torch.Tensor, torch.Tensor]]


class SinusoidalPositions(nn.Module):
    """Sines in the first half of the dimensions, cosines in the second.

    The first symbol has position ``padding_idx + 1``; padding has a vector of zeros.
    """

    table: torch.Tensor

    def __init__(self, dim: int, padding_idx: int, size: int = 1024) -> None:
        super().__init__()
        self.dim, self.padding_idx = dim, padding_idx
        self.register_buffer("table", self._make(size + padding_idx + 1), persistent=False)

    def _make(self, size: int) -> torch.Tensor:
        half = self.dim // 2
        rates = torch.exp(torch.arange(half) * (-math.log(10000) / (half - 1)))
        angles = torch.arange(size)[:, None] * rates  # (size, half)
        table = torch.cat([angles.sin(), angles.cos()], 1)
        table = F.pad(table, (0, self.dim - table.shape[1]))  # an odd dim
        table[self.padding_idx] = 0
        return table

    def forward(self, padding: torch.Tensor, last_only: bool = False) -> torch.Tensor:
        """Return the vectors (B, T, D) for a padding mask (B, T); ``last_only``: (B, 1, D)."""
        real = (~padding).long()
        positions = real.cumsum(1) * real + self.padding_idx  # (B, T)
        if positions.shape[1] + self.padding_idx >= len(self.table):
            self.table = self._make(2 * len(self.table) + positions.shape[1]).to(self.table)
        return self.table[positions[:, -1:] if last_only else positions]


class MultiheadAttention(nn.Module):
    """Multi-head attention; ``source_dim`` is that of what is attended to, if not the query's."""

    def __init__(self, dim: int, heads: int, dropout: float, source_dim: int | None = None) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"modelrc: {heads} attention heads do not divide dimension {dim}")
        self.heads, self.dropout = heads, dropout
        self.is_static = source_dim is not None  # keys and values of one source for all steps
        source_dim = source_dim or dim
        self.k_proj = nn.Linear(source_dim, dim)
        self.v_proj = nn.Linear(source_dim, dim)
        self.q_proj = nn.Linear(dim, dim)
        self.out_proj = nn.Linear(dim, dim)
        gain = 1 / math.sqrt(2) if source_dim == dim else 1.0
        for projection in (self.k_proj, self.v_proj, self.q_proj):
            nn.init.xavier_uniform_(projection.weight, gain)
        nn.init.xavier_uniform_(self.out_proj.weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(
        self,
        query: torch.Tensor,
        source: torch.Tensor,
        mask: torch.Tensor | None = None,
        state: State | None = None,
    ) -> torch.Tensor:
        """Return (B, T, D) for queries (B, T, D) and a source (B, S, source_dim).

        ``mask`` broadcasts to (B, heads, T, S), True where a query may look. With ``state``, keys
        and values of earlier steps are kept there: a self-attention sees those too.
        """
        q = self._split(self.q_proj(query))
        if state is not None and self.is_static and self in state:
            k, v = state[self]
        else:
            k, v = self._split(self.k_proj(source)), self._split(self.v_proj(source))
            if state is not None and self in state:
                k, v = (torch.cat(pair, 2) for pair in zip(state[self], (k, v), strict=True))
        if state is not None:
            state[self] = (k, v)
        dropout = self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(q, k, v, mask, dropout)  # (B, heads, T, D/heads)
        return self.out_proj(mixed.transpose(1, 2).flatten(2))

    def _split(self, x: torch.Tensor) -> torch.Tensor:
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)  # (B, heads, T, D/heads)


class _Layer(nn.Module):
    """Sub-layers with residual connections, normalised before (the default) or after."""

    def __init__(self, args: Namespace, dim: int, inner: int, normalize_before: bool) -> None:
        super().__init__()
        self.normalize_before, self.dropout = normalize_before, args.dropout
        self.activation_dropout = args.activation_dropout
        self.activation = getattr(F, args.activation_fn)
        self.self_attn_layer_norm = nn.LayerNorm(dim)
        self.fc1, self.fc2 = nn.Linear(dim, inner), nn.Linear(inner, dim)
        self.final_layer_norm = nn.LayerNorm(dim)

    def _around(self, norm: nn.Module, x: torch.Tensor, inside: Any) -> torch.Tensor:
        changed = inside(norm(x) if self.normalize_before else x)
        x = x + F.dropout(changed, self.dropout, self.training)
        return x if self.normalize_before else norm(x)

    def _feed_forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.dropout(self.activation(self.fc1(x)), self.activation_dropout, self.training)
        return self.fc2(x)


class EncoderLayer(_Layer):
    """Self-attention and feed-forward."""

    def __init__(self, args: Namespace) -> None:
        dim = args.encoder_embed_dim
        super().__init__(args, dim, args.encoder_ffn_embed_dim, args.encoder_normalize_before)
        self.self_attn = MultiheadAttention(
            dim, args.encoder_attention_heads, args.attention_dropout
        )

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return (B, T, D) for frames (B, T, D); ``mask`` (B, 1, 1, T) is True on true frames."""
        x = self._around(self.self_attn_layer_norm, x, lambda y: self.self_attn(y, y, mask))
        return self._around(self.final_layer_norm, x, self._feed_forward)


class DecoderLayer(_Layer):
    """Self-attention, attention to the encoder, and feed-forward."""

    def __init__(self, args: Namespace) -> None:
        dim, heads = args.decoder_embed_dim, args.decoder_attention_heads
        super().__init__(args, dim, args.decoder_ffn_embed_dim, args.decoder_normalize_before)
        self.self_attn = MultiheadAttention(dim, heads, args.attention_dropout)
        source = args.encoder_embed_dim
        self.encoder_attn = MultiheadAttention(dim, heads, args.attention_dropout, source)
        self.encoder_attn_layer_norm = nn.LayerNorm(dim)

    def forward(
        self,
        x: torch.Tensor,
        source: torch.Tensor,
        source_mask: torch.Tensor | None,
        mask: torch.Tensor | None,
        state: State | None = None,
    ) -> torch.Tensor:
        """Return (B, T, D) for symbols (B, T, D) and the encoder's frames (B, S, source dim)."""
        attend, cross = self.self_attn, self.encoder_attn
        x = self._around(self.self_attn_layer_norm, x, lambda y: attend(y, y, mask, state))
        x = self._around(
            self.encoder_attn_layer_norm, x, lambda y: cross(y, source, source_mask, state)
        )
        return self._around(self.final_layer_norm, x, self._feed_forward)
