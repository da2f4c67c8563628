"""Waveform -> frames -> context: the wav2vec 2.0 family of speech encoders.

Shapes: B utterances, N samples at 16 kHz, T frames (one per 320 samples, 20 ms; one per 640 with
``mel_stack`` 4), D = ``cfg.dim``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

import torch
from torch import Tensor, nn

from mt4ssl_core.config import EncoderConfig
from mt4ssl_core.data.masking import repeats_of
from mt4ssl_core.data.normalization import normalize
from mt4ssl_core.model.context import Context
from mt4ssl_core.model.dropout import Dropout
from mt4ssl_core.model.extractor import Extractor
from mt4ssl_core.model.mel_frames import MelFrames
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

    def checkpoint_activations(self) -> None:
        """Keep for backward of each convolution and each layer its inputs alone."""
        self.context.checkpointed = True
        if isinstance(self.extractor, Extractor):
            self.extractor.checkpointed = True

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
