"""``asteroid.metrics.get_metrics`` and ``asteroid.losses.PITLossWrapper``.

What: the experts of speech enhancement and separation import them from asteroid, which s3prl does
    not install.
Why: asteroid 0.7 asks for old releases of torchmetrics, lightning and torch-optimizer.
Since: asteroid's last release, 0.7.0.
Here: where asteroid is not installed, modules of these names with our own versions of what the
    experts use. Metrics: SI-SDR, STOI, PESQ, of the mixture and of the estimates; the permutation
    is the one of highest mean SIR, as in asteroid. Loss: permutation-invariant training on a
    matrix of pairwise losses.
Delete when: s3prl no longer imports asteroid.
"""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from upstream.compat._modules import is_there, put
from upstream.compat._separation_metrics import METRICS, best_permutation


def install() -> bool:
    """Put the modules on the path, unless asteroid is installed."""
    if is_there("asteroid"):
        return False
    put("asteroid.metrics", get_metrics=get_metrics)
    put("asteroid.losses", PITLossWrapper=PITLossWrapper)
    return True


def get_metrics(
    mix: np.ndarray,
    clean: np.ndarray,
    estimate: np.ndarray,
    sample_rate: int = 16000,
    metrics_list: Any = "all",
    average: bool = True,
    compute_permutation: bool = False,
) -> dict[str, Any]:
    """Score a mixture (C, N) and estimates (K, N) against the clean sources (K, N).

    Returns for every metric its value for the estimates and, with ``input_`` before its name, for
    the mixture: the mean over sources, or one value per source when ``average`` is False.
    """
    names = list(METRICS) if metrics_list == "all" else metrics_list
    names = [names] if isinstance(names, str) else names
    mix, clean, estimate = (np.atleast_2d(signal) for signal in (mix, clean, estimate))
    if compute_permutation:
        estimate = estimate[best_permutation(clean, estimate)]
    found: dict[str, Any] = {}
    for name in names:
        metric = METRICS[name]
        found[f"input_{name}"] = [
            np.mean([metric(source, channel, sample_rate) for channel in mix]) for source in clean
        ]
        pairs = zip(clean, estimate, strict=True)
        found[name] = [metric(source, signal, sample_rate) for source, signal in pairs]
    return {name: float(np.mean(v)) if average else np.array(v) for name, v in found.items()}


class PITLossWrapper(torch.nn.Module):
    """The mean loss under the best assignment of estimates to targets, averaged over the batch.

    ``loss_func(est_targets, targets, **kwargs)`` gives the (B, K, K) losses of all pairs of
    estimate (dim 1) and target (dim 2).
    """

    def __init__(self, loss_func: Callable[..., torch.Tensor], pit_from: str = "pw_mtx") -> None:
        super().__init__()
        if pit_from != "pw_mtx":
            raise ValueError(
                f"PITLossWrapper: pit_from is {pit_from}; this stand-in for asteroid knows pw_mtx "
                "only; install asteroid"
            )
        self.loss_func = loss_func

    def forward(
        self, est_targets: torch.Tensor, targets: torch.Tensor, **kwargs: Any
    ) -> torch.Tensor:
        """Return the loss of (B, K, N) estimates, a scalar."""
        losses = self.loss_func(est_targets, targets, **kwargs)  # (B, K, K)
        sources = range(losses.shape[-1])
        per_choice = [
            losses[:, list(choice), sources].mean(-1) for choice in itertools.permutations(sources)
        ]
        return torch.stack(per_choice, -1).amin(-1).mean()
