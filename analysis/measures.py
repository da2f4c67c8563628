"""What a representation holds: views compared (CCA, CKA), clusters against phones, and chance.

Shapes: N frames or segments, D dimensions, P phones, K clusters or labels, U utterances. All in
float64 on the CPU; what is drawn at random follows from ``seed``.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from mt4ssl_core.manifest import stable_hash

RANK = 1e-6  # singular values below this share of the largest are rounding: features are float32


# --- Canonical correlation analysis -------------------------------------------------------------


@dataclass(frozen=True)
class View:
    """A representation centred and whitened, once for every other that it is compared with."""

    whitened: np.ndarray  # (N, R): Z = Xc M
    directions: np.ndarray  # (D, R): M
    loadings: np.ndarray  # (R, D): Z' Xc


@dataclass(frozen=True)
class CCA:
    """Canonical correlations of two views, and what they were projected with.

    ``weights`` are those of PWCCA, by the first view; they sum to 1.
    """

    correlations: np.ndarray  # (C,), descending where fitted without ridge
    weights: np.ndarray  # (C,)
    first: np.ndarray  # (D1, C)
    second: np.ndarray  # (D2, C)

    @property
    def mean(self) -> float:
        """The mean correlation."""
        return float(self.correlations.mean())

    @property
    def pwcca(self) -> float:
        """The mean correlation, weighted by how much of the first view a direction explains."""
        return float(self.weights @ self.correlations)

    def on(self, first: np.ndarray, second: np.ndarray) -> "CCA":
        """Correlations of the same directions on other data, (N, D1) and (N, D2).

        Unlike those on the data they were fitted on, they do not grow with D / N. A direction that
        does not vary there counts as 0.
        """
        x, y = _centred(first, "the first view"), _centred(second, "the second view")
        _same_rows(x, y)
        for data, fitted in ((x, self.first), (y, self.second)):
            if data.shape[1] != len(fitted):
                raise ValueError(
                    f"{data.shape[1]} dimensions, fitted on {len(fitted)}; give the same view"
                )
        p = x @ self.first  # (N, C)
        return _cca(p, y @ self.second, p.T @ x, self.first, self.second)


def view(features: np.ndarray, ridge: float = 0.0, variance: float = 1.0) -> View:
    """Centre and whiten (N, D) features, of any rank.

    With Xc = U S V' (rank R, see ``RANK``): Z = U S / sqrt(S^2 + ridge * mean(S^2)), so that
    Z'Z = I without ridge. ``ridge`` is thus a share of the mean variance of a principal direction.
    ``variance`` below 1 keeps the fewest principal directions with that share of the variance.

    Raises:
        ValueError: not (N, D), NaN or infinity, constant; settings out of range.
    """
    if ridge < 0 or not 0 < variance <= 1:
        raise ValueError(
            f"ridge {ridge}, variance {variance}: expected ridge >= 0 and 0 < variance <= 1; "
            "correct them"
        )
    u, s, vt = np.linalg.svd(_centred(features, "features"), full_matrices=False)
    rank = int((s > RANK * s[0]).sum())
    if variance < 1:
        share = np.cumsum(s**2) / np.sum(s**2)
        rank = min(rank, int(np.searchsorted(share, variance)) + 1)
    u, s, vt = u[:, :rank], s[:rank], vt[:rank]
    root = np.sqrt(s**2 + ridge * np.mean(s**2))  # (R,)
    return View(u * (s / root), vt.T / root, (s**2 / root)[:, None] * vt)


def cca(
    first: np.ndarray | View, second: np.ndarray | View, ridge: float = 0.0, variance: float = 1.0
) -> CCA:
    """Canonical correlations of two views of the same N frames: (N, D1) and (N, D2), or Views.

    Directions a_i, b_i, i = 1 .. C = min(rank, rank), are the singular vectors of Z1'Z2, where Z1
    and Z2 are the whitened views (:func:`view`); rho_i = corr(Z1 a_i, Z2 b_i). Then

        mean CCA = sum_i rho_i / C
        PWCCA    = sum_i alpha_i rho_i / sum_i alpha_i,  alpha_i = sum_j |<h_i, x_j>|

    with h_i = Z1 a_i at unit length and x_j the centred columns of the *first* view (Morcos et al.
    2018; Pasad et al. 2021, 2023 compare a layer with mel, phones and words so). PWCCA is therefore
    not symmetric. Without ridge, correlations are the same after any invertible linear map of a
    view; the weights after a map of the second, or a scale or shift of the first.

    Correlations on the data they are fitted on grow with (D1 + D2) / N: use :meth:`CCA.on` with
    other utterances.

    Raises:
        ValueError: other lengths, or too few frames for the ranks.
    """
    x = first if isinstance(first, View) else view(first, ridge, variance)
    y = second if isinstance(second, View) else view(second, ridge, variance)
    _same_rows(x.whitened, y.whitened)
    frames, ranks = len(x.whitened), (x.whitened.shape[1], y.whitened.shape[1])
    if sum(ranks) > frames - 1:
        raise ValueError(
            f"{frames} frames for views of rank {ranks[0]} and {ranks[1]}: some correlations would "
            f"be 1 whatever the data; give more than {sum(ranks)} frames, or set variance below 1"
        )
    a, _, bt = np.linalg.svd(x.whitened.T @ y.whitened, full_matrices=False)  # (R1, C), (C, R2)
    inner = a.T @ x.loadings  # (C, D1)
    p, q = x.whitened @ a, y.whitened @ bt.T  # (N, C)
    return _cca(p, q, inner, x.directions @ a, y.directions @ bt.T)


def _cca(
    p: np.ndarray, q: np.ndarray, inner: np.ndarray, first: np.ndarray, second: np.ndarray
) -> CCA:
    """CCA of projections (N, C) and (N, C); ``inner``: p' Xc (C, D1)."""
    lengths = np.linalg.norm(p, axis=0), np.linalg.norm(q, axis=0)  # (C,) each
    # 0 instead of 1 / length where a direction does not vary
    scale_p, scale_q = (np.where(n > RANK * n.max(), 1 / np.maximum(n, 1e-300), 0) for n in lengths)
    correlations = (p * q).sum(0) * scale_p * scale_q
    alpha = np.abs(inner).sum(1) * scale_p
    return CCA(np.clip(correlations, -1, 1), alpha / alpha.sum(), first, second)


def one_hot(labels: Sequence | np.ndarray) -> np.ndarray:
    """The identity of labels (phones, words) as a view: (N,) -> (N, K), K distinct labels, sorted.

    Its rank is K - 1 once centred, which CCA takes care of.
    """
    names, ids = np.unique(np.asarray(labels), return_inverse=True)
    return np.eye(len(names))[ids]


# --- Centred kernel alignment -------------------------------------------------------------------


def linear_cka(first: np.ndarray, second: np.ndarray) -> float:
    """Linear CKA of (N, D1) and (N, D2), centred (Kornblith et al. 2019), in feature space.

        CKA = |Y'X|^2 / (|X'X| |Y'Y|)  (Frobenius norms)

    The same after an orthogonal map, a scale (one for all dimensions) or a shift of either, not
    after other linear maps. Biased upward where N is not large against D.

    Raises:
        ValueError: not (N, D), NaN or infinity, other lengths, a constant view.
    """
    x, y = _centred(first, "the first view"), _centred(second, "the second view")
    _same_rows(x, y)
    x, y = x / np.abs(x).max(), y / np.abs(y).max()  # fourth powers stay in range
    norm = np.linalg.norm
    return float(norm(y.T @ x) ** 2 / (norm(x.T @ x) * norm(y.T @ y)))


def _centred(values: np.ndarray, name: str) -> np.ndarray:
    """(N, D) float64 without the mean of each column."""
    matrix = np.asarray(values, dtype=np.float64)
    if matrix.ndim != 2 or 0 in matrix.shape:
        raise ValueError(
            f"{name}: shape {matrix.shape}, expected (N, D); give a row per frame or segment"
        )
    if not np.isfinite(matrix).all():
        raise ValueError(f"{name}: NaN or infinity; leave those rows out")
    centred = matrix - matrix.mean(0)
    if np.abs(centred).max() <= 1e-12 * np.abs(matrix).max():
        raise ValueError(f"{name}: all rows are the same; give a view that varies")
    return centred


def _same_rows(x: np.ndarray, y: np.ndarray) -> None:
    if len(x) != len(y):
        raise ValueError(
            f"views of {len(x)} and {len(y)} rows, expected the same frames; cut them alike"
        )


# --- Clusters against phones (HuBERT, section IV) -----------------------------------------------


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
            "labels with analysis.alignments.label_ids"
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
    counts it is biased upward, the more so the more clusters: see :func:`pnmi_null`.
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


def pnmi_null(counts: np.ndarray, draws: int = 100, seed: int = 0) -> Null:
    """PNMI when frames are dealt to the clusters at random, both totals kept (a permutation).

    It takes every frame for an independent draw. In speech neighbours are alike, so the true bias
    is larger: see :func:`rolled_pnmi_null`.
    """
    counts, rng = _counts(counts), np.random.default_rng(seed)
    table, found = np.zeros_like(counts), []
    for _ in range(draws):
        left = counts.sum(0)
        for row, frames in enumerate(counts.sum(1)):
            table[row] = rng.multivariate_hypergeometric(left, frames)
            left = left - table[row]
        found.append(pnmi(table))
    return Null(pnmi(counts), np.array(found))


def rolled_pnmi_null(
    phones: np.ndarray, clusters: np.ndarray, draws: int = 100, seed: int = 0
) -> Null:
    """PNMI when clusters meet phones of elsewhere: ids (N,) of all frames, in order.

    The clusters are rolled against the phones by a random offset, at least a tenth of the frames:
    runs of one phone and of one cluster stay whole, which makes the bias as large as it is in
    speech (with runs of five frames twice that of single frames). Phones of -1 are left out.
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


# --- Chance and uncertainty ---------------------------------------------------------------------


@dataclass(frozen=True)
class Estimate:
    """A value and its confidence interval.

    ``bias``: by how much the mean of the bootstrap's draws is above the value.
    """

    value: float
    low: float
    high: float
    bias: float


def bootstrap(
    statistic: Callable[[np.ndarray], float],
    utterances: int,
    draws: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    centred: bool = False,
) -> Estimate:
    """Percentile interval of a statistic, drawing whole utterances again with replacement.

    Frames of an utterance are alike, so drawing frames would give intervals far too narrow; where
    speakers matter, let speakers be the units. ``statistic`` gets how often each unit was drawn,
    (U,) int64. With sums per utterance, the accuracy is ``lambda w: (w @ right) / (w @ frames)``,
    PNMI ``lambda w: pnmi(np.tensordot(w, counts, 1))``; the difference of two models, drawn
    together, is as simple.

    Each draw has fewer distinct utterances than there are. What grows when there is less data
    (PNMI, purity, CCA on its own data) is higher in the draws than its value, which may lie outside
    their interval: ``centred`` moves it back by ``bias``. It then says how much the value scatters;
    the value's own bias is another matter (:class:`Null`).

    Raises:
        ValueError: fewer than two utterances, settings out of range, a statistic that is not
            finite.
    """
    if utterances < 2 or draws < 1 or not 0 < level < 1:
        raise ValueError(
            f"{utterances} utterances, {draws} draws, level {level}: expected two or more "
            "utterances, a draw, and a level between 0 and 1; correct them"
        )
    shares = np.full(utterances, 1 / utterances)
    weights = np.random.default_rng(seed).multinomial(utterances, shares, draws)  # (draws, U)
    value = float(statistic(np.ones(utterances, np.int64)))
    found = np.array([statistic(row) for row in weights], dtype=float)
    if not np.isfinite([value, *found]).all():
        raise ValueError(
            "the statistic is not finite in every draw; give more utterances, or leave out rare "
            "labels"
        )
    low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2])
    bias = float(found.mean()) - value
    shift = bias if centred else 0.0
    return Estimate(value, float(low) - shift, float(high) - shift, bias)


def majority(train: Sequence | np.ndarray, test: Sequence | np.ndarray | None = None) -> float:
    """Accuracy on ``test`` of always saying the commonest label of ``train`` (the first of equals).

    Without ``test``, on ``train`` itself.
    """
    if not len(train) or (test is not None and not len(test)):
        raise ValueError("no labels; give one per frame or utterance")
    names, counts = np.unique(np.asarray(train), return_counts=True)
    return float(np.mean(np.asarray(train if test is None else test) == names[counts.argmax()]))


def control_labels(
    types: Sequence[Hashable], labels: Sequence | np.ndarray, seed: int = 0
) -> np.ndarray:
    """Labels of a control task (Hewitt & Liang 2019): one per type, at random, (N,) for N tokens.

    ``types`` says what each token is (a word, a cluster, a speaker); all tokens of a type get the
    same label, drawn from the distribution of ``labels`` (those of the real task). A probe learns
    these by memory alone: real minus control accuracy is its selectivity. The label depends on
    (seed, type, ``labels``) only, so training and test data agree when ``labels`` is the same.
    """
    names, counts = np.unique(np.asarray(labels), return_counts=True)
    if not len(names):
        raise ValueError("no labels; give those of the real task")
    edges = np.cumsum(counts) / counts.sum()
    at = {kind: stable_hash("control task", seed, kind) / 2**64 for kind in set(types)}
    return names[np.searchsorted(edges[:-1], [at[kind] for kind in types], side="right")]
