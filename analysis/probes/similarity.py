"""Two views of the same frames compared: canonical correlations (CCA, PWCCA) and linear CKA.

Shapes: N frames or segments, D dimensions, C canonical directions, K labels. All in float64 on the
CPU.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

RANK = 1e-6  # singular values below this share of the largest are rounding: features are float32


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
