"""Dropout on a CPU whose masks cost little: 16 random bits an element.

torch draws a Bernoulli number an element on one core, ten times what the multiplication costs. Here
SFC64 of NumPy draws words of 64 bits, seeded by a number of torch's generator: whoever seeds torch
(a run does, by seed, update and rank) has the same masks again. Elsewhere torch's own are used.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

_LEVELS = 1 << 16  # of a draw
_CHUNK = 1 << 18  # attention weights at once: they stay in a CPU's cache


def draw_seeds(count: int) -> list[int]:
    """Numbers of torch's generator, each for one `kept`."""
    return torch.randint(1 << 62, (count,)).tolist()


def _dropped_levels(p: float) -> int:
    return min(_LEVELS - 1, round(p * _LEVELS))


def scale(p: float) -> float:
    """What elements that are kept are multiplied by, so that the mean stays."""
    return _LEVELS / (_LEVELS - _dropped_levels(p))


def kept(shape: torch.Size, p: float, seed: int) -> Tensor:
    """Bool of this shape on the CPU, True with probability 1 - p (to 1 in 65,536)."""
    size = shape.numel()
    words = np.random.SFC64(seed).random_raw(-(-size // 4)).view(np.int16)[:size]
    return (torch.from_numpy(words) >= _dropped_levels(p) - _LEVELS // 2).view(shape)


class _Dropped(torch.autograd.Function):
    """``residual`` + dropout(``x``), or dropout(``x``)."""

    @staticmethod
    def forward(ctx, x: Tensor, residual: Tensor | None, p: float) -> Tensor:
        keep = kept(x.shape, p, *draw_seeds(1))
        ctx.save_for_backward(keep)
        ctx.p = p
        if residual is None:
            return x * keep.to(x.dtype).mul_(scale(p))
        return torch.addcmul(residual, x, keep.to(x.dtype), value=scale(p))

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor | None, None]:  # type: ignore[override]
        (keep,) = ctx.saved_tensors
        residual = grad if ctx.needs_input_grad[1] else None
        return grad * keep.to(grad.dtype).mul_(scale(ctx.p)), residual, None


def _is_ours(x: Tensor) -> bool:
    return x.device.type == "cpu" and not torch.compiler.is_compiling()


class Dropout(nn.Dropout):
    """Dropout, alone or with the sum that follows it."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape, of which elements are zero in training."""
        if self.training and self.p and _is_ours(x):
            return _Dropped.apply(x, None, self.p)
        return super().forward(x)

    def add(self, residual: Tensor, x: Tensor) -> Tensor:
        """``residual`` + dropout(``x``), of the same shape."""
        if self.training and self.p and _is_ours(x) and residual.dtype == x.dtype:
            return _Dropped.apply(x, residual, self.p)
        return residual + self(x)


class _DroppedAttention(torch.autograd.Function):
    """Softmax attention with dropout of its weights, a few heads at a time.

    No weight is kept for backward: it computes them again and draws the same masks again.
    """

    @staticmethod
    def forward(ctx, q: Tensor, k: Tensor, v: Tensor, keep: Tensor | None, p: float) -> Tensor:
        ctx.parts = _parts(*q.shape[:3])
        ctx.seeds, ctx.p = draw_seeds(len(ctx.parts)), p
        out = torch.empty_like(q.transpose(1, 2), memory_format=torch.contiguous_format)
        out = out.transpose(1, 2)  # (B, H, T, D / H) in memory as (B, T, H, D / H)
        for part, seed in zip(ctx.parts, ctx.seeds, strict=True):
            weights = _weights(q[part], k[part], None if keep is None else keep[part[0]])
            weights.mul_(kept(weights.shape, p, seed).to(q.dtype))
            out[part] = (weights @ v[part]).mul_(scale(p))
        ctx.save_for_backward(q, k, v, keep, out)
        return out

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        q, k, v, keep, out = ctx.saved_tensors
        grads = [torch.empty_like(x) for x in (q, k, v)]
        for part, seed in zip(ctx.parts, ctx.seeds, strict=True):
            inner = (grad[part] * out[part]).sum(-1, keepdim=True)
            g = grad[part] * scale(ctx.p)
            weights = _weights(q[part], k[part], None if keep is None else keep[part[0]])
            noise = kept(weights.shape, ctx.p, seed).to(q.dtype)
            scores = (g @ v[part].transpose(-2, -1)).mul_(noise).sub_(inner).mul_(weights)
            grads[2][part] = weights.mul_(noise).transpose(-2, -1) @ g
            size = q.shape[-1] ** -0.5
            grads[0][part] = (scores @ k[part]).mul_(size)
            grads[1][part] = (scores.transpose(-2, -1) @ q[part]).mul_(size)
        return *grads, None, None


def _parts(batch: int, heads: int, frames: int) -> list[tuple[slice, slice]]:
    """Utterances and heads whose (T, T) weights are computed together."""
    most = max(1, _CHUNK // frames**2)  # heads, of any utterances
    rows, wide = max(1, most // heads), min(heads, most)
    return [
        (slice(row, row + rows), slice(head, head + wide))
        for row in range(0, batch, rows)
        for head in range(0, heads, wide)
    ]


def _weights(q: Tensor, k: Tensor, keep: Tensor | None) -> Tensor:
    """Attention weights (B, H, T, T) of queries and keys (B, H, T, D / H)."""
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
    if keep is not None:
        scores.masked_fill_(~keep, float("-inf"))
    return torch.softmax(scores, -1)


def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, p: float) -> Tensor:
    """`F.scaled_dot_product_attention` with dropout ``p`` of the weights.

    q, k, v (B, H, T, D / H); mask as there: bool (B, 1, 1, T), True where one may look, or what is
    added to the scores.
    """
    ours = p > 0 and _is_ours(q) and q.dtype == k.dtype == v.dtype == torch.float32
    if ours and (mask is None or mask.dtype == torch.bool):
        return _DroppedAttention.apply(q, k, v, mask, p)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=p)
