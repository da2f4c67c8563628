import numpy as np
import pytest
from scipy import stats

from analysis.comparing import paired_tests


def test_mcnemar_is_the_exact_binomial_test_of_what_one_of_two_has_right():
    first = np.array([1, 1, 1, 1, 1, 1, 0, 1, 0, 1.0])
    second = np.array([0, 0, 0, 0, 0, 1, 1, 1, 0, 0.0])  # 6 wins, 1 loss
    assert paired_tests.mcnemar(first, second) == pytest.approx(2 * (1 + 7) / 2**7)
    assert paired_tests.mcnemar(first, second) == paired_tests.mcnemar(second, first)
    assert paired_tests.mcnemar(first, first) == 1.0
    many = stats.binomtest(700, 1300).pvalue
    wins, losses = np.repeat([1.0, 0.0], [700, 600]), np.repeat([0.0, 1.0], [700, 600])
    assert paired_tests.mcnemar(wins, losses) == pytest.approx(many)


def test_matched_pairs_are_students_on_the_differences():
    first, second = np.random.default_rng(0).poisson([[2.0], [2.6]], (2, 60)).astype(float)
    expected = stats.ttest_rel(first, second).pvalue
    assert paired_tests.matched_pairs(first, second) == pytest.approx(expected)
    assert paired_tests.matched_pairs(first, first) == 1.0
    assert paired_tests.matched_pairs(np.zeros(8), np.ones(8)) == 2**-7


def test_holm_by_hand():
    # sorted: .01 * 4, then max(.04, .02 * 3), max(.06, .03 * 2), max(.06, .04 * 1)
    assert paired_tests.holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert paired_tests.holm([0.9, 0.8]) == [1.0, 1.0]
    assert paired_tests.holm([]) == []
