"""Similarity: each measure against a closed form or an independent implementation."""

import numpy as np
import pytest
from sklearn.cross_decomposition import CCA as SklearnCCA
from sklearn.metrics import confusion_matrix

from analysis.probes import similarity
from analysis.probes.similarity import cca, linear_cka

EXACT = 1e-9  # float64 against float64: rounding only


def draw(seed=0):
    return np.random.default_rng(seed)


@pytest.fixture
def views():
    """Views (400, 6) and (400, 4) that share two dimensions, the second in noise."""
    rng = draw()
    shared = rng.standard_normal((400, 2))
    x = np.hstack([shared, rng.standard_normal((400, 4))]) @ rng.standard_normal((6, 6))
    y = np.hstack([shared + 0.5 * rng.standard_normal((400, 2)), rng.standard_normal((400, 2))])
    return x + 3.0, y @ rng.standard_normal((4, 4)) - 1.0


def rotation(size, seed=1):
    return np.linalg.qr(draw(seed).standard_normal((size, size)))[0]


def by_qr(x, y):
    """Correlations, and unit canonical variables of x: Bjorck & Golub, QR then SVD."""
    qx, _ = np.linalg.qr(x - x.mean(0))
    qy, _ = np.linalg.qr(y - y.mean(0))
    u, s, _ = np.linalg.svd(qx.T @ qy)
    return s, (qx @ u)[:, : len(s)]


def test_cca_is_that_of_qr_and_svd_and_of_scikit_learn(views):
    x, y = views
    found = cca(x, y)
    expected, variables = by_qr(x, y)
    np.testing.assert_allclose(found.correlations, expected, atol=EXACT)
    assert found.mean == pytest.approx(expected.mean(), abs=EXACT)
    # PWCCA, from its definition
    alpha = [sum(abs(h @ column) for column in (x - x.mean(0)).T) for h in variables.T]
    assert found.pwcca == pytest.approx(np.average(expected, weights=alpha), abs=EXACT)
    # an iterative algorithm: its tolerance is on squared steps of 1e-12
    fitted = SklearnCCA(4, max_iter=20_000, tol=1e-12).fit(x, y)
    p, q = fitted.transform(x, y)
    theirs = [np.corrcoef(p[:, i], q[:, i])[0, 1] for i in range(4)]
    np.testing.assert_allclose(found.correlations, theirs, atol=1e-5)


def test_cca_of_a_known_covariance():
    """Two views whose population correlations are 0.9, 0.5 and 0."""
    rng, n, rho = draw(), 200_000, np.array([0.9, 0.5, 0.0])
    x = rng.standard_normal((n, 3))
    y = rho * x + np.sqrt(1 - rho**2) * rng.standard_normal((n, 3))
    found = cca(x @ rotation(3), y @ draw(2).standard_normal((3, 3)))
    np.testing.assert_allclose(found.correlations, rho, atol=0.01)  # standard error 1/sqrt(n): .002


def test_cca_of_one_dimension_is_the_correlation_and_of_many_multiple_regression(views):
    x, y = views
    r = np.corrcoef(x[:, 0], y[:, 0])[0, 1]
    assert cca(x[:, :1], y[:, :1]).pwcca == pytest.approx(abs(r), abs=EXACT)
    design = np.hstack([np.ones((400, 1)), x])
    residual = y[:, 0] - design @ np.linalg.lstsq(design, y[:, 0])[0]
    r2 = 1 - residual.var() / y[:, 0].var()
    assert cca(x, y[:, :1]).pwcca == pytest.approx(np.sqrt(r2), abs=EXACT)


def test_cca_of_a_linear_map_is_one(views):
    x, _ = views
    for other in (x @ rotation(6), x @ draw(3).standard_normal((6, 6)) + 5, 1e-4 * x):
        found = cca(x, other)
        np.testing.assert_allclose(found.correlations, 1, atol=EXACT)
        assert found.mean == pytest.approx(1, abs=EXACT)
        assert found.pwcca == pytest.approx(1, abs=EXACT)


def test_what_cca_does_not_depend_on(views):
    x, y = views
    found, order = cca(x, y), draw().permutation(400)
    a, b = draw(4).standard_normal((6, 6)), draw(5).standard_normal((4, 4))
    mapped = cca(x @ a - 2, 100 * y @ b)
    np.testing.assert_allclose(mapped.correlations, found.correlations, atol=EXACT)
    assert cca(7 * x + 1, y @ b).pwcca == pytest.approx(found.pwcca, abs=EXACT)
    assert cca(x[order], y[order]).pwcca == pytest.approx(found.pwcca, abs=EXACT)
    np.testing.assert_allclose(cca(y, x).correlations, found.correlations, atol=EXACT)
    assert cca(y, x).pwcca != pytest.approx(found.pwcca, abs=0.01)  # weighted by the first view
    assert cca(similarity.view(x), similarity.view(y)).pwcca == found.pwcca


def test_dimensions_beyond_the_rank_change_nothing(views):
    x, y = views
    found = cca(x, y)
    wide = x @ draw(6).standard_normal((6, 50))  # (400, 50) of rank 6
    for other in (
        np.hstack([x, x @ draw(7).standard_normal((6, 3)), np.full((400, 2), 0.3)]),
        wide,
        wide.astype(np.float32),  # features are: its rounding is not a direction
    ):
        assert similarity.view(other).whitened.shape == (400, 6)
        np.testing.assert_allclose(cca(other, y).correlations, found.correlations, atol=1e-5)


def test_whitening_and_its_ridge(views):
    x, y = views
    white = similarity.view(x)
    np.testing.assert_allclose(white.whitened.T @ white.whitened, np.eye(6), atol=EXACT)
    np.testing.assert_allclose((x - x.mean(0)) @ white.directions, white.whitened, atol=EXACT)
    np.testing.assert_allclose(
        white.whitened.T @ (x - x.mean(0)), white.loadings, atol=EXACT * np.abs(x).max() * 20
    )
    # ridge: the same directions as of the generalised eigenproblem with a larger diagonal
    ridge = 0.3
    xc, yc = x - x.mean(0), y - y.mean(0)
    sx, sy = (c.T @ c + ridge * np.trace(c.T @ c) / c.shape[1] * np.eye(c.shape[1])
              for c in (xc, yc))  # fmt: skip
    found = cca(x, y, ridge=ridge)
    matrix = np.linalg.solve(sx, xc.T @ yc) @ np.linalg.solve(sy, yc.T @ xc)
    values, vectors = np.linalg.eig(matrix)
    top = vectors[:, values.real.argmax()].real
    assert abs(np.corrcoef(xc @ top, xc @ found.first[:, 0])[0, 1]) == pytest.approx(1, abs=1e-9)
    p, q = xc @ found.first[:, 0], yc @ found.second[:, 0]
    assert found.correlations[0] == pytest.approx(np.corrcoef(p, q)[0, 1], abs=EXACT)
    assert cca(x, y).correlations[0] > found.correlations[0] > 0.5
    rotated = cca(5 * x @ rotation(6), y, ridge=ridge)  # a ridge keeps rotations and scale
    np.testing.assert_allclose(rotated.correlations, found.correlations, atol=EXACT)


def test_variance_keeps_principal_directions(views):
    x, y = views
    s = np.linalg.svd(x - x.mean(0), compute_uv=False)
    share = np.cumsum(s**2) / np.sum(s**2)
    for rank in (1, 3, 5):
        assert similarity.view(x, variance=share[rank - 1] - 1e-9).whitened.shape[1] == rank
    u, _, _ = np.linalg.svd(x - x.mean(0))
    np.testing.assert_allclose(
        cca(x, y, variance=share[2] - 1e-9).correlations,
        by_qr(u[:, :3], u_of(y, share_of=share[2] - 1e-9))[0], atol=EXACT,
    )  # fmt: skip


def u_of(y, share_of):
    u, s, _ = np.linalg.svd(y - y.mean(0))
    return u[:, : int((np.cumsum(s**2) / np.sum(s**2) < share_of).sum()) + 1]


def test_held_out_correlations_do_not_grow_with_dimensions():
    rng = draw()
    x, y = rng.standard_normal((400, 60)), rng.standard_normal((400, 60))  # unrelated
    fitted = cca(x[:200], y[:200])
    held_out = fitted.on(x[200:], y[200:])
    assert fitted.mean > 0.4
    assert abs(held_out.mean) < 0.04  # 60 correlations of standard error 1/sqrt(200)
    again = fitted.on(x[:200], y[:200])
    np.testing.assert_allclose(again.correlations, fitted.correlations, atol=EXACT)
    np.testing.assert_allclose(again.weights, fitted.weights, atol=EXACT)
    flat = np.hstack([y[200:, :1], np.zeros((200, 59))])
    with pytest.raises(ValueError, match="59 dimensions, fitted on 60; give the same view"):
        fitted.on(x[200:, :59], flat)


def test_a_direction_that_does_not_vary_counts_as_nothing():
    x, y = draw().standard_normal((2, 150, 2))
    x[:, 0] = y[:, 0]
    y[:, 1] = 0.1
    fitted = similarity.CCA(np.ones(2), np.full(2, 0.5), np.eye(2), np.eye(2))
    found = fitted.on(x, y)
    np.testing.assert_allclose(found.correlations, [1, 0], atol=EXACT)
    xc = x - x.mean(0)
    alpha = np.abs(xc.T @ xc).sum(1) / np.linalg.norm(xc, axis=0)
    np.testing.assert_allclose(found.weights, alpha / alpha.sum(), atol=EXACT)
    np.testing.assert_allclose(fitted.on(y, x).correlations, [1, 0], atol=EXACT)
    x[:, 1] = 0.1 * 3 * x[:, 0]  # the second direction is rounding alone
    rounding = similarity.CCA(np.ones(2), np.full(2, 0.5), np.array([[1, 0.3], [0, -1]]), np.eye(2))
    np.testing.assert_allclose(rounding.on(x, x).correlations, [1, 0], atol=EXACT)
    np.testing.assert_allclose(fitted.on(y, x).pwcca, 1, atol=EXACT)


def test_cca_with_identity_is_that_of_group_means():
    """Linear discriminant analysis: rho^2 = between / total scatter along each direction."""
    rng = draw()
    words = rng.integers(5, size=600)
    x = rng.standard_normal((5, 3))[words] + rng.standard_normal((600, 3))
    xc = x - x.mean(0)
    means = np.stack([xc[words == word].mean(0) for word in range(5)])[words]
    rho2 = np.sort(np.linalg.eigvals(np.linalg.solve(xc.T @ xc, means.T @ means)).real)[::-1]
    names = np.array(["b", "d", "a", "e", "c"])[words]
    found = cca(x, similarity.one_hot(names))
    np.testing.assert_allclose(found.correlations**2, rho2, atol=EXACT)
    # identity against identity: correspondence analysis of their table
    other = np.where(rng.random(600) < 0.6, words, rng.integers(5, size=600)) // 2  # 3 kinds
    table = confusion_matrix(words, other)[:, :3] / 600
    expected = np.outer(table.sum(1), table.sum(0))
    values = np.linalg.svd((table - expected) / np.sqrt(expected), compute_uv=False)
    found = cca(similarity.one_hot(words), similarity.one_hot(other))
    np.testing.assert_allclose(found.correlations, values[:2], atol=EXACT)


def test_one_hot():
    found = similarity.one_hot(["k", "ae", "k"])
    np.testing.assert_array_equal(found, [[0, 1], [1, 0], [0, 1]])
    assert found.dtype == np.float64


@pytest.mark.parametrize("measure", [cca, linear_cka])
def test_views_that_cannot_be_compared(measure, views):
    x, y = views
    with pytest.raises(ValueError, match="views of 400 and 399 rows, expected the same frames"):
        measure(x, y[1:])
    with pytest.raises(ValueError, match=r"shape \(400,\), expected \(N, D\); give a row"):
        measure(x, y[:, 0])
    with pytest.raises(ValueError, match="NaN or infinity; leave those rows out"):
        measure(x, np.where(y > 2, np.nan, y))
    with pytest.raises(ValueError, match="all rows are the same; give a view that varies"):
        measure(x, np.full((400, 2), 0.1))


def test_cca_needs_more_frames_than_dimensions(views):
    x, y = views
    assert cca(x[:11], y[:11]).mean < 1
    with pytest.raises(ValueError, match=r"10 frames for views of rank 6 and 4: .* give more than"):
        cca(x[:10], y[:10])
    with pytest.raises(ValueError, match=r"ridge -1, variance 1.0: expected ridge >= 0"):
        cca(x, y, ridge=-1)


def test_linear_cka_is_the_hsic_of_gram_matrices(views):
    x, y = views
    centre = np.eye(400) - 1 / 400

    def hsic(a, b):
        return np.trace(centre @ (a @ a.T) @ centre @ (b @ b.T))

    expected = hsic(x, y) / np.sqrt(hsic(x, x) * hsic(y, y))
    assert linear_cka(x, y) == pytest.approx(expected, abs=EXACT)
    assert linear_cka(y, x) == pytest.approx(expected, abs=EXACT)
    wide = draw(8).standard_normal((20, 300))  # more dimensions than frames
    gram = (wide - wide.mean(0)) @ (wide - wide.mean(0)).T
    line = draw(9).standard_normal(20)
    line -= line.mean()
    expected = line @ gram @ line / (np.linalg.norm(gram) * (line @ line))
    assert linear_cka(wide, line[:, None]) == pytest.approx(expected, abs=EXACT)


def test_linear_cka_of_one_dimension_is_the_squared_correlation(views):
    x, y = views
    r = np.corrcoef(x[:, 0], y[:, 0])[0, 1]
    assert linear_cka(x[:, :1], y[:, :1]) == pytest.approx(r**2, abs=EXACT)


def test_what_linear_cka_does_not_depend_on(views):
    x, y = views
    found = linear_cka(x, y)
    assert linear_cka(x, 3 * x @ rotation(6) + 2) == pytest.approx(1, abs=EXACT)
    assert linear_cka(1e-90 * x @ rotation(6), 1e90 * y) == pytest.approx(found, abs=EXACT)
    assert abs(linear_cka(x @ np.diag([9, 1, 1, 1, 1, 1]), y) - found) > 0.01  # does on others
    line = draw(9).standard_normal((400, 2))
    exact = np.linalg.qr(np.hstack([np.ones((400, 1)), line]))[0][:, 1:]
    assert linear_cka(exact[:, :1], exact[:, 1:]) == pytest.approx(0, abs=EXACT)
