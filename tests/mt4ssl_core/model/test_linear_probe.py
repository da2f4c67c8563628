import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from mt4ssl_core.model import linear_probe as linear


def clusters(count=300, classes=4, dim=6, noise=1.0, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, count)
    centres = rng.normal(0, 1.5, (classes, dim))
    features = centres[labels] + noise * rng.normal(size=(count, dim))
    return features * rng.uniform(0.1, 30, dim) + 7, np.array([f"c{k}" for k in labels])


@pytest.mark.parametrize("penalty", [1e-1, 1e-3])
def test_equals_scikit_learns_logistic_regression(penalty):
    x, y = clusters()
    probe = linear.fit(x, y, penalty)
    z = (x - x.mean(0)) / x.std(0)
    theirs = LogisticRegression(C=1 / (penalty * len(x)), tol=1e-8, max_iter=5000).fit(z, y)
    ours = probe.weight.numpy().T - probe.weight.numpy().T.mean(0)
    assert np.abs(ours - (theirs.coef_ - theirs.coef_.mean(0))).max() < 5e-3
    assert np.mean(probe.predict(x) == theirs.predict(z)) > 0.995


def test_scale_and_shift_of_the_features_do_not_matter():
    x, y = clusters()
    scaled = linear.fit(1e3 * x - 50, y).predict(1e3 * x - 50)
    assert np.array_equal(scaled, linear.fit(x, y).predict(x))


def test_a_start_leads_to_the_same_probe():
    x, y = clusters()
    there = linear.fit(x, y, 1e-3, linear.fit(x, y, 1e-1))
    assert np.allclose(there.weight, linear.fit(x, y, 1e-3).weight, atol=5e-3)


def test_the_penalty_is_chosen_on_rows_held_out():
    rng = np.random.default_rng(1)
    x, y = clusters(80, noise=3.0)
    x = np.concatenate([x, rng.normal(size=(80, 200))], axis=1)  # room to overfit
    held_out = np.arange(80) % 4 == 0
    probe, penalty, accuracy = linear.fit_best(x, y, held_out)
    tried = []
    for value in linear.PENALTIES:
        answer = linear.fit(x[~held_out], y[~held_out], value).predict(x[held_out])
        tried.append(np.mean(answer == y[held_out]))
    assert accuracy == pytest.approx(max(tried), abs=0.051)
    assert penalty in linear.PENALTIES and len(probe.classes) == 4


def test_a_constant_feature_and_one_class():
    x, y = clusters()
    x[:, 2] = 3.0
    assert np.isfinite(linear.fit(x, y).weight).all()
    with pytest.raises(ValueError, match=r"3 labels of 1 class\(es\)"):
        linear.fit(x[:3], np.array(["a"] * 3))
    with pytest.raises(ValueError, match="4 rows of features, 3 labels"):
        linear.fit(x[:4], np.array(["a", "b", "a"]))
