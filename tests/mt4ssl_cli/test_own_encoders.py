"""An encoder in a Python file, on the command line."""

import numpy as np
import own_encoders
import pytest
import soundfile

import mt4ssl_cli
from mt4ssl_core.checkpoints import python_file


@pytest.fixture
def good(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own_encoders.write(tmp_path)
    (tmp_path / "speech").mkdir()
    for i in range(3):
        wave = 0.1 * np.random.default_rng(i).standard_normal(16_000)
        soundfile.write(tmp_path / f"speech/{i}.wav", wave, 16_000)
    return "my.py:MyEncoder"


def test_the_check_says_what_holds(good, capsys):
    assert mt4ssl_cli.main(["check-encoder", good]) == 0
    assert "windows: 2 layers of 24, 50 frames per second" in capsys.readouterr().out
    own_encoders.write(python_file.read_name(good).path.parent, *own_encoders.BROKEN["NaN"][:2])
    assert mt4ssl_cli.main(["check-encoder", good]) == 1
    assert "FAILED" in capsys.readouterr().out
    assert mt4ssl_cli.main(["check-encoder", "gone.py:MyEncoder"]) == 2
    assert "gone.py: no such file" in capsys.readouterr().err


def test_features_and_labels(good, capsys, monkeypatch):
    assert mt4ssl_cli.main(["extract", good, "speech", "features"]) == 0
    assert np.load("features/0.npy").shape == (2, 49, 24)
    named = f"ckpt:{good}:1"
    fit = ["kmeans", "fit", "speech", "km.safetensors", "--features", named, "--clusters", "3"]
    assert mt4ssl_cli.main(fit) == 0
    monkeypatch.setattr(python_file, "_allowed", set())  # another process
    label = ["kmeans", "label", "km.safetensors", "speech", "labels"]
    assert mt4ssl_cli.main(label) == 2
    assert "is code, and is run only where you name it" in capsys.readouterr().err
    assert mt4ssl_cli.main([*label, "--features", named]) == 0
