"""A linear map of an upstream's layers, before a head sums them: standardised or whitened.

SUPERB's heads take the layers as they are. Where most of a layer's variance lies in a few
directions, as in small encoders, a head learns along these and hardly in the others; a CTC head
then gives only blanks for a long time. Two maps, of each layer x (D,) with mean m and covariance
C = V diag(e) V' over the features that a task trains on:

**standardize**: (x - m) / sqrt(diag C), each dimension with mean 0 and variance 1.

**whiten**: V diag(e > f max(e)) e^(-1/2) V' (x - m), ZCA. The covariance of the result is the
identity on the directions that are kept, and 0 on those whose variance is below the floor f times
the largest: these hold rounding errors, which a division by their size would make features. Unlike
PCA's, the coordinates stay those of the layer, so that a weighted sum over layers still adds like
to like, and an eigenvector's arbitrary sign does not show.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mt4ssl_core.checkpoints import tensor_files
from upstream.heads.task_request import STANDARDIZE, WHITEN
from upstream.store.stored_features import Answer, selected

FLOORS = {STANDARDIZE: 1e-10, WHITEN: 1e-4}  # variance that is kept, over the largest


class Moments:
    """Mean and covariance of rows (N, D) that come a few at a time, in double precision.

    Updated as Chan, Golub and LeVeque do (1979), so that a large mean costs no digits.
    """

    def __init__(self, whole: bool) -> None:
        self.whole, self.rows = whole, 0  # whole: all covariances, else the variances alone
        self.mean = self.squares = torch.zeros(0, dtype=torch.float64)

    def add(self, rows: Tensor) -> None:
        """Take in rows (N, D)."""
        rows = rows.double()
        mean = rows.mean(0)
        around = rows - mean
        squares = around.T @ around if self.whole else around.square().sum(0)
        if not self.rows:
            self.rows, self.mean, self.squares = len(rows), mean, squares
            return
        rest = mean - self.mean
        total = self.rows + len(rows)
        between = torch.outer(rest, rest) if self.whole else rest.square()
        self.squares = self.squares + squares + between * (self.rows * len(rows) / total)
        self.mean = self.mean + rest * (len(rows) / total)
        self.rows = total

    def map(self, floor: float) -> tuple[Tensor, Tensor, int]:
        """Return mean (D,) and map (D, D) or (D,), float32, and how many directions are kept.

        Raises:
            ValueError: the rows were not finite.
        """
        mean, covariance = self.mean.cpu(), self.squares.cpu() / self.rows
        if not (mean.isfinite().all() and covariance.isfinite().all()):
            raise ValueError(
                "features that are not finite cannot be transformed; give another upstream"
            )
        if not self.whole:
            scale, kept = _inverse_roots(covariance, floor)
            return mean.float(), scale.float(), kept
        values, vectors = torch.linalg.eigh(covariance)
        scale, kept = _inverse_roots(values, floor)
        return mean.float(), ((vectors * scale) @ vectors.T).float(), kept


def _inverse_roots(variances: Tensor, floor: float) -> tuple[Tensor, int]:
    """Return 1 / sqrt of those above the floor, 0 for the others, and how many these are."""
    kept = variances > max(floor * float(variances.max()), 0.0)
    return torch.where(kept, variances, 1.0).rsqrt() * kept, int(kept.sum())


@dataclass(frozen=True)
class FeatureTransform:
    """A fitted map of some layers.

    ``layers``: which of the upstream's; ``means`` (L, D); ``maps`` (L, D, D), or (L, D) of a kind
    that scales each dimension; ``kept``: directions, of each layer; ``rows``: of features it was
    fitted on; ``about``: what it was fitted on, in words.
    """

    kind: str
    layers: tuple[int, ...]
    means: Tensor
    maps: Tensor
    kept: tuple[int, ...]
    rows: int
    about: Mapping[str, str]

    @classmethod
    def of(
        cls, kind: str, moments: Mapping[int, Moments], about: Mapping[str, str]
    ) -> "FeatureTransform":
        """Return the map that the moments of some layers give."""
        found = [each.map(FLOORS[kind]) for each in moments.values()]
        means, maps, kept = zip(*found, strict=True)
        rows = next(iter(moments.values())).rows
        return cls(kind, tuple(moments), torch.stack(means), torch.stack(maps), kept, rows, about)

    def __call__(self, states: Sequence[Tensor]) -> list[Tensor]:
        """Return the layers (..., D), those that it was fitted on mapped."""
        found = list(states)
        for layer, mean, each in zip(self.layers, self.means, self.maps, strict=True):
            around = found[layer].float() - mean
            found[layer] = around @ each if each.ndim == 2 else around * each
        return found

    def to(self, device: Any) -> "FeatureTransform":
        """Return it on a device."""
        moved = {"means": self.means.to(device), "maps": self.maps.to(device)}
        return FeatureTransform(**{**vars(self), **moved})

    def describe(self) -> dict[str, Any]:
        """Return what a result has to say of it."""
        dim = self.means.shape[1]
        shared = {"kind": self.kind, "floor": FLOORS[self.kind], "rows": self.rows}
        return {**shared, "dim": dim, "kept": list(self.kept)}

    def save(self, path: Path) -> None:
        """Write it with its checksum."""
        text = json.dumps([self.layers, self.kept, self.rows])
        about = {**self.about, "kind": self.kind, "fitted": text}
        tensor_files.save(path, {"means": self.means, "maps": self.maps}, about)

    @classmethod
    def load(cls, path: Path, remedy: str) -> "FeatureTransform":
        """Read what `save` wrote.

        Raises:
            ValueError: it is not there or damaged; ends with ``remedy``.
        """
        if not path.is_file():
            raise ValueError(f"{path}: not there; {remedy}")
        tensors, about, whole = tensor_files.load(path, remedy)
        if not whole or not {"kind", "fitted"} <= set(about) or set(tensors) != {"means", "maps"}:
            raise ValueError(f"{path}: not a fitted transform of features; {remedy}")
        kind, means, maps = about.pop("kind"), tensors["means"], tensors["maps"]
        try:
            layers, kept, rows = json.loads(about.pop("fitted"))
            size, dim = means.shape
            numbers = [*layers, *kept, rows]
        except (TypeError, ValueError):
            raise ValueError(f"{path}: damaged; {remedy}") from None
        whole = len(layers) == len(kept) == size and maps.shape in ((size, dim), (size, dim, dim))
        if not whole or not all(type(n) is int and n >= 0 for n in numbers):
            raise ValueError(f"{path}: damaged; {remedy}")
        return cls(kind, tuple(layers), means, maps, tuple(kept), rows, about)


class TransformedFeatures(nn.Module):
    """A frozen upstream whose selected layers are mapped before the featurizer sums them."""

    def __init__(self, model: nn.Module, transform: FeatureTransform, selection: str) -> None:
        super().__init__()
        self.model, self.transform, self.selection = model, transform, selection

    def get_downsample_rates(self, key: str) -> int:
        """Samples per frame."""
        rate: Any = self.model.get_downsample_rates  # type: ignore[assignment]
        return int(rate(key))

    def forward(self, wavs: Sequence[Any]) -> Answer:
        """Return the upstream's answer, its selected layers mapped, in single precision."""
        answer: Answer = self.model(wavs)
        layers = selected(answer, self.selection)
        with torch.autocast(layers[0].device.type, enabled=False):
            return {**answer, self.selection: self.transform(layers)}
