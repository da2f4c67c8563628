"""What the encoder is asked to predict at masked frames.

A target owns its head, its state and its weight. Adding one is one new file with a `Target`
subclass and one line in `build`.
"""

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from mt4ssl_core.config import Config
from mt4ssl_core.model.encoder import Encoded, Encoder


@dataclass
class Masked:
    """What targets may look at: a batch after the encoder has seen it with frames hidden.

    encoded: the encoder's answer. mask: (B, T) bool, True where a frame was hidden.
    labels: (B, T) int64 cluster ids, negative at padding, or None. waves: (B, N). wave_lengths:
        (B,).
    step: updates made so far.
    """

    encoded: Encoded
    mask: Tensor
    labels: Tensor | None
    waves: Tensor
    wave_lengths: Tensor
    step: int


@dataclass
class TargetLoss:
    """A target's loss over the masked frames of one batch.

    name: as in the logs. total: sum over masked frames, weight included (scalar, with gradient).
    count: masked frames. sums: detached sums over masked frames, logged per frame.
    means: detached means over this batch, logged averaged over batches.
    usage: (K,) how often each class was predicted, for the code perplexity.
    """

    name: str
    total: Tensor
    count: int
    sums: dict[str, Tensor] = field(default_factory=dict)
    means: dict[str, Tensor] = field(default_factory=dict)
    usage: Tensor | None = None  # (K,) how often each class was predicted, for the code perplexity


class Target(nn.Module):
    """Base of all targets."""

    name: str
    needs_labels = False
    metrics: tuple[str, ...] = ("loss",)  # keys of TargetLoss.sums and .means
    num_classes: int | None = None  # length of TargetLoss.usage; None without classes
    cfg: Any  # its section of the config, which has at least `weight`

    def loss(self, masked: Masked) -> TargetLoss:
        """The loss at the hidden frames."""
        raise NotImplementedError

    def before_micro_batch(self, encoder: Encoder, step: int, first: bool) -> None:
        """Called before each micro-batch, ``step`` updates made; ``first`` of its update or not."""

    def check(self, metrics: dict[str, float], step: int) -> str | None:
        """A message when ``metrics`` of a logged interval say that training must stop."""
        return None


def build(cfg: Config, encoder: Encoder) -> nn.ModuleDict:
    """The targets that the config switches on, by name."""
    from mt4ssl_core.model.targets.offline import OfflineTarget
    from mt4ssl_core.model.targets.online import OnlineTarget
    from mt4ssl_core.model.targets.random_projection import RandomProjectionTarget

    targets: dict[str, Target] = {}
    if cfg.offline is not None:
        targets["offline"] = OfflineTarget(cfg.offline, encoder.cfg.dim)
    if cfg.online is not None:
        targets["online"] = OnlineTarget(cfg.online, encoder)
    if cfg.random_projection is not None:
        targets["random_projection"] = RandomProjectionTarget(
            cfg.random_projection, encoder.cfg.dim
        )
    return nn.ModuleDict(targets)
