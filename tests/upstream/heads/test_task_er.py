"""Emotion recognition through s3prl's own expert."""

import pytest
from superb_data import smoke

from upstream.door import tasks

pytestmark = pytest.mark.slow


def test_train_test_and_resume(tmp_path):
    (record,) = smoke("er", tmp_path)
    assert (record["task"], record["metric"], record["split"]) == ("er", "acc", "test")
    assert 0 <= record["value"] <= 1
    (later,) = smoke("er", tmp_path, resume=True, overrides={"runner.total_steps": 4})
    assert (tmp_path / "exp" / "states-4.ckpt").is_file()
    assert later["value"] is not None


def test_every_fold_tests_on_a_session_of_its_own(tmp_path):
    variants, tested = tasks.header("er")["variants"], []
    for fold in variants["values"][::4]:
        smoke("er", tmp_path / fold, upstream="fbank", overrides={variants["key"]: fold})
        truth = (tmp_path / fold / "exp" / f"test_{fold}_truth.txt").read_text().splitlines()
        assert {line[:5] for line in truth} == {f"Ses0{fold[-1]}"}
        tested += truth
    assert len(tested) == 16
