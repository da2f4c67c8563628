"""Waveform -> frames -> context: the wav2vec 2.0 family of speech encoders.

Shapes: B utterances, N samples at 16 kHz, T frames (one per 320 samples, 20 ms; one per 640 with
``mel_stack`` 4), D = ``cfg.dim``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from mt4ssl_core.config import EncoderConfig
from mt4ssl_core.data.masking import repeats_of
from mt4ssl_core.data.normalization import normalize
from mt4ssl_core.model.attention import Attention, RelativeBias
from mt4ssl_core.model.dropout import Dropout
from mt4ssl_core.model.mel_frames import MelFrames
from mt4ssl_core.model.padding import moments, padding_mask
from mt4ssl_core.model.speech_encoder import SpeechEncoder
from mt4ssl_core.settings.frames import WINDOW, num_frames


@dataclass
class Encoded:
    """What the encoder says of a batch.

    frames: (B, T, D) projected, unmasked frames: the input of the context network.
    lengths: (B,) valid frames per utterance, on the device that the samples' lengths were on.
    hidden_states: layers + 1 tensors (B, T, D); [0] is the input of layer 0, [-1] the final output,
        counted as Hugging Face does. With R masks per utterance they are (R * B, T, D).
    ffn: one tensor of that shape per layer that ran: output of its feed-forward block before
        dropout and the residual sum. Layers skipped by LayerDrop are absent.
    """

    frames: Tensor
    lengths: Tensor
    hidden_states: list[Tensor]
    ffn: list[Tensor]

    @property
    def output(self) -> Tensor:
        """The final output, (B, T, D), or (R * B, T, D)."""
        return self.hidden_states[-1]


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

    def forward(self, waves: Tensor, lengths: Tensor) -> Tensor:
        """(B, N) and (B,) samples (on the CPU: see `Encoder`) -> (B, T, C)."""
        x = waves[..., None]  # (B, N, 1)
        padded = self.isolate_padding and bool((lengths != waves.shape[1]).any())
        for block in self.blocks:
            assert isinstance(block, ConvBlock)
            lengths = block.out_length(lengths)
            x = block(x, lengths if padded else None)
        return x


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
        self.isolate_padding = cfg.isolate_padding
        for module in self.layers.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, 0.0, 0.02)
                nn.init.zeros_(module.bias)

    def position(self, x: Tensor, padding: Tensor | None) -> Tensor:
        """What the positional convolutions add to ``x`` (B, T, D)."""
        for block in self.pos_conv:
            x = block(x)
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
            x, out = layer(x, keep, bias)
            hidden.append(x)
            ffn.append(out)
        if self.pre_norm:
            hidden[-1] = self.norm(x)
        return hidden, ffn


class _ScaleGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, scale: float) -> Tensor:
        ctx.scale = scale
        return x.view_as(x)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return grad * ctx.scale, None


class Encoder(SpeechEncoder):
    """The speech encoder: what is pre-trained, exported and scored. It knows of no loss.

    Whatever device it is on, lengths belong on the CPU: what depends on them (is an utterance too
    short, is there padding) is then decided without waiting for the device.
    """

    def __init__(self, cfg: EncoderConfig):
        super().__init__()
        self.cfg = cfg
        self.layers, self.dim, self.isolated = cfg.layers + 1, cfg.dim, cfg.isolate_padding
        self.extractor: Extractor | MelFrames
        self.feature_norm: nn.Module
        if cfg.frontend == "mel":
            self.extractor = MelFrames(cfg)
            channels, self.hop = self.extractor.channels, self.extractor.hop
            self.feature_norm = nn.Identity()
        else:
            self.extractor = Extractor(cfg)
            channels = cfg.conv_layers[-1][0]
            self.feature_norm = nn.LayerNorm(channels)
        self.projection = nn.Linear(channels, cfg.dim)
        self.input_dropout = Dropout(cfg.input_dropout)
        self.mask_embedding = nn.Parameter(torch.empty(cfg.dim).uniform_())
        self.context = Context(cfg)

    @overload
    def frame_lengths(self, num_samples: int) -> int: ...
    @overload
    def frame_lengths(self, num_samples: Tensor) -> Tensor: ...
    def frame_lengths(self, num_samples):
        """Frames that come out of ``num_samples`` samples (an int or a tensor of them)."""
        return num_frames(num_samples, self.hop)

    def prepare(self, wave: Tensor) -> Tensor:
        """One whole waveform (N,) as this encoder expects it: normalised if the config says so."""
        if not self.cfg.normalize or not len(wave):
            return wave
        return normalize(wave, self.cfg.normalize_eps)

    def frames(self, waves: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(B, N) waveforms with (B,) valid samples -> projected frames (B, T, D) and (B,) valid
        frames.

        Raises:
            ValueError: an utterance is shorter than one frame (400 samples).
        """
        frame_lengths = self.frame_lengths(lengths)
        if waves.shape[0] and int(frame_lengths.min()) < 1:
            raise ValueError(
                f"an utterance of {int(lengths.min())} samples is shorter than one frame "
                "(400 samples, 25 ms at 16 kHz); pad it or leave it out"
            )
        x = self.extractor(waves, lengths)
        if self.cfg.feature_grad_scale != 1.0:
            x = _ScaleGradient.apply(x, self.cfg.feature_grad_scale)
        return self.projection(self.feature_norm(x)), frame_lengths

    def forward(
        self,
        waves: Tensor,
        lengths: Tensor,
        mask: Tensor | None = None,
        channels: Tensor | None = None,
    ) -> Encoded:
        """Encode (B, N) waveforms with (B,) valid samples; ``mask`` (B, T) bool hides frames,
        ``channels`` (B, D) bool sets channels to zero in all frames.

        ``mask`` (R * B, T) hides others in each of R copies, for which frames are made once.
        Waveforms are expected as `prepare` makes them.
        """
        frames, frame_lengths = self.frames(waves, lengths)
        repeats = 1 if mask is None else repeats_of(mask, frames)
        x = self.input_dropout(frames.repeat(repeats, 1, 1) if repeats > 1 else frames)
        if mask is not None:
            x = torch.where(mask[..., None], self.mask_embedding.to(x.dtype), x)
        if channels is not None:
            x = x.masked_fill(channels[:, None], 0.0)
        hidden, ffn = self.context(x, frame_lengths.repeat(repeats))
        return Encoded(frames, frame_lengths, hidden, ffn)

    def encode(self, waves: Sequence[Tensor]) -> tuple[list[Tensor], Tensor]:
        """Encode waveforms as they were recorded (see `SpeechEncoder`); shorter than one frame,
        they are padded to it with zeros.
        """
        sizes = [max(len(wave), WINDOW) for wave in waves]
        padded = waves[0].new_zeros(len(waves), max(sizes))  # (B, N)
        for row, wave in zip(padded, waves, strict=True):
            row[: len(wave)] = self.prepare(wave)
        encoded = self(padded, torch.tensor(sizes))
        return encoded.hidden_states, encoded.lengths

    def identity(self) -> str:
        """The config; the default of what older encoders had no field for is left out."""
        text = repr(self.cfg)
        newer = ("normalize_eps", "relative_buckets", "relative_distance", "frontend")
        for name in (*newer, "mel_stack", "mel_norm"):
            text = text.replace(f", {name}={getattr(EncoderConfig, name)!r}", "")
        return text
