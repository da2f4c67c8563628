"""Clusters against phones (HuBERT, section IV): purities, PNMI, and PNMI of unrelated clusters.

Shapes: N frames, P phones, K clusters. What is drawn at random follows from ``seed``.
"""

from dataclasses import dataclass

import numpy as np


def joint_counts(
    phones: np.ndarray, clusters: np.ndarray, num_phones: int, num_clusters: int
) -> np.ndarray:
    """How often phone and cluster meet: ids (N,), (N,) -> (P, K) int64; phones of -1 are left out.

    Raises:
        ValueError: other lengths, an id out of range.
    """
    phones, clusters = np.asarray(phones), np.asarray(clusters)
    if phones.shape != clusters.shape or phones.ndim != 1:
        raise ValueError(
            f"phones of shape {phones.shape}, clusters of {clusters.shape}: expected one each per "
            "frame; cut them alike"
        )
    if not (np.issubdtype(phones.dtype, np.integer) and np.issubdtype(clusters.dtype, np.integer)):
        raise ValueError(
            f"phones of type {phones.dtype}, clusters of {clusters.dtype}: expected ids; number "
            "labels as np.unique(labels, return_inverse=True) does"
        )
    labelled = phones != -1
    phones, clusters = phones[labelled].astype(np.int64), clusters[labelled].astype(np.int64)
    for name, ids, size in (("phone", phones, num_phones), ("cluster", clusters, num_clusters)):
        if len(ids) and not (ids.min() >= 0 and ids.max() < size):
            raise ValueError(
                f"{name} ids {ids.min()} to {ids.max()}, expected 0 to {size - 1}; "
                f"give the number of {name}s that there are"
            )
    flat = np.bincount(phones * num_clusters + clusters, minlength=num_phones * num_clusters)
    return flat.reshape(num_phones, num_clusters)


def phone_purity(counts: np.ndarray) -> float:
    """Share of frames whose phone is the commonest of their cluster: sum_z max_y p(y, z).

    It is 1 when every frame has its own cluster: compare at the same number of clusters.
    """
    counts = _counts(counts)
    return float(counts.max(0).sum() / counts.sum())


def cluster_purity(counts: np.ndarray) -> float:
    """Share of frames whose cluster is the commonest of their phone: sum_y max_z p(y, z).

    It falls as clusters get more: compare at the same number of them.
    """
    counts = _counts(counts)
    return float(counts.max(1).sum() / counts.sum())


def pnmi(counts: np.ndarray) -> float:
    """Phone-normalised mutual information I(y; z) / H(y) of phones y (rows) and clusters z.

    The share of the uncertainty about the phone that the cluster removes: 0 .. 1. Estimated from
    counts it is biased upward, the more so the more clusters: see `rolled_pnmi_null`.
    """
    counts = _counts(counts)
    joint = counts / counts.sum()  # (P, K)
    phones, clusters = joint.sum(1), joint.sum(0)
    there = joint > 0
    information = np.sum(joint[there] * np.log(joint[there] / np.outer(phones, clusters)[there]))
    entropy = -np.sum(phones[phones > 0] * np.log(phones[phones > 0]))
    if entropy == 0:
        raise ValueError("all frames have one phone; give utterances with two or more")
    return float(np.clip(information / entropy, 0, 1))


@dataclass(frozen=True)
class Null:
    """A PNMI beside what it would be without any relation of clusters and phones."""

    value: float
    draws: np.ndarray  # (draws,): PNMI under the null

    @property
    def mean(self) -> float:
        """The bias: PNMI to be expected of unrelated clusters."""
        return float(self.draws.mean())

    @property
    def excess(self) -> float:
        """What is above the bias; about 0 for unrelated clusters."""
        return self.value - self.mean


def rolled_pnmi_null(
    phones: np.ndarray, clusters: np.ndarray, draws: int = 100, seed: int = 0
) -> Null:
    """PNMI when clusters meet phones of elsewhere: ids (N,) of all frames, in order.

    The clusters are rolled against the phones by a random offset, at least a tenth of the frames:
    runs of one phone and of one cluster stay whole, which makes the bias as large as it is in
    speech (with runs of five frames twice that of frames dealt out singly). Phones of -1 are left
    out.
    """
    phones, clusters = np.asarray(phones), np.asarray(clusters)
    sizes = int(phones.max()) + 1, int(clusters.max()) + 1
    value = pnmi(joint_counts(phones, clusters, *sizes))
    phones, clusters = phones[phones != -1], clusters[phones != -1]
    frames = len(phones)
    offsets = np.random.default_rng(seed).integers(
        max(1, frames // 10), max(2, frames - frames // 10), draws
    )
    found = [pnmi(joint_counts(phones, np.roll(clusters, n), *sizes)) for n in offsets]
    return Null(value, np.array(found))


def _counts(counts: np.ndarray) -> np.ndarray:
    counts = np.asarray(counts)
    if counts.ndim != 2 or not np.issubdtype(counts.dtype, np.integer) or (counts < 0).any():
        raise ValueError(
            f"counts of shape {counts.shape} and type {counts.dtype}: expected whole numbers of "
            "frames (phones, clusters); make them with joint_counts"
        )
    if not counts.sum():
        raise ValueError("counts are all 0: no frame has a phone; check the alignments' tier")
    return counts.astype(np.int64)
