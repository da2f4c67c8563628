"""MT4SSL: encode once with frames hidden, then ask every target for its loss."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from mt4ssl_core.config import HOP, SAMPLE_RATE, Config
from mt4ssl_core.data.masking import Places, frame_labels
from mt4ssl_core.model import targets as target_package
from mt4ssl_core.model.encoder import Encoder
from mt4ssl_core.model.targets import Masked, Target, TargetLoss


class MT4SSL(nn.Module):
    """An encoder and the targets it learns from; the loss is the sum of theirs."""

    def __init__(self, cfg: Config):
        super().__init__()
        self.encoder = Encoder(cfg.encoder)
        self.targets = target_package.build(cfg, self.encoder)
        self.sharded = False  # whether each process has a part of the weights

    def each_target(self) -> Iterator[Target]:
        """The targets, typed."""
        for target in self.targets.values():
            assert isinstance(target, Target)
            yield target

    def forward(
        self,
        waves: Tensor,
        lengths: Tensor,
        mask: Tensor,
        labels: Tensor | None,
        step: int,
        places: Places | None = None,
    ) -> list[TargetLoss]:
        """Losses at the hidden frames.

        waves (B, N) and lengths (B,) in samples, these on the CPU; mask (B, T) bool, or (R * B, T)
        for R masks per utterance; labels
        (B, T') int64, one per 20 ms and no fewer than frames, negative at padding, or None; step:
        updates made so far; places: of the mask, which are looked for if they are not given.
        """
        if not waves.shape[0]:
            return self._nothing(waves, step)
        lengths = lengths.cpu()  # FSDP moves what a model is given to its device
        encoded = self.encoder(waves, lengths, mask)
        labels = frame_labels(labels, self.encoder.hop, mask.shape[1])
        places = places or Places.of(mask, labels)
        masked = Masked(encoded, mask, labels, waves, lengths, step, places)
        return [target.loss(masked) for target in self.each_target()]

    def _nothing(self, waves: Tensor, step: int) -> list[TargetLoss]:
        """Losses of zero that touch every parameter: nothing could be read.

        A sharded model computes them, with the blocks that the other processes compute meanwhile.
        """
        if not self.sharded:
            zero = sum(p.sum() * 0.0 for p in self.parameters() if p.requires_grad)
            assert isinstance(zero, Tensor)
            return [TargetLoss(target.name, zero, 0) for target in self.each_target()]
        tone = torch.arange(SAMPLE_RATE, device=waves.device, dtype=waves.dtype).sin()[None]
        lengths = torch.tensor([SAMPLE_RATE])
        shape = 1, int(self.encoder.frame_lengths(SAMPLE_RATE))
        mask = torch.ones(shape, dtype=torch.bool)
        labels = torch.zeros(1, SAMPLE_RATE // HOP, dtype=torch.int64)
        places = Places.of(mask, frame_labels(labels, self.encoder.hop, shape[1]))
        places = places.map(lambda x: x.to(waves.device))
        mask, labels = mask.to(waves.device), labels.to(waves.device)
        losses = self.forward(tone, lengths, mask, labels, step, places)
        return [TargetLoss(loss.name, loss.total * 0.0, 0) for loss in losses]
