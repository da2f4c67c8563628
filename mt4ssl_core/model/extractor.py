"""The front end of convolutions: waveform -> frames.

Shapes: B utterances, N samples at 16 kHz, T frames, C channels.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mt4ssl_core.config import EncoderConfig
from mt4ssl_core.model.checkpointing import run
from mt4ssl_core.model.padding import moments


class ConvBlock(nn.Module):
    """Strided convolution over time, optional norm, GELU, on (B, T, C) tensors.

    Kernel k and stride s satisfy s <= k <= 2 s, so the convolution is two matrix products over
    non-overlapping windows of s frames: no copy of overlapping windows is made, and channels stay
    last, which is where the layer norm wants them.
    """

    def __init__(self, c_in: int, c_out: int, kernel: int, stride: int, bias: bool, norm: str):
        super().__init__()
        self.conv = nn.Conv1d(c_in, c_out, kernel, stride, bias=bias)
        nn.init.kaiming_normal_(self.conv.weight)
        self.kernel, self.stride, self.norm_kind = kernel, stride, norm
        if norm == "layer_norm":
            self.norm: nn.Module | None = nn.LayerNorm(c_out)
        elif norm == "group_norm":
            self.norm = nn.GroupNorm(c_out, c_out)
        else:
            self.norm = None

    def out_length(self, length: Tensor) -> Tensor:
        """Frames that come out of ``length`` (B,) frames."""
        return (length - self.kernel) // self.stride + 1

    def convolve(self, x: Tensor) -> Tensor:
        """(B, T, C_in) -> (B, T', C_out)."""
        b, t, c = x.shape
        k, s = self.kernel, self.stride
        t_out = (t - k) // s + 1
        windows = t_out + int(k > s)  # windows of s frames that the output needs
        missing = max(0, windows * s - t)  # filled with zeros that no output reads
        x = F.pad(x, (0, 0, 0, missing)) if missing else x[:, : windows * s]
        x = x.reshape(b * windows, s * c)
        weight = self.conv.weight.permute(2, 1, 0)  # (K, C_in, C_out)
        y = x @ weight[:s].reshape(s * c, -1)
        y = y.view(b, windows, -1)[:, :t_out]
        if k > s:
            tail = x[:, : (k - s) * c] @ weight[s:].reshape((k - s) * c, -1)
            y = y + tail.view(b, windows, -1)[:, 1:]
        return y if self.conv.bias is None else y + self.conv.bias

    def forward(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        """(B, T, C_in) -> (B, T', C_out); ``lengths`` (B,) frames after this block, or None."""
        x = self.convolve(x)
        if self.norm_kind == "layer_norm":
            assert self.norm is not None
            x = self.norm(x)
        elif self.norm_kind == "group_norm":
            x = self._norm_over_time(x, lengths)
        return F.gelu(x)

    def _norm_over_time(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        """Normalise each channel over the valid frames of its utterance (biased variance)."""
        assert isinstance(self.norm, nn.GroupNorm)
        x = x.float()
        mean, var = moments(x, lengths)
        scale = torch.rsqrt(var + self.norm.eps) * self.norm.weight  # (B, 1, C)
        return torch.addcmul(self.norm.bias - mean * scale, x, scale)


class Extractor(nn.Module):
    """The waveform extractor: (B, N) samples -> (B, T, C), one frame per 320 samples."""

    def __init__(self, cfg: EncoderConfig):
        super().__init__()
        self.isolate_padding = cfg.isolate_padding
        blocks, c_in = [], 1
        for i, (channels, kernel, stride) in enumerate(cfg.conv_layers):
            norm = cfg.extractor_norm
            if norm == "group_norm" and i > 0:
                norm = "none"
            blocks.append(ConvBlock(c_in, channels, kernel, stride, cfg.conv_bias, norm))
            c_in = channels
        self.blocks = nn.ModuleList(blocks)
        self.checkpointed = False

    def forward(self, waves: Tensor, lengths: Tensor) -> Tensor:
        """(B, N) and (B,) samples (on the CPU: see `Encoder`) -> (B, T, C)."""
        x = waves[..., None]  # (B, N, 1)
        padded = self.isolate_padding and bool((lengths != waves.shape[1]).any())
        for block in self.blocks:
            assert isinstance(block, ConvBlock)
            lengths = block.out_length(lengths)
            x = run(block, x, lengths if padded else None, checkpointed=self.checkpointed)
        return x
