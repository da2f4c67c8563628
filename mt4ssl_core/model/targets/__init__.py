"""What the encoder is asked to predict at masked frames.

A target owns all of itself: settings, head, state, weight. Adding one is one new file in this
folder, or in a package of its own, with a `Target` subclass under the decorator `register`.
"""

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from mt4ssl_core.config import Config
from mt4ssl_core.data.masking import Places
from mt4ssl_core.model.encoder import Encoded, Encoder
from mt4ssl_core.settings import registry
from mt4ssl_core.settings.registry import register as register


@dataclass
class Masked:
    """What targets may look at: a batch after the encoder has seen it with frames hidden.

    encoded: the encoder's answer. mask: (B, T) bool, True where a frame was hidden; (R * B, T) with
        R masks per utterance, for which the encoder gave as many rows.
    labels: (B, T) int64 cluster ids, negative at padding, or None. waves: (B, N). wave_lengths:
        (B,).
    step: updates made so far. places: of the frames that were hidden.
    """

    encoded: Encoded
    mask: Tensor
    labels: Tensor | None
    waves: Tensor
    wave_lengths: Tensor
    step: int
    places: Places

    def hidden(self, x: Tensor) -> Tensor:
        """(M, ...) rows of ``x`` (B, T, ...) at the M hidden frames: ``x[mask]`` without a wait.

        ``x`` may be of the masked frames, or of each utterance once for all its masks.

        Raises:
            ValueError: ``x`` is not of these frames.
        """
        return self.rows(x, self.places.hidden)

    def rows(self, x: Tensor, places: Tensor) -> Tensor:
        """(M, ...) rows of such an ``x`` at ``places`` (M,) of the mask's frames.

        Raises:
            ValueError: ``x`` is not of these frames.
        """
        masks, frames = self.mask.shape
        if x.shape[:2] not in ((masks, frames), (len(self.waves), frames)):
            raise ValueError(
                f"a tensor of {tuple(x.shape)} for {(masks, frames)} frames; a target has "
                "to give one row per frame of the encoder"
            )
        if len(x) != masks:
            places = places % (len(x) * frames)
        return x.flatten(0, 1).index_select(0, places)


@dataclass
class TargetLoss:
    """A target's loss over the masked frames of one batch.

    name: as in the logs. total: sum over masked frames, weight included (scalar, with gradient).
    count: masked frames. sums: detached sums over masked frames, logged per frame.
    means: means over this batch (detached tensors, or numbers), logged averaged over batches.
    usage: (K,) how often each class was predicted, for the code perplexity.
    wanted: (K,) how often each class was the right one, for the label perplexity; None in training.
    """

    name: str
    total: Tensor
    count: int
    sums: dict[str, Tensor] = field(default_factory=dict)
    means: dict[str, Tensor | float] = field(default_factory=dict)
    usage: Tensor | None = None
    wanted: Tensor | None = None


class Target(nn.Module):
    """Base of all targets; they are made from their settings and the encoder they train."""

    name: str  # set by `register`
    needs_labels = False
    metrics: tuple[str, ...] = ("loss",)  # keys of TargetLoss.sums and .means
    num_classes: int | None = None  # length of TargetLoss.usage; None without classes
    label_classes = 0  # labels must be below this; 0: any are good
    sees_visible = False  # whether frames that are not hidden add to the loss
    cfg: Any  # its section of the config, which has at least `weight`

    def __init__(self, cfg: Any, encoder: Encoder):
        super().__init__()
        self.cfg = cfg

    @classmethod
    def problems(cls, settings: Any, cfg: Config) -> list[str]:
        """What does not fit together in its ``settings`` and the config, beginning with a key."""
        return []

    def start_from(self, encoder: Encoder) -> None:
        """Called when a run starts from weights that came without this target's own."""

    def loss(self, masked: Masked) -> TargetLoss:
        """The loss at the hidden frames."""
        raise NotImplementedError

    def codes(self, encoded: Encoded) -> Tensor | None:
        """(B, T) int64: the class each frame is taken for; None of a target without classes."""
        return None

    def before_micro_batch(self, encoder: Encoder, step: int, first: bool) -> None:
        """Called before each micro-batch, ``step`` updates made; ``first`` of its update or not."""

    def check(self, metrics: dict[str, float], step: int) -> str | None:
        """A message when ``metrics`` of a logged interval say that training must stop."""
        return None


def build(cfg: Config, encoder: Encoder) -> nn.ModuleDict:
    """The targets that the config switches on, by name."""
    kinds = registry.known()
    return nn.ModuleDict({name: kinds[name].target(part, encoder) for name, part in cfg.on.items()})
