"""The context network: projected frames -> hidden states.

Shapes: B utterances, T frames, D = ``cfg.dim``.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from mt4ssl_core.config import EncoderConfig
from mt4ssl_core.model.attention import Attention, RelativeBias
from mt4ssl_core.model.checkpointing import run
from mt4ssl_core.model.dropout import Dropout
from mt4ssl_core.model.padding import padding_mask


class PosConvBlock(nn.Module):
    """One positional convolution of (B, T, D): grouped conv, [layer norm without affine], GELU."""

    def __init__(self, cfg: EncoderConfig):
        super().__init__()
        kernel, stacked = cfg.pos_conv_kernel, cfg.pos_conv_depth > 1
        conv = nn.Conv1d(cfg.dim, cfg.dim, kernel, padding=kernel // 2, groups=cfg.pos_conv_groups)
        if not stacked:
            nn.init.normal_(conv.weight, 0.0, (4 / (kernel * cfg.dim)) ** 0.5)
            assert conv.bias is not None
            nn.init.zeros_(conv.bias)
            conv = weight_norm(conv, dim=2)
        self.conv, self.stacked = conv, stacked

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        size = x.shape[1]
        x = self.conv(x.transpose(1, 2)).transpose(1, 2)[:, :size]  # an even kernel adds a frame
        if self.stacked:
            x = F.layer_norm(x, x.shape[-1:])
        return F.gelu(x)


class Layer(nn.Module):
    """One transformer layer, post-norm (BASE) or pre-norm (LARGE)."""

    def __init__(self, cfg: EncoderConfig):
        super().__init__()
        self.pre_norm = cfg.pre_norm
        self.attention = Attention(cfg)
        self.attention_norm = nn.LayerNorm(cfg.dim)
        self.fc1 = nn.Linear(cfg.dim, cfg.ffn_dim)
        self.fc2 = nn.Linear(cfg.ffn_dim, cfg.dim)
        self.ffn_norm = nn.LayerNorm(cfg.dim)
        self.dropout = Dropout(cfg.dropout)
        self.activation_dropout = Dropout(cfg.activation_dropout)

    def feed_forward(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D), before dropout and the residual sum."""
        return self.fc2(self.activation_dropout(F.gelu(self.fc1(x))))

    def forward(self, x: Tensor, keep: Tensor | None, bias: Tensor | None) -> tuple[Tensor, Tensor]:
        """(B, T, D) -> (output, feed-forward output), both (B, T, D); the rest as `Attention`."""
        if self.pre_norm:
            x = self.dropout.add(x, self.attention(self.attention_norm(x), keep, bias))
            ffn = self.feed_forward(self.ffn_norm(x))
            return self.dropout.add(x, ffn), ffn
        x = self.attention_norm(self.dropout.add(x, self.attention(x, keep, bias)))
        ffn = self.feed_forward(x)
        return self.ffn_norm(self.dropout.add(x, ffn)), ffn


class Context(nn.Module):
    """Positional convolution and transformer over projected frames; the teacher is a copy of it."""

    def __init__(self, cfg: EncoderConfig):
        super().__init__()
        self.pos_conv = nn.ModuleList(PosConvBlock(cfg) for _ in range(cfg.pos_conv_depth))
        self.norm = nn.LayerNorm(cfg.dim)
        self.relative_bias = RelativeBias(cfg) if cfg.relative_buckets else None
        self.layers = nn.ModuleList(Layer(cfg) for _ in range(cfg.layers))
        self.dropout = Dropout(cfg.dropout)
        self.layerdrop, self.pre_norm = cfg.layerdrop, cfg.pre_norm
        self.isolate_padding, self.checkpointed = cfg.isolate_padding, False
        for module in self.layers.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, 0.0, 0.02)
                nn.init.zeros_(module.bias)

    def position(self, x: Tensor, padding: Tensor | None) -> Tensor:
        """What the positional convolutions add to ``x`` (B, T, D)."""
        for block in self.pos_conv:
            x = run(block, x, checkpointed=self.checkpointed)
            if padding is not None and self.isolate_padding:
                x = x.masked_fill(padding[..., None], 0.0)
        return x

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """(B, T, D) frames and (B,) valid frames -> (hidden states, feed-forward outputs)."""
        padding = padding_mask(lengths, x.shape[1], x.device)
        keep = None
        if padding is not None:
            x = x.masked_fill(padding[..., None], 0.0)
            keep = ~padding[:, None, None, :]
        x = x + self.position(x, padding)
        if not self.pre_norm:
            x = self.norm(x)
        x = self.dropout(x)
        bias = None if self.relative_bias is None else self.relative_bias(x.shape[1])
        hidden, ffn = [x], []
        for layer in self.layers:
            if self.training and self.layerdrop and torch.rand(()).item() < self.layerdrop:
                hidden.append(x)
                continue
            x, out = run(layer, x, keep, bias, checkpointed=self.checkpointed)
            hidden.append(x)
            ffn.append(out)
        if self.pre_norm:
            hidden[-1] = self.norm(x)
        return hidden, ffn
