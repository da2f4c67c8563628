from types import SimpleNamespace

from mt4ssl_core.training.progress import Progress
from mt4ssl_core.training.validation import is_best


def judged(progress, *measures):
    run = SimpleNamespace(training=SimpleNamespace(progress=progress))
    return [is_best(run, first, [], 0.0, second) for first, second in measures]


def test_of_equal_word_error_rates_the_lower_character_error_rate_is_the_best():
    progress = Progress()
    rates = (1.0, 1.0), (1.0, 0.8), (1.0, 0.8), (1.0, 0.9), (0.9, 0.95), (0.95, 0.1)
    assert judged(progress, *rates) == [True, True, False, False, True, False]
    assert (progress.best, progress.second) == (0.9, 0.95)


def test_a_best_that_says_nothing_of_the_second_measure_is_left_by_a_lower_one_alone():
    assert judged(Progress(best=0.5), (0.5, 0.1), (0.4, 0.9)) == [False, True]
