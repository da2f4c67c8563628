"""analysis/records/superb_score.py: against the scores of SUPERB's leaderboard."""

import pytest

from analysis.records import score as results
from analysis.records import score_files, superb_score

PAPER = {
    "FBANK": 0, "wav2vec 2.0 Base": 818, "HuBERT Base": 941, "WavLM Base": 1019,
    "WavLM Base+": 1106, "wav2vec 2.0 Large": 914, "HuBERT Large": 919, "WavLM Large": 1145,
    "DistilHuBERT": 717, "DeCoAR 2.0": 722, "FaST-VGS+": 809,
}  # fmt: skip
PUBLIC = {
    "FBANK": 0, "wav2vec 2.0 Base": 674, "HuBERT Base": 778, "WavLM Base": 970,
    "WavLM Base+": 1157, "wav2vec 2.0 Large": 781, "HuBERT Large": 921, "WavLM Large": 1286,
}  # fmt: skip


def values(model):
    found = [s for s in score_files.published().scores if s.model == model]
    return {f"{s.task}/{results.spoken(s.metric, s.setting.stage)}": s.value
            for s in found}  # fmt: skip


@pytest.mark.parametrize(
    ("score_set", "model", "score"),
    [("paper", *pair) for pair in PAPER.items()] + [("public", *pair) for pair in PUBLIC.items()],
)
def test_published_rows_give_the_official_score(score_set, model, score):
    assert round(superb_score.superb_s(values(model), score_set)) == score


def test_without_all_tasks_there_is_no_score_but_points():
    row = values("HuBERT Base")
    del row["sf/slot_value_cer"]  # half of a task
    assert superb_score.superb_s(row) is None
    assert len(superb_score.points(row, "paper")) == 9
    assert superb_score.superb_s(values("DistilHuBERT"), "public") is None
    assert superb_score.superb_s(row | {"sf/slot_value_cer": float("nan")}) is None


def test_points_are_linear_and_two_metrics_count_as_one_task():
    row = {"sf/slot_type_f1": 89.81, "sf/slot_value_cer": 52.94, "pr/per": 82.01 - 78.48 / 2}
    found = superb_score.points(row, "paper")
    assert found == {"sf": pytest.approx(500), "pr": pytest.approx(500)}


def test_sets_and_columns():
    assert " ".join(superb_score.tasks_of("paper")) == "pr asr ks qbe sid asv sd ic sf er"
    assert " ".join(superb_score.tasks_of("public")) == "pr asr qbe sid asv sd er se ss st"
    with pytest.raises(ValueError, match="--set all: no such set; choose one of paper, public"):
        superb_score.tasks_of("all")
    asr, lm = superb_score.columns_of("asr")
    assert (asr.head, lm.head, lm.key) == ("WER ↓", "WER +LM ↓", "asr/wer@lm")
    assert [c.key for c in superb_score.columns_of("se")] == ["se/pesq", "se/stoi"]
    assert len(superb_score.columns_of("vc")) == 5  # none is published
