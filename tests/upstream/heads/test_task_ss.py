"""Separation through s3prl: train, test and go on, on a tiny corpus."""

import json

import pytest
import superb_data

from upstream.heads import results

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def test_trains_tests_and_resumes(tmp_path):
    records = superb_data.smoke("ss", tmp_path)
    found = {record["metric"]: record for record in records}
    assert found.keys() == {"si_sdri"}
    assert -60 < found["si_sdri"]["value"] < 20

    again = superb_data.smoke("ss", tmp_path, resume=True, overrides={"runner.total_steps": 4})
    assert {record["metric"] for record in again} == found.keys()
    log = (tmp_path / "exp" / results.EVALUATIONS).read_text().splitlines()
    dev = [line for line in map(json.loads, log) if line["split"] == "dev"]
    assert [line["step"] for line in dev] == [2, 4] and all("si_sdr" in line for line in dev)
