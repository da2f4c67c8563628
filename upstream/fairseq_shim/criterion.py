"""Cross entropy with label smoothing."""

from argparse import Namespace
from typing import Any

import torch


def label_smoothed_nll_loss(
    lprobs: torch.Tensor, target: torch.Tensor, epsilon: float, ignore_index: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the sums over all targets of the smoothed loss and of the plain one, in nats.

    The right symbol of log-probabilities (N, V) has weight 1 - epsilon, each of the others
    epsilon / (V - 1).
    """
    kept = target != ignore_index  # (N,)
    lprobs, target = lprobs[kept], target[kept]
    plain = -lprobs.gather(1, target[:, None]).sum()
    share = epsilon / (lprobs.shape[1] - 1)
    return (1 - epsilon - share) * plain - share * lprobs.sum(), plain


class LabelSmoothedCrossEntropy:
    """The loss that s3prl asks for by name."""

    def __init__(self, padding_idx: int, label_smoothing: float) -> None:
        self.padding_idx, self.label_smoothing = padding_idx, label_smoothing

    def compute_loss(
        self, model: Any, net_output: tuple[torch.Tensor, Any], sample: dict[str, Any]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the smoothed and the plain loss of ``sample["target"]`` (B, T), summed."""
        lprobs = model.get_normalized_probs(net_output, log_probs=True)
        return label_smoothed_nll_loss(
            lprobs.flatten(0, 1), sample["target"].flatten(), self.label_smoothing, self.padding_idx
        )


def build_criterion(args: Namespace, padding_idx: int) -> LabelSmoothedCrossEntropy:
    """Return the loss of s3prl's ``criterionrc``.

    Raises:
        ValueError: another loss, or a setting that is not known here.
    """
    settings = dict(vars(args))
    name = settings.pop("criterion", None)
    smoothing = settings.pop("label_smoothing", 0.0)
    if name != "label_smoothed_cross_entropy" or settings:
        raise ValueError(
            f"criterionrc: {', '.join([str(name), *settings])} not known here; only "
            "label_smoothed_cross_entropy with label_smoothing is: use it, or install fairseq"
        )
    return LabelSmoothedCrossEntropy(padding_idx, smoothing)
