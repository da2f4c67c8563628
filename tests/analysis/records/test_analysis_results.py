"""analysis/records/score.py."""

import math
from dataclasses import replace

import pytest

from analysis.records import score
from analysis.records.score import Score, Setting

SCORE = Score("ours", "ks", "acc", 0.9, "fraction", "max", Setting(), "runs/a/results.jsonl:1")


def test_a_score_is_told_in_the_published_unit():
    assert SCORE.value_in("percent") == pytest.approx(90)
    assert score.shown_unit(score.metric_of("ks", "acc")) == "percent"
    assert score.shown_unit(score.metric_of("se", "pesq")) == "MOS"
    assert score.shown_unit(score.metric_of("ood", "wer")) == "percent"
    assert score.shown_unit(score.metric_of("asr", "wer", "lm")) == "percent"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"value": math.nan}, r"jsonl:1: ks acc: value nan is no finite number; score the task "),
        ({"value": None}, r"jsonl:1: ks acc: value None is no finite number; .* leave the model "),
        ({"value": math.inf}, "value inf is no finite number"),
        ({"value": 1.5}, r"jsonl:1: ks acc: value 1\.5 is no fraction \(at most 1\)"),
        ({"value": 50}, "value 50 is no fraction"),
        ({"value": 500.083}, "is no fraction"),
        ({"value": "0.9"}, "value '0.9' is no number; score the task again"),
        ({"value": True}, "value True is no number"),
        ({"unit": "dB"}, "ks acc: unit 'dB', expected 'percent'; score the task again"),
        ({"unit": None}, "unit None, expected 'percent'"),
        ({"direction": "min"}, r"direction 'min', downstream_configs/ks\.yaml says 'max'; score"),
        ({"metric": "acx"}, r"jsonl:1: ks: unknown metric 'acx'; did you mean acc\? ks has acc: "),
        ({"task": "sidd"}, r"jsonl:1: task 'sidd': did you mean sid\? choose among asr, "),
        ({"setting": Setting(stage="lm")}, "unknown metric 'acc@lm'"),
    ],
)
def test_a_bad_score_is_refused_with_file_key_and_remedy(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(SCORE, **changes)


def test_a_task_has_one_score():
    again = replace(SCORE, value=0.8, setting=Setting(seed=2), source="runs/b/results.jsonl:3")
    with pytest.raises(
        ValueError,
        match=r"ours: ks acc twice: 0\.9 \(runs/a/results\.jsonl:1\) and 0\.8 \(runs/b/results\."
        r"jsonl:3, seed 2\); give only one of the two",
    ):
        score.check([SCORE, again])
    score.check([SCORE, replace(again, setting=Setting(corpus="mini", seed=2))])
    lm = [replace(SCORE, task="asr", metric="wer", unit="percent", direction="min", setting=s)
          for s in (Setting(), Setting(stage="lm"))]  # fmt: skip
    score.check(lm)


def test_mini_corpora_of_a_row_were_made_alike():
    mini = Setting(corpus="mini", made="version 1, seed 0, size default")
    other = replace(SCORE, task="ic", setting=replace(mini, made="version 1, seed 7, size default"))
    with pytest.raises(ValueError, match=r"different corpora in one row: ks of mini_superb .*seed "
                       r"0.*ic of .*seed 7.*; score both on one"):  # fmt: skip
        score.check([replace(SCORE, setting=mini), other])


def test_what_may_stand_beside_published_scores():
    assert Setting().comparable
    for other in ({"corpus": "mini"}, {"corpus": "partial"}, {"state": "smoke"}, {"corpus": "?"}):
        assert not Setting(**other).comparable
