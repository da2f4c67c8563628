"""Random-projection target: classify quantised log-mel frames, no labels (arXiv 2202.01855)."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mt4ssl_core.data.mfcc import log_mel
from mt4ssl_core.model.encoder import Encoded, Encoder
from mt4ssl_core.model.padding import moments
from mt4ssl_core.model.targets import Masked, Target, TargetLoss, register
from mt4ssl_core.model.targets.offline import CLASSIFICATION_METRICS, classification
from mt4ssl_core.settings.bounds import number
from mt4ssl_core.settings.frames import HOP, num_frames


@dataclass
class RandomProjectionConfig:
    """Classify log-mel frames quantised by a fixed random projection and codebook (BEST-RQ).

    num_classes: codebook entries. codebook_dim: size of each. num_mels: input features per frame.
    weight: of this loss in the sum.
    """

    num_classes: int = number(1024, shape=True, at_least=2, at_most=1_000_000)
    codebook_dim: int = number(16, shape=True, at_least=1, at_most=65_536)
    num_mels: int = number(80, shape=True, at_least=1, at_most=126)  # of 257 bins
    weight: float = number(1.0, at_least=0, at_most=1e6)


@register("random_projection", RandomProjectionConfig)
class RandomProjectionTarget(Target):
    """A fixed random projection and codebook label each frame; a linear head predicts the label.

    Log-mel frames are normalised per utterance and channel, projected with a Xavier-uniform matrix
    and labelled with the nearest codebook vector after L2 normalisation. Projection and codebook
    are
    buffers: saved with the checkpoint, never trained.
    """

    metrics = CLASSIFICATION_METRICS

    def __init__(self, cfg: RandomProjectionConfig, encoder: Encoder):
        super().__init__(cfg, encoder)
        self.num_classes, self.every = cfg.num_classes, encoder.hop // HOP
        self.head = nn.Linear(encoder.cfg.dim, cfg.num_classes)
        projection = nn.init.xavier_uniform_(torch.empty(cfg.num_mels, cfg.codebook_dim))
        codebook = F.normalize(torch.randn(cfg.num_classes, cfg.codebook_dim), dim=-1)
        self.register_buffer("projection", projection)
        self.register_buffer("codebook", codebook)
        self.projection: Tensor
        self.codebook: Tensor

    @torch.no_grad()
    def label(self, waves: Tensor, lengths: Tensor) -> Tensor:
        """(B, N) waveforms and (B,) valid frames -> (B, T) codebook ids."""
        with torch.autocast(waves.device.type, enabled=False):
            mel = log_mel(waves.float(), num_mels=self.cfg.num_mels)  # (B, T, M)
            mean, var = moments(mel, lengths)
            x = F.normalize((mel - mean) * torch.rsqrt(var + 1e-5) @ self.projection, dim=-1)
            return (x @ self.codebook.T).max(-1).indices  # nearest of unit vectors

    def codes(self, encoded: Encoded) -> Tensor:
        """The likeliest class of each frame, (B, T)."""
        return self.head(encoded.output).argmax(-1)

    def loss(self, masked: Masked) -> TargetLoss:
        """Cross-entropy at the hidden frames."""
        labels = self.label(masked.waves, num_frames(masked.wave_lengths))[:, :: self.every]
        labels = labels[:, : masked.mask.shape[1]]
        logits = self.head(masked.hidden(masked.encoded.output))
        return classification(self.name, logits, masked.hidden(labels), self.cfg.weight)
