"""Speaker verification through s3prl: train, test each checkpoint, go on, on a tiny corpus."""

import json

import pytest
import superb_data

from upstream import compat
from upstream.door import tasks
from upstream.heads import results

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MT4SSL_CACHE", str(tmp_path / "cache"))


def test_trains_tests_and_resumes(tmp_path):
    (record,) = superb_data.smoke("asv", tmp_path)
    assert (record["metric"], record["unit"], record["split"]) == ("eer", "fraction", "test")
    assert 0 <= record["value"] <= 1
    assert list((tmp_path / "cache" / "sv_voxceleb1").glob("*/.wav_lengths/*_length.pt"))
    predicted = (tmp_path / "exp" / "test_predict.txt").read_text().splitlines()
    truth = (tmp_path / "exp" / "test_truth.txt").read_text().splitlines()
    assert [line.split()[0] for line in predicted] == [line.split()[0] for line in truth]
    assert {line.split()[1] for line in truth} == {"0", "1"}

    superb_data.smoke("asv", tmp_path, resume=True, overrides={"runner.total_steps": 4})
    log = (tmp_path / "exp" / results.EVALUATIONS).read_text().splitlines()
    dev = [line for line in map(json.loads, log) if line["split"] == "dev"]
    assert [line["step"] for line in dev] == [2, 4]
    assert all(0 <= line["EER"] <= 1 for line in dev)
    assert {path.name for path in (tmp_path / "exp").glob("states-*.ckpt")} == {
        "states-2.ckpt",
        "states-4.ckpt",
    }


def test_long_utterances_are_cropped_and_the_list_of_lengths_is_used_again():
    compat.install_for("sv_voxceleb1")
    from s3prl.downstream.sv_voxceleb1 import dataset

    root = superb_data.corpus("asv") / "VoxCeleb1"
    made = [train_set(dataset, root) for _ in range(2)]
    assert list(map(str, made[0].dataset)) == list(map(str, made[1].dataset))
    assert len(made[0]) == 16
    longest = max((train_set(dataset, root, None)[k][0] for k in range(16)), key=len)
    assert len(longest) > 128000
    assert max(len(made[0][k][0]) for k in range(16)) == 128000
    assert dataset.__file__.endswith("sv_voxceleb1/dataset.py")


def train_set(dataset, root, max_timestep=128000):
    return dataset.SpeakerVerifi_train(
        vad_config={"min_sec": 32000},
        key_list=["Voxceleb1"],
        file_path=[root / "dev" / "wav"],
        meta_data="unused",
        max_timestep=max_timestep,
    )


def test_trials_that_were_not_made_are_named(tmp_path):
    for name in ("VoxCeleb1", "voxceleb1_test_v2.txt"):
        (tmp_path / name).symlink_to(superb_data.corpus("asv") / name)
    with pytest.raises(ValueError, match=r"prepared/asv/dev_trials\.txt"):
        tasks.paths_under(tasks.header("asv"), tmp_path)
