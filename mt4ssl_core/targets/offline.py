"""Offline target: classify labels that were made before training (paper section 2.2, Off-TE)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mt4ssl_core.config import OfflineConfig
from mt4ssl_core.targets import Masked, Target, TargetLoss

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
    metrics = CLASSIFICATION_METRICS

    def __init__(self, cfg: OfflineConfig, dim: int):
        super().__init__()
        self.cfg, self.num_classes = cfg, cfg.num_classes
        self.head = nn.Linear(dim, cfg.num_classes)

    def loss(self, masked: Masked) -> TargetLoss:
        """Cross-entropy at the hidden frames. Raises ValueError for a label without an output."""
        assert masked.labels is not None
        classes = masked.labels[masked.mask] + self.cfg.label_offset  # (M,)
        logits = self.head(masked.encoded.output[masked.mask])  # (M, K)
        return classification(self.name, logits, classes, self.cfg.weight)
