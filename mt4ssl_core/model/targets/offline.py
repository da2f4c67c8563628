"""Offline target: classify labels that were made before training (paper section 2.2, Off-TE)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mt4ssl_core.config import OfflineConfig
from mt4ssl_core.model.targets import Masked, Target, TargetLoss

CLASSIFICATION_METRICS = ("loss", "accuracy")


def classification(name: str, logits: Tensor, classes: Tensor, weight: float) -> TargetLoss:
    """Cross-entropy (sum, nats) of (M, K) logits and (M,) classes, with accuracy and usage."""
    with torch.autocast(logits.device.type, enabled=False):
        total = F.cross_entropy(logits.float(), classes, reduction="sum")
    predicted = logits.detach().argmax(-1)
    sums = {"loss": total.detach(), "accuracy": (predicted == classes).sum()}
    usage = torch.bincount(predicted, minlength=logits.shape[-1])
    return TargetLoss(name, weight * total, len(classes), sums, usage=usage)


class OfflineTarget(Target):
    """A linear head on the last layer and cross-entropy over cluster ids."""

    name = "offline"
    needs_labels = True
    metrics = (*CLASSIFICATION_METRICS, "visible_accuracy")

    def __init__(self, cfg: OfflineConfig, dim: int):
        super().__init__()
        self.cfg, self.num_classes = cfg, cfg.num_classes
        self.head = nn.Linear(dim, cfg.num_classes)

    def loss(self, masked: Masked) -> TargetLoss:
        """Cross-entropy at the hidden frames and, with `visible_weight`, at the others."""
        assert masked.labels is not None
        labels, output = masked.labels, masked.encoded.output
        at = masked.mask & (labels >= 0)  # a row may be a frame or two short
        hidden = self._classify(output[at], labels[at], self.cfg.weight)
        if self.cfg.visible_weight:
            weight = self.cfg.weight * self.cfg.visible_weight
            seen = ~masked.mask & (labels >= 0)
            visible = self._classify(output[seen], labels[seen], weight)
            hidden.total = hidden.total + visible.total
            hidden.means["visible_accuracy"] = visible.sums["accuracy"] / max(visible.count, 1)
        return hidden

    def _classify(self, output: Tensor, labels: Tensor, weight: float) -> TargetLoss:
        """(M, D) outputs and their (M,) labels."""
        return classification(self.name, self.head(output), labels + self.cfg.label_offset, weight)
