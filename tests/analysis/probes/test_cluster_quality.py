"""analysis/probes/cluster_quality.py: against closed forms and independent implementations."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import confusion_matrix, mutual_info_score

from analysis.probes import cluster_quality
from analysis.probes.cluster_quality import pnmi

EXACT = 1e-9  # float64 against float64: rounding only


def draw(seed=0):
    return np.random.default_rng(seed)


@pytest.fixture
def frames():
    """Ids (2000,), (2000,) of 7 phones and 12 clusters that have to do with each other."""
    rng = draw()
    phones = rng.choice(7, 2000, p=np.arange(1, 8) / 28)
    return phones, np.where(rng.random(2000) < 0.6, phones, rng.integers(12, size=2000))


def test_joint_counts(frames):
    phones, clusters = frames
    counts = cluster_quality.joint_counts(phones, clusters, 7, 12)
    np.testing.assert_array_equal(counts, confusion_matrix(phones, clusters)[:7])
    small = cluster_quality.joint_counts(phones.astype(np.uint8), clusters.astype(np.int16), 7, 300)
    np.testing.assert_array_equal(small[:, :12], counts)
    left_out = np.where(phones == 3, -1, phones)
    counts[3] = 0
    np.testing.assert_array_equal(cluster_quality.joint_counts(left_out, clusters, 7, 12), counts)


def test_pnmi_is_that_of_scikit_learn(frames):
    phones, clusters = frames
    shares = np.bincount(phones) / 2000
    expected = mutual_info_score(phones, clusters) / stats.entropy(shares)
    counts = cluster_quality.joint_counts(phones, clusters, 9, 12)  # two phones that never come
    assert pnmi(counts) == pytest.approx(expected, abs=EXACT)


def test_pnmi_of_identical_and_of_independent_labels(frames):
    phones, _ = frames
    renamed = (phones * 5 + 2) % 7
    assert pnmi(cluster_quality.joint_counts(phones, renamed, 7, 7)) == pytest.approx(1, abs=EXACT)
    finer = renamed + 7 * draw().integers(2, size=2000)  # every cluster holds one phone
    assert pnmi(cluster_quality.joint_counts(phones, finer, 7, 14)) == pytest.approx(1, abs=EXACT)
    assert pnmi(np.outer([1, 2, 3], [4, 5])) == pytest.approx(0, abs=EXACT)


def test_purities_are_those_of_brute_force(frames):
    phones, clusters = frames
    counts = cluster_quality.joint_counts(phones, clusters, 7, 12)
    best_phone = {k: np.bincount(phones[clusters == k]).argmax() for k in set(clusters)}
    right = np.mean([best_phone[k] == p for p, k in zip(phones, clusters, strict=True)])
    assert cluster_quality.phone_purity(counts) == pytest.approx(right, abs=EXACT)
    best_cluster = {p: np.bincount(clusters[phones == p]).argmax() for p in set(phones)}
    right = np.mean([best_cluster[p] == k for p, k in zip(phones, clusters, strict=True)])
    assert cluster_quality.cluster_purity(counts) == pytest.approx(right, abs=EXACT)
    assert cluster_quality.phone_purity(np.eye(4, dtype=int)) == 1
    assert cluster_quality.cluster_purity(np.ones((4, 5), int)) == 0.2


def test_a_null_in_order_has_the_bias_of_runs():
    """Forty utterances of runs of five frames, against the PNMI of a million frames."""
    rng = draw()

    def utterances(runs):
        phones = rng.choice(30, runs, p=np.arange(30, 0, -1) / 465)
        clusters = np.where(rng.random(runs) < 0.5, 3 * phones, rng.integers(90, size=runs))
        return np.repeat(phones, 5), np.repeat(clusters, 5)

    truth = pnmi(cluster_quality.joint_counts(*utterances(200_000), 30, 90))
    phones, clusters = utterances(600)
    value = pnmi(cluster_quality.joint_counts(phones, clusters, 30, 90))
    dealt = [rng.permutation(clusters) for _ in range(20)]  # frame by frame
    single = np.mean([pnmi(cluster_quality.joint_counts(phones, d, 30, 90)) for d in dealt])
    in_order = cluster_quality.rolled_pnmi_null(phones, clusters, 20)
    assert in_order.value == value > truth + 0.15  # so large is the bias here
    assert abs(in_order.excess - truth) < 0.1 < value - single - truth
    assert in_order.excess == pytest.approx(value - in_order.draws.mean(), abs=EXACT)
    assert in_order.mean > 2 * single
    silent = np.concatenate([phones, np.full(500, -1)])
    padded = cluster_quality.rolled_pnmi_null(
        silent, np.concatenate([clusters, np.zeros(500, int)]), 20
    )
    np.testing.assert_array_equal(padded.draws, in_order.draws)


def test_counts_that_are_none():
    with pytest.raises(ValueError, match="all 0: no frame has a phone; check the alignments' tier"):
        pnmi(np.zeros((2, 3), int))
    with pytest.raises(ValueError, match="type float64: expected whole numbers"):
        cluster_quality.phone_purity(np.ones((2, 3)))
    with pytest.raises(ValueError, match="all frames have one phone; give utterances with two"):
        pnmi(np.array([[3, 2], [0, 0]]))
    with pytest.raises(ValueError, match=r"shape \(2,\), clusters of \(3,\): expected one each"):
        cluster_quality.joint_counts(np.zeros(2, int), np.zeros(3, int), 1, 1)
    with pytest.raises(ValueError, match="cluster ids 0 to 5, expected 0 to 4; give the number of"):
        cluster_quality.joint_counts(np.array([0, 1]), np.array([0, 5]), 2, 5)
    with pytest.raises(ValueError, match=r"phones of type <U1.*np.unique"):
        cluster_quality.joint_counts(np.array(["a"]), np.array([0]), 2, 5)
