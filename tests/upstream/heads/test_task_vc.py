"""Voice conversion through s3prl's own expert, scored by us."""

import json
import math
import shutil

import pytest
from superb_data import smoke

from upstream.heads import command, results, runner

pytestmark = pytest.mark.slow


def test_train_test_resume_and_a_vocoder(tmp_path):
    records = {record["metric"]: record for record in smoke("vc", tmp_path)}
    assert set(records) == {"mcd_griffinlim", "f0_rmse_griffinlim"}
    assert records["mcd_griffinlim"]["unit"] == "dB"
    assert math.isfinite(records["mcd_griffinlim"]["value"])
    exp = tmp_path / "exp"
    smoke("vc", tmp_path, resume=True, overrides={"runner.total_steps": 4})
    assert (exp / "states-4.ckpt").is_file()
    lines = [json.loads(x) for x in (exp / "evaluations.jsonl").read_text().splitlines()]
    assert {line["step"] for line in lines if line["split"] == "dev" and "loss" in line} == {2, 4}
    wavs = exp / "0" / "test" / "wav"
    assert len(list(wavs.glob("S*_E30001.wav"))) == 4
    shutil.copytree(wavs, wavs.parent / "vocoder_wav")
    argv = ["-m", "evaluate", "-e", str(exp / "states-4.ckpt"), "--stage", "vocoder"]
    found = {record["metric"]: record["value"] for record in runner.launch(command.resolve(argv))}
    assert set(found) == {"mcd_vocoder", "f0_rmse_vocoder"}
    last = next(r for r in results.read(exp) if r["metric"] == "mcd_griffinlim")
    assert found["mcd_vocoder"] == pytest.approx(last["value"])
