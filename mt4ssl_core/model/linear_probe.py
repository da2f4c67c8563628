"""A linear probe of frozen features: multinomial logistic regression.

What a probe finds is what a linear map can read off. How much a probe of this size would find in
anything is another matter: a control task says it.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

PENALTIES = (1e-1, 1e-2, 1e-3)  # of the squared weights, tried on held-out speakers
ITERATIONS = 200


@dataclass(frozen=True)
class LinearProbe:
    """Logits are (x - mean) / scale @ weight + bias."""

    classes: np.ndarray  # (C,) of str, sorted
    mean: Tensor  # (D,)
    scale: Tensor  # (D,)
    weight: Tensor  # (D, C)
    bias: Tensor  # (C,)

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Return the most likely class of each row: (N, D) -> (N,) of str."""
        x = _standard(features, self.mean, self.scale)
        answer: np.ndarray = self.classes[(x @ self.weight + self.bias).argmax(1).numpy()]
        return answer


def fit(
    features: np.ndarray,
    labels: np.ndarray,
    penalty: float = 1e-3,
    start: LinearProbe | None = None,
) -> LinearProbe:
    """Fit multinomial logistic regression to (N, D) features and (N,) labels, to convergence.

    Minimises the mean cross-entropy plus penalty / 2 times the squared weights (not the bias) of
    features brought to mean 0 and variance 1: scikit-learn's ``LogisticRegression`` with
    C = 1 / (penalty N). ``start``: a probe of the same labels to begin from.

    Raises:
        ValueError: one class only, or other lengths.
    """
    classes, targets = np.unique(np.asarray(labels).astype(str), return_inverse=True)
    if len(features) != len(targets) or len(classes) < 2:
        raise ValueError(
            f"{len(features)} rows of features, {len(targets)} labels of {len(classes)} class(es): "
            "expected a label per row and two classes or more; give other utterances"
        )
    values = torch.from_numpy(np.asarray(features, np.float32))
    mean, scale = values.mean(0), values.std(0, correction=0).clamp(min=1e-6)
    x, y = _standard(features, mean, scale), torch.from_numpy(targets)
    weight, bias = x.new_zeros(x.shape[1], len(classes)), x.new_zeros(len(classes))
    if start is not None and np.array_equal(start.classes, classes):
        weight, bias = start.weight.clone(), start.bias.clone()
    parameters = [weight.requires_grad_(), bias.requires_grad_()]
    optimizer = torch.optim.LBFGS(
        parameters, max_iter=ITERATIONS, tolerance_grad=1e-5, tolerance_change=1e-8,
        history_size=10, line_search_fn="strong_wolfe",
    )  # fmt: skip

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = (
            F.cross_entropy(torch.addmm(bias, x, weight), y) + penalty / 2 * weight.square().sum()
        )
        value.backward()
        return value

    optimizer.step(loss)
    return LinearProbe(classes, mean, scale, weight.detach(), bias.detach())


def fit_best(
    features: np.ndarray, labels: np.ndarray, held_out: np.ndarray
) -> tuple[LinearProbe, float, float]:
    """Fit with each of `PENALTIES`, and with the best one on all rows.

    ``held_out`` (N,) bool says which rows choose. Returns the probe, its penalty, and the accuracy
    on the held-out rows while they were held out.
    """
    inside, found, probe = ~held_out, [], None
    for penalty in PENALTIES:  # from the smoothest on, each beginning where the last one ended
        probe = fit(features[inside], labels[inside], penalty, probe)
        accuracy = float(np.mean(probe.predict(features[held_out]) == labels[held_out]))
        found.append((accuracy, penalty))
    accuracy, penalty = max(found)
    return fit(features, labels, penalty, probe), penalty, accuracy


def _standard(features: np.ndarray, mean: Tensor, scale: Tensor) -> Tensor:
    return (torch.from_numpy(np.asarray(features, np.float32)) - mean) / scale
