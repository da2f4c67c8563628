"""analysis/measures.py: each measure against a closed form or an independent implementation."""

import numpy as np
import pytest
from scipy import stats
from sklearn.cross_decomposition import CCA as SklearnCCA
from sklearn.metrics import confusion_matrix, mutual_info_score
from sklearn.metrics.cluster import expected_mutual_information
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import KNeighborsClassifier

from analysis import measures
from analysis.measures import cca, linear_cka, pnmi

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


# --- CCA


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
    assert cca(measures.view(x), measures.view(y)).pwcca == found.pwcca


def test_dimensions_beyond_the_rank_change_nothing(views):
    x, y = views
    found = cca(x, y)
    wide = x @ draw(6).standard_normal((6, 50))  # (400, 50) of rank 6
    for other in (
        np.hstack([x, x @ draw(7).standard_normal((6, 3)), np.full((400, 2), 0.3)]),
        wide,
        wide.astype(np.float32),  # features are: its rounding is not a direction
    ):
        assert measures.view(other).whitened.shape == (400, 6)
        np.testing.assert_allclose(cca(other, y).correlations, found.correlations, atol=1e-5)


def test_whitening_and_its_ridge(views):
    x, y = views
    white = measures.view(x)
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
        assert measures.view(x, variance=share[rank - 1] - 1e-9).whitened.shape[1] == rank
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
    fitted = measures.CCA(np.ones(2), np.full(2, 0.5), np.eye(2), np.eye(2))
    found = fitted.on(x, y)
    np.testing.assert_allclose(found.correlations, [1, 0], atol=EXACT)
    xc = x - x.mean(0)
    alpha = np.abs(xc.T @ xc).sum(1) / np.linalg.norm(xc, axis=0)
    np.testing.assert_allclose(found.weights, alpha / alpha.sum(), atol=EXACT)
    np.testing.assert_allclose(fitted.on(y, x).correlations, [1, 0], atol=EXACT)
    x[:, 1] = 0.1 * 3 * x[:, 0]  # the second direction is rounding alone
    rounding = measures.CCA(np.ones(2), np.full(2, 0.5), np.array([[1, 0.3], [0, -1]]), np.eye(2))
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
    found = cca(x, measures.one_hot(names))
    np.testing.assert_allclose(found.correlations**2, rho2, atol=EXACT)
    # identity against identity: correspondence analysis of their table
    other = np.where(rng.random(600) < 0.6, words, rng.integers(5, size=600)) // 2  # 3 kinds
    table = confusion_matrix(words, other)[:, :3] / 600
    expected = np.outer(table.sum(1), table.sum(0))
    values = np.linalg.svd((table - expected) / np.sqrt(expected), compute_uv=False)
    found = cca(measures.one_hot(words), measures.one_hot(other))
    np.testing.assert_allclose(found.correlations, values[:2], atol=EXACT)


def test_one_hot():
    found = measures.one_hot(["k", "ae", "k"])
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


# --- CKA


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


# --- Clusters against phones


@pytest.fixture
def frames():
    """Ids (2000,), (2000,) of 7 phones and 12 clusters that have to do with each other."""
    rng = draw()
    phones = rng.choice(7, 2000, p=np.arange(1, 8) / 28)
    return phones, np.where(rng.random(2000) < 0.6, phones, rng.integers(12, size=2000))


def test_joint_counts(frames):
    phones, clusters = frames
    counts = measures.joint_counts(phones, clusters, 7, 12)
    np.testing.assert_array_equal(counts, confusion_matrix(phones, clusters)[:7])
    small = measures.joint_counts(phones.astype(np.uint8), clusters.astype(np.int16), 7, 300)
    np.testing.assert_array_equal(small[:, :12], counts)
    left_out = np.where(phones == 3, -1, phones)
    counts[3] = 0
    np.testing.assert_array_equal(measures.joint_counts(left_out, clusters, 7, 12), counts)


def test_pnmi_is_that_of_scikit_learn(frames):
    phones, clusters = frames
    shares = np.bincount(phones) / 2000
    expected = mutual_info_score(phones, clusters) / stats.entropy(shares)
    counts = measures.joint_counts(phones, clusters, 9, 12)  # two phones that never come
    assert pnmi(counts) == pytest.approx(expected, abs=EXACT)


def test_pnmi_of_identical_and_of_independent_labels(frames):
    phones, _ = frames
    renamed = (phones * 5 + 2) % 7
    assert pnmi(measures.joint_counts(phones, renamed, 7, 7)) == pytest.approx(1, abs=EXACT)
    finer = renamed + 7 * draw().integers(2, size=2000)  # every cluster holds one phone
    assert pnmi(measures.joint_counts(phones, finer, 7, 14)) == pytest.approx(1, abs=EXACT)
    assert pnmi(np.outer([1, 2, 3], [4, 5])) == pytest.approx(0, abs=EXACT)


def test_purities_are_those_of_brute_force(frames):
    phones, clusters = frames
    counts = measures.joint_counts(phones, clusters, 7, 12)
    best_phone = {k: np.bincount(phones[clusters == k]).argmax() for k in set(clusters)}
    right = np.mean([best_phone[k] == p for p, k in zip(phones, clusters, strict=True)])
    assert measures.phone_purity(counts) == pytest.approx(right, abs=EXACT)
    best_cluster = {p: np.bincount(clusters[phones == p]).argmax() for p in set(phones)}
    right = np.mean([best_cluster[p] == k for p, k in zip(phones, clusters, strict=True)])
    assert measures.cluster_purity(counts) == pytest.approx(right, abs=EXACT)
    assert measures.phone_purity(np.eye(4, dtype=int)) == 1
    assert measures.cluster_purity(np.ones((4, 5), int)) == 0.2


def test_the_null_is_a_permutation_of_frames(frames):
    phones, clusters = frames
    clusters = draw(1).permutation(clusters)
    counts = measures.joint_counts(phones, clusters, 7, 12)
    null = measures.pnmi_null(counts, draws=400, seed=0)
    # the exact expectation over all permutations
    entropy = stats.entropy(np.bincount(phones))
    exact = expected_mutual_information(counts, 2000) / entropy
    error = null.draws.std() / 20  # of a mean of 400 draws
    assert null.mean == pytest.approx(exact, abs=4 * error)
    rng = draw(2)
    permuted = [pnmi(measures.joint_counts(phones, rng.permutation(clusters), 7, 12))
                for _ in range(400)]  # fmt: skip
    assert stats.ks_2samp(null.draws, permuted).pvalue > 0.001
    assert abs(null.excess) < 4 * null.draws.std()  # permuted labels hold nothing
    assert null.value > 0
    np.testing.assert_array_equal(null.draws, measures.pnmi_null(counts, 400, 0).draws)
    assert null.mean != measures.pnmi_null(counts, 400, 1).mean


def test_the_null_of_related_labels(frames):
    counts = measures.joint_counts(*frames, 7, 12)
    null = measures.pnmi_null(counts, draws=20)
    assert null.value == pnmi(counts)
    assert null.excess == pytest.approx(null.value - null.draws.mean(), abs=EXACT)
    assert null.mean < 0.05 < 0.2 < null.excess


def test_a_null_in_order_has_the_bias_of_runs():
    """Forty utterances of runs of five frames, against the PNMI of a million frames."""
    rng = draw()

    def utterances(runs):
        phones = rng.choice(30, runs, p=np.arange(30, 0, -1) / 465)
        clusters = np.where(rng.random(runs) < 0.5, 3 * phones, rng.integers(90, size=runs))
        return np.repeat(phones, 5), np.repeat(clusters, 5)

    truth = pnmi(measures.joint_counts(*utterances(200_000), 30, 90))
    phones, clusters = utterances(600)
    single = measures.pnmi_null(measures.joint_counts(phones, clusters, 30, 90), 20)
    in_order = measures.rolled_pnmi_null(phones, clusters, 20)
    assert single.value == in_order.value > truth + 0.15  # so large is the bias here
    assert abs(in_order.excess - truth) < 0.1 < single.excess - truth
    assert in_order.mean > 2 * single.mean
    silent = np.concatenate([phones, np.full(500, -1)])
    padded = measures.rolled_pnmi_null(silent, np.concatenate([clusters, np.zeros(500, int)]), 20)
    np.testing.assert_array_equal(padded.draws, in_order.draws)


def test_counts_that_are_none():
    with pytest.raises(ValueError, match="all 0: no frame has a phone; check the alignments' tier"):
        pnmi(np.zeros((2, 3), int))
    with pytest.raises(ValueError, match="type float64: expected whole numbers"):
        measures.phone_purity(np.ones((2, 3)))
    with pytest.raises(ValueError, match="all frames have one phone; give utterances with two"):
        pnmi(np.array([[3, 2], [0, 0]]))
    with pytest.raises(ValueError, match=r"shape \(2,\), clusters of \(3,\): expected one each"):
        measures.joint_counts(np.zeros(2, int), np.zeros(3, int), 1, 1)
    with pytest.raises(ValueError, match="cluster ids 0 to 5, expected 0 to 4; give the number of"):
        measures.joint_counts(np.array([0, 1]), np.array([0, 5]), 2, 5)
    with pytest.raises(ValueError, match=r"phones of type <U1.*label_ids"):
        measures.joint_counts(np.array(["a"]), np.array([0]), 2, 5)


# --- Chance and uncertainty


def test_bootstrap_of_a_mean_is_its_normal_interval():
    right = draw().integers(0, 101, 400)  # of 100 frames each
    share = right / 100
    found = measures.bootstrap(lambda w: (w @ right) / (w.sum() * 100), 400, draws=20_000)
    half = 1.96 * share.std() / 20
    assert found.value == pytest.approx(share.mean(), abs=EXACT)
    assert found.low == pytest.approx(share.mean() - half, abs=0.05 * half)
    assert found.high == pytest.approx(share.mean() + half, abs=0.05 * half)
    assert abs(found.bias) < 0.05 * half


def test_bootstrap_of_a_ratio_is_that_of_scipy():
    rng = draw()
    frames = rng.integers(20, 400, 60)
    right = rng.binomial(frames, rng.beta(5, 3, 60))
    found = measures.bootstrap(lambda w: (w @ right) / (w @ frames), 60, draws=5000)
    theirs = stats.bootstrap(
        (right, frames), lambda a, b, axis: a.sum(axis) / b.sum(axis), paired=True,
        n_resamples=5000, method="percentile", rng=1,
    ).confidence_interval  # fmt: skip
    width = theirs.high - theirs.low
    assert found.low == pytest.approx(theirs.low, abs=0.05 * width)
    assert found.high == pytest.approx(theirs.high, abs=0.05 * width)


def test_bootstrap_covers_the_truth_as_often_as_it_says():
    rng, hits = draw(), 0
    for trial in range(200):
        right = rng.binomial(50, rng.beta(6, 2, 80))  # frames of an utterance are alike
        found = measures.bootstrap(lambda w, r=right: w @ r / (50 * w.sum()), 80, 300, trial, 0.9)
        hits += found.low <= 0.75 <= found.high
    assert 0.83 <= hits / 200 <= 0.96  # 0.9 within three standard errors


def test_bootstrap_is_seeded_and_centred(frames):
    phones, clusters = (part.reshape(40, 50) for part in frames)
    counts = np.stack([measures.joint_counts(p, k, 7, 12)
                       for p, k in zip(phones, clusters, strict=True)])  # fmt: skip

    def statistic(weights):
        return pnmi(np.tensordot(weights, counts, 1))

    plain = measures.bootstrap(statistic, 40, 200, seed=3)
    assert plain == measures.bootstrap(statistic, 40, 200, seed=3)
    assert plain != measures.bootstrap(statistic, 40, 200, seed=4)
    moved = measures.bootstrap(statistic, 40, 200, seed=3, centred=True)
    assert plain.value == pnmi(counts.sum(0))
    assert plain.bias > 0
    assert moved.low == pytest.approx(plain.low - plain.bias, abs=EXACT)
    assert moved.low < moved.value < moved.high


def test_bootstrap_refuses():
    with pytest.raises(ValueError, match=r"1 utterances, 1000 draws, level 0.95: expected two"):
        measures.bootstrap(np.mean, 1)
    with (
        np.errstate(invalid="ignore"),
        pytest.raises(ValueError, match="not finite in every draw; give more utterances"),
    ):
        measures.bootstrap(lambda w: float(w[0]) / float(w[0]) if w[0] else np.nan, 3)


def test_majority():
    assert measures.majority(["a", "b", "b"]) == pytest.approx(2 / 3)
    assert measures.majority([2, 2, 1, 1, 0], [1, 1, 2, 0]) == 0.5  # the first of equals
    assert measures.majority(["a"], ["b"]) == 0
    with pytest.raises(ValueError, match="no labels; give one per frame or utterance"):
        measures.majority([])


def test_control_labels_belong_to_types():
    real = np.repeat(["a", "b", "c"], [60, 30, 10])
    types = [f"word{i}" for i in draw().integers(4000, size=20_000)]
    labels = measures.control_labels(types, real, seed=1)
    given = dict(zip(types, labels, strict=True))
    assert all(given[kind] == label for kind, label in zip(types, labels, strict=True))
    observed = np.unique(list(given.values()), return_counts=True)[1]
    assert stats.chisquare(observed, len(given) * np.array([0.6, 0.3, 0.1])).pvalue > 0.001
    # the same for the types of other data, others under another seed
    np.testing.assert_array_equal(measures.control_labels(types[:9], real, 1), labels[:9])
    other = measures.control_labels(types, real, seed=2)
    agree = np.mean(np.array(list(given.values()))
                    == np.array(list(dict(zip(types, other, strict=True)).values())))  # fmt: skip
    assert agree == pytest.approx(0.36 + 0.09 + 0.01, abs=0.03)
    assert set(measures.control_labels([("k", 1), 7], [5], 0)) == {5}
    with pytest.raises(ValueError, match="no labels; give those of the real task"):
        measures.control_labels(["a"], [])


def test_control_labels_are_learnt_by_memory_alone():
    """A probe that remembers types solves the control task, one that sees the meaning does not."""
    rng = draw()
    types = rng.integers(50, size=2000)
    real = types % 2
    control = measures.control_labels(types.tolist(), real)
    memory, meaning = np.eye(50)[types], real[:, None] + 0.01 * rng.standard_normal((2000, 1))

    def score(x, y):
        return cross_val_score(KNeighborsClassifier(25), x, y, cv=3).mean()

    assert score(memory, real) - score(memory, control) < 0.02
    assert score(meaning, real) - score(meaning, control) > 0.3
