"""Offline target: classify labels that were made before training (paper section 2.2, Off-TE)."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mt4ssl_core.config import Config
from mt4ssl_core.model.encoder import Encoded, Encoder
from mt4ssl_core.model.targets import Masked, Target, TargetLoss, register
from mt4ssl_core.settings.bounds import number

CLASSIFICATION_METRICS = ("loss", "accuracy", "entropy")  # the last on held-out audio alone


@dataclass
class OfflineConfig:
    """Classify labels that were made before training (paper: Off-TE).

    num_classes: outputs of the head. label_offset: added to every label
    (4 with num_classes K + 4 reproduces fairseq's dictionary). weight: of this loss in the sum.
    visible_weight: weight of the same loss at frames that are not hidden (HuBERT section II-B;
        the paper has 0). Small encoders learn much sooner with it.
    """

    num_classes: int = number(500, shape=True, at_least=1, at_most=1_000_000)
    label_offset: int = number(0, shape=True, at_least=0, at_most=1_000_000)
    visible_weight: float = number(0.0, at_least=0, at_most=1e6)
    weight: float = number(1.0, at_least=0, at_most=1e6)


def classification(name: str, logits: Tensor, classes: Tensor, weight: float) -> TargetLoss:
    """Cross-entropy (sum, nats) of (M, K) logits and (M,) classes, with accuracy and usage.

    Without gradients also the entropy of the predictions (sum, nats), and the right classes.
    """
    with torch.autocast(logits.device.type, enabled=False):
        total = F.cross_entropy(logits.float(), classes, reduction="sum")
    predicted = logits.detach().argmax(-1)
    sums = {"loss": total.detach(), "accuracy": (predicted == classes).sum()}
    usage = _counts(predicted, logits.shape[-1])
    found = TargetLoss(name, weight * total, len(classes), sums, usage=usage)
    if not torch.is_grad_enabled():
        shares = logits.float().softmax(-1)
        sums["entropy"] = -torch.special.xlogy(shares, shares).sum()
        found.wanted = _counts(classes, logits.shape[-1])
    return found


def _counts(classes: Tensor, number: int) -> Tensor:
    """How often each of so many classes is among (M,)."""
    counts = classes.new_zeros(number)  # bincount would wait for a GPU
    return counts.index_add_(0, classes, torch.ones_like(classes))


@register("offline", OfflineConfig, on=True)
class OfflineTarget(Target):
    """A linear head on the last layer and cross-entropy over cluster ids."""

    needs_labels = True
    metrics = (*CLASSIFICATION_METRICS, "visible_accuracy")

    def __init__(self, cfg: OfflineConfig, encoder: Encoder):
        super().__init__(cfg, encoder)
        self.num_classes = cfg.num_classes
        self.label_classes = cfg.num_classes - cfg.label_offset
        self.sees_visible = bool(cfg.visible_weight)
        self.head = nn.Linear(encoder.cfg.dim, cfg.num_classes)

    @classmethod
    def problems(cls, settings: OfflineConfig, cfg: Config) -> list[str]:
        """An offset beyond the last class."""
        if settings.label_offset >= settings.num_classes:
            return ["label_offset: must be below offline.num_classes"]
        return []

    def loss(self, masked: Masked) -> TargetLoss:
        """Cross-entropy at the hidden frames and, with `visible_weight`, at the others."""
        places = masked.places
        hidden = self._classify(masked, places.labelled, self.cfg.weight)
        if self.cfg.visible_weight:
            weight = self.cfg.weight * self.cfg.visible_weight
            visible = self._classify(masked, places.seen, weight)
            hidden.total = hidden.total + visible.total
            hidden.means["visible_accuracy"] = visible.sums["accuracy"] / max(visible.count, 1)
        return hidden

    def codes(self, encoded: Encoded) -> Tensor:
        """The likeliest class of each frame, (B, T)."""
        return self.head(encoded.output).argmax(-1)

    def _classify(self, masked: Masked, at: Tensor | None, weight: float) -> TargetLoss:
        """At these places (M,), which have labels: a row may lack those of a frame or two."""
        assert masked.labels is not None and at is not None
        logits = self.head(masked.rows(masked.encoded.output, at))
        classes = masked.rows(masked.labels, at) + self.cfg.label_offset
        return classification(self.name, logits, classes, weight)
