"""Phone recognition through s3prl: train, test, go on from there."""

import pytest
from superb_data import corpus, smoke

from upstream.heads import results

pytestmark = pytest.mark.slow


def test_phone_recognition_trains_tests_and_resumes(tmp_path):
    (record,) = smoke("pr", tmp_path)
    assert (record["metric"], record["unit"], record["split"]) == ("per", "fraction", "test")
    assert record["value"] > 0
    assert record["corpus"]["downstream_expert.corpus.path"].startswith(str(corpus("pr")))
    (again,) = smoke("pr", tmp_path, resume=True, overrides={"runner.total_steps": 4})
    lines = (tmp_path / "exp" / results.EVALUATIONS).read_text()
    assert '"step": 4' in lines
    assert again["step"] in (2, 4)  # of the better one
