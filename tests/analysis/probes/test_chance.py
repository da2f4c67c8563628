"""analysis/probes/chance.py: against closed forms and independent implementations."""

import numpy as np
import pytest
from scipy import stats
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import KNeighborsClassifier

from analysis.probes import chance, cluster_quality
from analysis.probes.cluster_quality import pnmi

EXACT = 1e-9  # float64 against float64: rounding only


def draw(seed=0):
    return np.random.default_rng(seed)


def test_bootstrap_of_a_mean_is_its_normal_interval():
    right = draw().integers(0, 101, 400)  # of 100 frames each
    share = right / 100
    found = chance.bootstrap(lambda w: (w @ right) / (w.sum() * 100), 400, draws=20_000)
    half = 1.96 * share.std() / 20
    assert found.value == pytest.approx(share.mean(), abs=EXACT)
    assert found.low == pytest.approx(share.mean() - half, abs=0.05 * half)
    assert found.high == pytest.approx(share.mean() + half, abs=0.05 * half)
    assert abs(found.bias) < 0.05 * half


def test_bootstrap_of_a_ratio_is_that_of_scipy():
    rng = draw()
    frames = rng.integers(20, 400, 60)
    right = rng.binomial(frames, rng.beta(5, 3, 60))
    found = chance.bootstrap(lambda w: (w @ right) / (w @ frames), 60, draws=5000)
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
        found = chance.bootstrap(lambda w, r=right: w @ r / (50 * w.sum()), 80, 300, trial, 0.9)
        hits += found.low <= 0.75 <= found.high
    assert 0.83 <= hits / 200 <= 0.96  # 0.9 within three standard errors


def test_bootstrap_is_seeded_and_centred():
    rng = draw()
    phones = rng.integers(7, size=(40, 50))
    clusters = np.where(rng.random((40, 50)) < 0.6, phones, rng.integers(12, size=(40, 50)))
    counts = np.stack([cluster_quality.joint_counts(p, k, 7, 12)
                       for p, k in zip(phones, clusters, strict=True)])  # fmt: skip

    def statistic(weights):
        return pnmi(np.tensordot(weights, counts, 1))

    plain = chance.bootstrap(statistic, 40, 200, seed=3)
    assert plain == chance.bootstrap(statistic, 40, 200, seed=3)
    assert plain != chance.bootstrap(statistic, 40, 200, seed=4)
    moved = chance.bootstrap(statistic, 40, 200, seed=3, centred=True)
    assert plain.value == pnmi(counts.sum(0))
    assert plain.bias > 0
    assert moved.low == pytest.approx(plain.low - plain.bias, abs=EXACT)
    assert moved.low < moved.value < moved.high


def test_bootstrap_refuses():
    with pytest.raises(ValueError, match=r"1 utterances, 1000 draws, level 0.95: expected two"):
        chance.bootstrap(np.mean, 1)
    with (
        np.errstate(invalid="ignore"),
        pytest.raises(ValueError, match="not finite in every draw; give more utterances"),
    ):
        chance.bootstrap(lambda w: float(w[0]) / float(w[0]) if w[0] else np.nan, 3)


def test_majority():
    assert chance.majority(["a", "b", "b"]) == pytest.approx(2 / 3)
    assert chance.majority([2, 2, 1, 1, 0], [1, 1, 2, 0]) == 0.5  # the first of equals
    assert chance.majority(["a"], ["b"]) == 0
    with pytest.raises(ValueError, match="no labels; give one per frame or utterance"):
        chance.majority([])


def test_control_labels_belong_to_types():
    real = np.repeat(["a", "b", "c"], [60, 30, 10])
    types = [f"word{i}" for i in draw().integers(4000, size=20_000)]
    labels = chance.control_labels(types, real, seed=1)
    given = dict(zip(types, labels, strict=True))
    assert all(given[kind] == label for kind, label in zip(types, labels, strict=True))
    observed = np.unique(list(given.values()), return_counts=True)[1]
    assert stats.chisquare(observed, len(given) * np.array([0.6, 0.3, 0.1])).pvalue > 0.001
    # the same for the types of other data, others under another seed
    np.testing.assert_array_equal(chance.control_labels(types[:9], real, 1), labels[:9])
    other = chance.control_labels(types, real, seed=2)
    agree = np.mean(np.array(list(given.values()))
                    == np.array(list(dict(zip(types, other, strict=True)).values())))  # fmt: skip
    assert agree == pytest.approx(0.36 + 0.09 + 0.01, abs=0.03)
    assert set(chance.control_labels([("k", 1), 7], [5], 0)) == {5}
    with pytest.raises(ValueError, match="no labels; give those of the real task"):
        chance.control_labels(["a"], [])


def test_control_labels_are_learnt_by_memory_alone():
    """A probe that remembers types solves the control task, one that sees the meaning does not."""
    rng = draw()
    types = rng.integers(50, size=2000)
    real = types % 2
    control = chance.control_labels(types.tolist(), real)
    memory, meaning = np.eye(50)[types], real[:, None] + 0.01 * rng.standard_normal((2000, 1))

    def score(x, y):
        return cross_val_score(KNeighborsClassifier(25), x, y, cv=3).mean()

    assert score(memory, real) - score(memory, control) < 0.02
    assert score(meaning, real) - score(meaning, control) > 0.3
