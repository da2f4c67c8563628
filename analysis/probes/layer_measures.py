"""What each layer holds, found without labels to predict: CCA, clusters against phones, CKA.

cca_mel, cca_phone, cca_word and cca_input are PWCCA of a layer with mel energies of its frames,
with the identity of phones and words (on means over their frames) and with layer 0 (Pasad et al.
2021, 2023). Directions are fitted on one half of the utterances and correlated on the other, both
ways; low and high are the two. pnmi, phone_purity and cluster_purity are those of HuBERT, section
IV, for k-means of each layer, fitted on training utterances and measured on the others;
pnmi_excess is what PNMI has above unrelated clusters. effective_rank: RankMe of a layer.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from analysis.probes import chance, cluster_quality, similarity
from analysis.probes.probe_rows import DIRECTIONS, Row
from mt4ssl_core.bars import Bar
from mt4ssl_core.labelling import lloyd
from mt4ssl_core.model import geometry

NULL_DRAWS, BOOTSTRAP_DRAWS = 50, 500
VARIANCE = 0.999  # of a layer, in the directions that CCA looks at
FRAMES = 20_000  # that CCA and CKA look at, evenly spread: their cost grows with N D^2


@dataclass(frozen=True)
class Segments:
    """Stretches of speech with one label each, S of them."""

    features: np.ndarray  # (S, L, D), means over the frames
    labels: np.ndarray  # (S,) of str
    utterance: np.ndarray  # (S,) int


@dataclass(frozen=True)
class FrameData:
    """All frames of some utterances, in order: N frames, L layers, U utterances."""

    features: np.ndarray  # (N, L, D)
    utterance: np.ndarray  # (N,) int
    phones: np.ndarray  # (N,) of str, "" in silence
    mel: np.ndarray  # (N, 80) log energies
    trained: np.ndarray  # (U,) bool: those that clusters are fitted on
    segments: dict[str, Segments]  # "phone" and, where they are known, "word"


def measure(
    data: FrameData, clusters: int = 100, seed: int = 0, show: bool = True
) -> tuple[list[Row], list[dict[str, Any]], list[str]]:
    """Return rows (`probe_training.run_probes`), the matrix "cca" of all pairs of layers, and
    notes.

    The notes say what could not be measured, and why.
    """
    layers = data.features.shape[1]
    few = _evenly(len(data.features), FRAMES)
    half = data.utterance % 2 == 0
    rows: list[Row] = []
    notes: list[str] = []

    def correlate(
        name: str, layer: int, x: np.ndarray, y: np.ndarray, first: np.ndarray, of: str
    ) -> None:
        try:
            both = [cross_fitted(x, y, side) for side in (first, ~first)]
        except ValueError as error:
            notes.append(f"{name}, layer {layer}: {error}")
            return
        low, high = sorted(both)
        value = (low + high) / 2
        rows.append(_row(layer, name, value, low, high, count=len(x), of=of))

    for layer in Bar("CCA of layer", layers, show=show).over(range(layers)):
        x = data.features[few, layer].astype(np.float64)
        correlate("cca_mel", layer, x, data.mel[few], half[few], "frames")
        for kind, segments in data.segments.items():
            own = segments.features[:, layer].astype(np.float64)
            first = segments.utterance % 2 == 0
            hot = similarity.one_hot(segments.labels)
            correlate(f"cca_{kind}", layer, own, hot, first, f"{kind} segments")
        if layer:
            source = data.features[few, 0].astype(np.float64)
            correlate("cca_input", layer, x, source, half[few], "frames")
    matrices = []
    try:
        views = [_view(data.features[few, layer]) for layer in range(layers)]
        values = np.ones((layers, layers))
        pairs = [(i, j) for i in range(layers) for j in range(i + 1)]
        for i, j in Bar("CCA between layers", len(pairs), show=show).over(pairs):
            values[i, j] = values[j, i] = _pwcca(views[i], views[j])
        matrices.append({"measure": "cca", "values": values.tolist()})
    except ValueError as error:
        notes.append(f"cca between layers: {error}")
    for layer in Bar("clusters of layer", layers, show=show).over(range(layers)):
        try:
            rows += _clusters(data, layer, clusters, seed)
        except ValueError as error:
            notes.append(f"clusters of layer {layer}: {error}")
    return rows, matrices, list(dict.fromkeys(notes))


def cross_fitted(x: np.ndarray, y: np.ndarray, fitted: np.ndarray) -> float:
    """PWCCA of (N, D1) with (N, D2), fitted on some rows, (N,) bool, correlated on the rest.

    Raises:
        ValueError: too few rows for the dimensions, or a constant view.
    """
    found = similarity.cca(_view(x[fitted]), similarity.view(y[fitted]))
    return max(0.0, found.on(x[~fitted], y[~fitted]).pwcca)


def effective_ranks(features: np.ndarray, of: str) -> list[Row]:
    """How many directions each layer of (N, L, D) uses (`geometry.effective_rank`, RankMe)."""
    rows = []
    for layer in range(features.shape[1]):
        rank = geometry.effective_rank(torch.from_numpy(features[:, layer].astype(np.float64)))
        row = _row(layer, "effective_rank", rank, math.nan, math.nan, count=len(features), of=of)
        rows.append(row | {"unit": DIRECTIONS})
    return rows


def cka_between(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Linear CKA of the layers of two models: (N, L1, D1), (N, L2, D2), same frames -> (L1, L2).

    Raises:
        ValueError: other frames, or a constant layer.
    """
    if len(first) != len(second):
        raise ValueError(
            f"{len(first)} and {len(second)} frames: expected the same ones of both models; encode "
            "the same utterances"
        )
    few = _evenly(len(first), FRAMES)
    mine = [first[few, layer].astype(np.float64) for layer in range(first.shape[1])]
    theirs = [second[few, layer].astype(np.float64) for layer in range(second.shape[1])]
    return np.array([[similarity.linear_cka(a, b) for b in theirs] for a in mine])


def _clusters(data: FrameData, layer: int, clusters: int, seed: int) -> list[Row]:
    """Cluster a layer's frames and set clusters against phones, of utterances not fitted on."""
    points = torch.from_numpy(data.features[:, layer].astype(np.float32))
    fitted = data.trained[data.utterance]
    centroids = lloyd.fit_kmeans(points[torch.from_numpy(fitted)], clusters, seed=seed).centroids
    found = lloyd.nearest(points, centroids).numpy()[~fitted]
    names = sorted(set(data.phones[~fitted]) - {""})
    ids = {name: number for number, name in enumerate(names)} | {"": -1}
    phones = np.array([ids[phone] for phone in data.phones[~fitted]])
    utterances = np.unique(data.utterance[~fitted], return_inverse=True)[1]
    counts = np.stack(
        [
            cluster_quality.joint_counts(
                phones[utterances == u], found[utterances == u], len(names), clusters
            )
            for u in range(utterances.max() + 1)
        ]
    )  # (U, P, K)
    null = cluster_quality.rolled_pnmi_null(phones, found, NULL_DRAWS, seed)
    rows = []
    kinds: dict[str, Callable[[np.ndarray], float]] = {
        "pnmi": cluster_quality.pnmi,
        "phone_purity": cluster_quality.phone_purity,
        "cluster_purity": cluster_quality.cluster_purity,
    }
    for name, function in kinds.items():
        estimate = chance.bootstrap(
            lambda drawn, f=function: f(np.tensordot(drawn, counts, 1)),  # type: ignore[misc]
            len(counts),
            BOOTSTRAP_DRAWS,
            seed,
            centred=True,
        )
        more = {"count": int(counts.sum()), "of": "frames"}
        row = _row(layer, name, estimate.value, estimate.low, estimate.high, **more)
        rows.append(row | ({"baseline": null.mean} if name == "pnmi" else {}))
        if name == "pnmi":
            low, high = estimate.low - null.mean, estimate.high - null.mean
            rows.append(_row(layer, "pnmi_excess", null.excess, low, high, **more))
    return rows


def _row(layer: int, name: str, value: float, low: float, high: float, **more: Any) -> Row:
    row = {"layer": layer, "measure": name, "value": value, "low": low, "high": high}
    return row | {"baseline": None, "control": None, "unit": "fraction", "direction": "max", **more}


def _view(features: np.ndarray) -> similarity.View:
    return similarity.view(features.astype(np.float64), variance=VARIANCE)


def _pwcca(first: similarity.View, second: similarity.View) -> float:
    """Symmetric: the mean of both weightings; on the data it is fitted on."""
    return (similarity.cca(first, second).pwcca + similarity.cca(second, first).pwcca) / 2


def _evenly(count: int, most: int) -> np.ndarray:
    """Up to ``most`` of ``count`` rows, evenly spread."""
    return np.linspace(0, count - 1, min(count, most)).astype(int)


def segment_means(
    features: Sequence[np.ndarray], spans: Sequence[Sequence[tuple[str, int, int]]]
) -> Segments:
    """Means over the frames of segments (label, first, stop) of U utterances (L, T, D)."""
    means, names, numbers = [], [], []
    for number, (layers, found) in enumerate(zip(features, spans, strict=True)):
        for label, first, stop in found:
            means.append(layers[:, first:stop].astype(np.float32).mean(1))
            names.append(label)
            numbers.append(number)
    return Segments(np.stack(means), np.array(names), np.array(numbers))
