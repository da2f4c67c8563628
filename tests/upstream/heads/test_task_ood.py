"""Out-of-domain speech recognition through s3prl: train, test, go on from there."""

import pytest
from superb_data import corpus, smoke

from upstream.heads import results

pytestmark = pytest.mark.slow


def test_out_of_domain_asr_trains_tests_and_resumes(tmp_path):
    wer, cer = smoke("ood", tmp_path)
    assert [(r["metric"], r["unit"]) for r in (wer, cer)] == [
        ("wer", "fraction"),
        ("cer", "fraction"),
    ]
    assert wer["value"] > 0 and cer["value"] > 0
    assert wer["corpus"]["downstream_expert.corpus.train"] == [
        str(corpus("ood") / "prepared" / "ood" / "es" / "train.tsv")
    ]
    again = smoke("ood", tmp_path, resume=True, overrides={"runner.total_steps": 4})
    assert '"step": 4' in (tmp_path / "exp" / results.EVALUATIONS).read_text()
    assert again[0]["metric"] == "wer"
