"""Slot filling through s3prl: train, test, go on from there."""

import pytest
from superb_data import corpus, smoke

from upstream.heads import results

pytestmark = pytest.mark.slow


def test_slot_filling_trains_tests_and_resumes(tmp_path):
    f1, cer = smoke("sf", tmp_path)
    assert (f1["metric"], f1["direction"]) == ("slot_type_f1", "max")
    assert (cer["metric"], cer["direction"]) == ("slot_value_cer", "min")
    assert f1["unit"] == cer["unit"] == "fraction"
    assert 0 <= f1["value"] <= 1 and cer["value"] > 0
    assert f1["corpus"]["downstream_expert.corpus.path"] == str(corpus("sf") / "SNIPS")
    again = smoke("sf", tmp_path, resume=True, overrides={"runner.total_steps": 4})
    assert '"step": 4' in (tmp_path / "exp" / results.EVALUATIONS).read_text()
    assert [record["step"] for record in again] == [again[0]["step"]] * 2
