"""Intent classification through s3prl's own expert."""

import pytest
from superb_data import smoke

pytestmark = pytest.mark.slow


def test_train_test_and_resume(tmp_path):
    (record,) = smoke("ic", tmp_path)
    assert (record["task"], record["metric"], record["split"]) == ("ic", "acc", "test")
    assert 0 <= record["value"] <= 1
    (later,) = smoke("ic", tmp_path, resume=True, overrides={"runner.total_steps": 4})
    assert (tmp_path / "exp" / "states-4.ckpt").is_file()
    assert later["value"] is not None
    lines = (tmp_path / "exp" / "test_predict.csv").read_text().splitlines()
    assert len(lines) == len((tmp_path / "exp" / "test_truth.csv").read_text().splitlines()) == 8
