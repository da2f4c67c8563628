"""MT4SSL: encode once with frames hidden, then ask every target for its loss."""

from collections.abc import Iterator

from torch import Tensor, nn

from mt4ssl_core.config import Config
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
        if (
            waves.shape[0] == 0
        ):  # nothing could be read: a loss of zero that touches every parameter
            zero = sum(p.sum() * 0.0 for p in self.parameters() if p.requires_grad)
            assert isinstance(zero, Tensor)
            return [TargetLoss(target.name, zero, 0) for target in self.each_target()]
        encoded = self.encoder(waves, lengths, mask)
        labels = frame_labels(labels, self.encoder.hop, mask.shape[1])
        places = places or Places.of(mask, labels)
        masked = Masked(encoded, mask, labels, waves, lengths, step, places)
        return [target.loss(masked) for target in self.each_target()]
