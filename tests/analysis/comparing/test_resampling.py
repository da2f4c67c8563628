import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_curve

from analysis.comparing import resampling
from analysis.comparing.resampling import Outcome


def ratio(values, sizes=None, folds=None):
    """An outcome of (S, N) values; each item counts once unless ``sizes`` says otherwise."""
    values = np.atleast_2d(np.asarray(values, float))
    count = values.shape[1]
    shape = np.ones_like(values) if sizes is None else np.broadcast_to(sizes, values.shape)
    where = np.zeros(count, int) if folds is None else np.array(folds)
    return Outcome(values, shape.astype(float), where, np.zeros(count, bool))


def trials(scores, targets):
    scores = np.atleast_2d(scores)
    return Outcome(scores, None, np.zeros(scores.shape[1], int), np.array(targets, bool))


def alone(count):
    return [(at,) for at in range(count)]


def test_a_bootstrap_over_items_is_the_paired_t_test_of_scipy():
    first, second = np.random.default_rng(1).normal([[0.0], [0.3]], 1.0, (2, 80))
    found = resampling.spread(ratio(first), ratio(second), alone(80), draws=8000)
    expected = stats.ttest_rel(first, second)
    low, high = expected.confidence_interval()
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.02)
    assert found.p == pytest.approx(expected.pvalue, rel=0.1)
    again = stats.bootstrap(((first - second),), np.mean, random_state=0, n_resamples=5000)
    wide = 2 * stats.t.ppf(0.975, 79) * again.standard_error
    assert found.high - found.low == pytest.approx(wide, rel=0.05)


def test_whichever_is_first():
    first, second = np.random.default_rng(2).poisson([[2.0], [3.0]], (2, 40))
    one, other = ratio(first, 10), ratio(second, 10)
    found = resampling.spread(one, other, alone(40))
    back = resampling.spread(other, one, alone(40))
    assert (found.low, found.high, found.p) == pytest.approx((-back.high, -back.low, back.p))


def test_rates_are_ratios_of_sums_and_folds_count_alike():
    made = ratio([1, 0, 1, 1], [2, 2, 4, 4], folds=[0, 0, 1, 1])
    assert made.score(np.ones((1, 4)))[0, 0] == pytest.approx((1 / 4 + 2 / 8) / 2)
    assert made.score(np.array([[1, 1, 0, 0]]))[0, 0] == 1 / 4  # nothing of the second is drawn
    assert np.isnan(made.score(np.zeros((1, 4)))[0, 0])


def test_speakers_that_differ_as_wholes_make_wider_intervals():
    generator = np.random.default_rng(3)
    gaps = np.repeat(generator.normal(0, 0.2, 8), 25)
    first, second = ratio(0.5 + gaps + generator.normal(0, 0.01, 200)), ratio(np.full(200, 0.5))
    items = resampling.spread(first, second, alone(200))
    speakers = resampling.spread(first, second, [(at // 25,) for at in range(200)])
    assert speakers.high - speakers.low > 3 * (items.high - items.low)
    assert speakers.units == 8
    assert resampling.spread(first, second, [(0,)] * 200) is None  # one speaker says nothing


def expected_rate(scores, targets):
    """Where the ROC curve of scikit-learn crosses the diagonal."""
    false, hit, _ = roc_curve(targets, scores)
    fine = np.linspace(0, 1, 200_001)
    return fine[np.argmin(np.abs(1 - fine - np.interp(fine, false, hit)))]


@pytest.mark.parametrize("seed", range(4))
def test_equal_error_rate_is_that_of_the_roc_curve(seed):
    generator = np.random.default_rng(seed)
    targets = generator.random(300) < 0.4
    scores = np.round(generator.normal(targets, 1.0), 1 if seed % 2 else 6)  # with equal scores
    found = trials(scores, targets).score(np.ones((1, 300)))[0, 0]
    assert found == pytest.approx(expected_rate(scores, targets), abs=2e-5)
    times = generator.integers(0, 3, 300)
    weighted = trials(scores, targets).score(times[None])[0, 0]
    repeated = expected_rate(np.repeat(scores, times), np.repeat(targets, times))
    assert weighted == pytest.approx(repeated, abs=2e-5)


def test_trials_of_two_speakers_are_drawn_with_both():
    generator = np.random.default_rng(5)
    pairs = [(a, b) for a in range(12) for b in range(a, 12)]
    targets = np.array([a == b for a, b in pairs])
    good, bad = generator.normal(targets * 3.0), generator.normal(targets * 0.1)
    found = resampling.spread(trials(good, targets), trials(bad, targets), pairs)
    assert found.units == 12
    assert found.high < 0 and found.p < 0.05


def simulated(generator, seeds, spread=0.0):
    """Both systems have the same chances with each utterance; their heads scatter by ``spread``."""
    chances = generator.beta(6, 2, 150)
    shifts = generator.normal(0, spread, (2, seeds, 1))
    return (generator.random((2, seeds, 150)) < np.clip(chances + shifts, 0, 1)).astype(float)


@pytest.mark.parametrize(("seeds", "spread"), [(1, 0.0), (3, 0.0), (3, 0.05)])
def test_two_seeds_of_one_encoder_do_not_differ(seeds, spread):
    generator, shown = np.random.default_rng(7), 0
    for _ in range(200):
        first, second = simulated(generator, seeds, spread)
        found = resampling.spread(ratio(first), ratio(second), alone(150), draws=100)
        shown += found.p < 0.05
    assert shown / 200 <= 0.05 + 0.03  # 200 pairs: the share itself scatters by 0.015


def test_one_head_of_each_says_nothing_of_their_encoder():
    """The limit that docs/score.md names: with scatter of heads, heads of one encoder differ."""
    generator, shown = np.random.default_rng(7), 0
    for _ in range(200):
        first, second = simulated(generator, seeds=1, spread=0.05)
        found = resampling.spread(ratio(first), ratio(second), alone(150), draws=100)
        shown += found.p < 0.05
    assert shown / 200 > 0.15


def test_a_true_difference_is_shown():
    first = np.random.default_rng(8).random((3, 400)) < 0.8
    second = np.random.default_rng(9).random((3, 400)) < 0.7
    found = resampling.spread(ratio(first), ratio(second), alone(400))
    assert found.low > 0 and found.p < 0.05


def test_systems_that_do_the_same():
    same = ratio([1, 0, 1])
    found = resampling.spread(same, same, alone(3))
    assert (found.low, found.high, found.p) == (0, 0, 1)
    always = resampling.spread(ratio([1, 1, 1]), ratio([0, 0, 0]), alone(3))
    assert (always.low, always.high) == (
        1,
        1,
    )  # the bootstrap cannot say more; the tests of pairs do
