"""SUPERB's DER from the files that s3prl writes."""

import json

import numpy as np
import pytest

from upstream import scores

pytest.importorskip("h5py")


@pytest.fixture
def experiment(tmp_path):
    """A test set of one recording, 10 s at 20 ms frames; speaker a 0-4 s, b 6-10 s."""
    import h5py

    test, expdir = tmp_path / "test", tmp_path / "exp"
    (expdir / "scoring" / "predictions").mkdir(parents=True)
    test.mkdir()
    (test / "wav.scp").write_text("rec1 /nowhere/rec1.wav\n")
    (test / "rttm").write_text(
        "SPEAKER rec1 1 0.00 4.00 <NA> <NA> a <NA>\nSPEAKER rec1 1 6.00 4.00 <NA> <NA> b <NA>\n"
    )
    (expdir / "frame_shift").write_text("320\n")
    speech = np.full((500, 2), 0.05)
    speech[:200, 1] = 0.95
    speech[300:, 0] = 0.45  # only thresholds 0.3 and 0.4 find it
    speech[250:253, 0] = 0.95  # a click that the median filter removes
    with h5py.File(expdir / "scoring" / "predictions" / "rec1.h5", "w") as file:
        file["T_hat"] = speech
    datarc = {"rate": 16000, "subsampling": 1}
    config = {"downstream_expert": {"datarc": datarc, "loaderrc": {"test_dir": str(test)}}}
    return expdir, config


def test_the_best_of_the_grid_is_reported(experiment):
    expdir, config = experiment
    found = scores.score("sd", expdir, config, "test", {"acc": 0.9, "der": 0.2})
    assert found == {"acc": 0.9, "der": 0.0, "frame_der": 0.2}
    grid = json.loads((expdir / "scoring" / "der.json").read_text())
    by_setting = {(entry["threshold"], entry["median"]): entry["der"] for entry in grid}
    assert len(grid) == 10 and grid[0]["der"] == 0.0
    assert by_setting[0.4, 1] == pytest.approx(0.06 / 8)  # the click
    assert by_setting[0.5, 11] == pytest.approx(4 / 8)  # speaker b missed
    assert by_setting[0.5, 1] == pytest.approx(4.06 / 8)


def test_other_splits_keep_s3prls_rate(experiment):
    expdir, config = experiment
    found = scores.score("sd", expdir, config, "dev", {"der": 0.2})
    assert found == {"der": 0.2, "frame_der": 0.2}
    assert not (expdir / "scoring" / "der.json").exists()


def test_a_recording_without_probabilities_is_named(experiment):
    expdir, config = experiment
    (expdir / "scoring" / "predictions" / "rec1.h5").unlink()
    with pytest.raises(ValueError, match=r"rec1.h5: no such file.*test again"):
        scores.score("sd", expdir, config, "test", {"der": 0.2})


def test_a_recording_without_reference_is_named(experiment, tmp_path):
    expdir, config = experiment
    (tmp_path / "test" / "rttm").write_text("")
    with pytest.raises(ValueError, match=r"rttm: no turns of rec1; prepare"):
        scores.score("sd", expdir, config, "test", {"der": 0.2})
