import subprocess
import sys
from pathlib import Path

import pytest
import torch
from superb_data import FEW_STEPS, SPEED, Bomb, corpora, tiny_checkpoint

import run_downstream
from mt4ssl_core import shipped
from upstream.door import overrides
from upstream.heads import results

SCRIPT = Path(run_downstream.__file__)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MT4SSL_CACHE", str(tmp_path / "cache"))


def command(expdir, *more):
    changes = overrides.render({**FEW_STEPS, **SPEED["ks"]})
    argv = ["-m", "train", "--task", "ks", "--root", str(corpora()), "-u", "mt4ssl"]
    return [*argv, "-p", str(expdir), "--then-test", "-o", changes, *more]


def test_one_command_trains_tests_and_writes_json(tmp_path, capsys):
    assert run_downstream.main(command(tmp_path / "exp", "-k", str(tiny_checkpoint()))) == 0
    (record,) = results.read(tmp_path / "exp")
    assert f"ks test acc = {record['value']}" in capsys.readouterr().out


def test_a_mistake_is_one_line_and_exit_code_2(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(shipped, "FOLDER", tmp_path / "empty")
    assert run_downstream.main(command(tmp_path / "exp")) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("run_downstream: error: -u mt4ssl: needs a checkpoint")
    assert not (tmp_path / "exp").exists()


def test_a_checkpoint_that_would_run_code_does_not(tmp_path, capsys):
    torch.save({"encoder": Bomb(tmp_path / "ran")}, tmp_path / "bad.pt")
    assert run_downstream.main(command(tmp_path / "exp", "-k", str(tmp_path / "bad.pt"))) == 2
    assert "bad.pt" in capsys.readouterr().err
    assert not (tmp_path / "ran").exists()


def test_an_error_in_a_worker_is_one_line(tmp_path, capsys, monkeypatch):
    text = (
        "Caught ValueError in DataLoader worker process 0.\nTraceback ...\nValueError: a.wav: bad"
    )
    from upstream.heads import runner

    monkeypatch.setattr(runner, "launch", lambda asked: (_ for _ in ()).throw(ValueError(text)))
    assert run_downstream.main(command(tmp_path, "-k", str(tiny_checkpoint()))) == 2
    assert capsys.readouterr().err.strip().splitlines()[-1] == "run_downstream: error: a.wav: bad"


def test_help_shows_our_options_and_s3prls(capsys):
    with pytest.raises(SystemExit) as left:
        run_downstream.main(["--help"])
    assert left.value.code == 0
    shown = capsys.readouterr().out
    assert "--then-test" in shown
    assert "--upstream_feature_selection" in shown
    assert "'fbank'" in shown and "'torch'" not in shown and "'glob'" not in shown


def test_s3prls_noise_is_gone_and_its_errors_are_not(tmp_path):
    """In a fresh process, whose stderr nothing has touched."""
    env = {"PATH": "/usr/bin:/bin", "MT4SSL_CACHE": str(tmp_path)}
    script = [sys.executable, str(SCRIPT)]
    shown = subprocess.run([*script, "--help"], capture_output=True, text=True, env=env)
    assert shown.returncode == 0 and shown.stderr == ""
    argv = command(tmp_path / "exp", "-u", "espnet_hubert_local", "-k", str(tiny_checkpoint()))
    done = subprocess.run([*script, *argv], capture_output=True, text=True, env=env)
    assert done.returncode == 2 and "ESPnet is not installed, run" in done.stderr
    assert "cannot use espnet_hubert upstream" not in done.stderr


@pytest.mark.slow
def test_with_s3prls_own_progress_bars_off(tmp_path):
    """TQDM_DISABLE makes an unmended s3prl train for ever."""
    argv = command(tmp_path / "exp", "-k", str(tiny_checkpoint()))
    env = {"TQDM_DISABLE": "1", "PATH": "/usr/bin:/bin", "MT4SSL_CACHE": str(tmp_path)}
    subprocess.run([sys.executable, str(SCRIPT), *argv], env=env, check=True, timeout=300)
    assert results.read(tmp_path / "exp")
