"""Speech recognition through s3prl: train, test, go on from there."""

import pytest
from superb_data import corpus, smoke

from upstream.heads import results

pytestmark = pytest.mark.slow


def test_asr_trains_tests_and_resumes_and_decodes_with_a_language_model(tmp_path):
    pytest.importorskip("flashlight.lib.text")
    greedy, helped = smoke("asr", tmp_path, upstream="fbank", stages=["test", "lm"])
    for record, stage in ((greedy, "test"), (helped, "lm")):
        assert (record["metric"], record["unit"]) == ("wer", "percent")
        assert (record["stage"], record["split"]) == (stage, "test-clean")
        assert record["value"] > 0
    assert results.read(tmp_path / "exp") == [greedy, helped]
    known = {line.split()[0] for line in (corpus("asr") / "librispeech_lexicon.lst").open()}
    for line in (tmp_path / "exp" / "test-clean-LM-hyp.ark").read_text().splitlines():
        assert set(line.split()[1:]) <= known
    (again,) = smoke(
        "asr", tmp_path, upstream="fbank", resume=True, overrides={"runner.total_steps": 4}
    )
    assert '"step": 4' in (tmp_path / "exp" / results.EVALUATIONS).read_text()
    assert again["stage"] == "test"


def test_asr_on_our_encoder(tmp_path):
    (record,) = smoke("asr", tmp_path)
    assert record["upstream"] == "mt4ssl"
    assert record["value"] > 0


def test_the_stage_lm_asks_for_its_files(tmp_path):
    changes = {"downstream_expert.datarc.decoder_args.kenlm_model": "???"}
    with pytest.raises(ValueError, match=r"4-gram\.arpa\.gz: put it beside LibriSpeech"):
        smoke("asr", tmp_path, upstream="fbank", stages=["lm"], overrides=changes)
