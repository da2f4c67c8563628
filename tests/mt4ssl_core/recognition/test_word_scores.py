"""Error rates: jiwer's counts, sums of them, and intervals."""

import numpy as np
import pytest

from mt4ssl_core.recognition.word_scores import (
    Errors,
    character_errors,
    interval,
    side_by_side,
    summary,
    total,
    word_errors,
)


def test_what_a_rate_consists_of():
    found = word_errors("A B C D", "A X C D E")
    assert found == Errors(substitutions=1, deletions=0, insertions=1, length=4)
    assert found.rate == 0.5
    assert word_errors("A B", "") == Errors(0, 2, 0, 2)
    assert word_errors(" ", "A B") == Errors(0, 0, 2, 0)
    assert character_errors("AB  C", "AX C") == Errors(1, 0, 0, 4)
    assert character_errors("", "AB") == Errors(0, 0, 2, 0)


def test_a_rate_is_of_all_words_together():
    errors = [word_errors("A", "B"), word_errors("A B C", "A B C")]
    assert total(errors).rate == 0.25
    with pytest.raises(ValueError, match="no words in the references"):
        _ = total([]).rate


def test_an_interval_is_over_groups():
    rng = np.random.default_rng(0)
    errors = [Errors(int(rng.binomial(10, 0.3)), 0, 0, 10) for _ in range(400)]
    low, high = interval(errors, [str(n) for n in range(400)])
    spread = 1.96 * (0.3 * 0.7 / 4000) ** 0.5
    assert low == pytest.approx(total(errors).rate - spread, abs=0.004)
    assert high == pytest.approx(total(errors).rate + spread, abs=0.004)
    few = interval(errors, [str(n % 5) for n in range(400)])
    assert few == interval(errors, [str(n % 5) for n in range(400)])
    assert interval(errors, ["one"] * 400) is None


def test_utterances_stand_in_for_unknown_speakers():
    errors = [Errors(1, 0, 0, 2), Errors(0, 0, 0, 2)]
    known = summary({"wer": errors}, ["a", "b"])
    assert (known["interval_over"], known["groups"]) == ("speakers", 2)
    assert known["wer"]["rate"] == 0.25
    assert summary({"wer": errors}, ["a", None])["interval_over"] == "utterances"
    assert summary({"wer": errors}, ["a", "a"])["interval_over"] == "utterances"


def test_errors_are_shown_below_each_other():
    assert side_by_side("A B C", "A X C D") == ["REF: A B C *", "HYP: A X C D", "       S   I"]
    assert side_by_side("", "A") == ["REF: ", "HYP: A"]
