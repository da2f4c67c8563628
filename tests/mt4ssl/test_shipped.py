"""The model that comes with the package, by its name and where no checkpoint is named."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from superb_data import tiny_checkpoint

import mt4ssl
import upstream
from benchmarks import ship_model
from mt4ssl_cli import commands
from mt4ssl_core import config, shipped
from mt4ssl_core.checkpoints import convert
from upstream.suite.suite_request import SuiteRequest


@pytest.fixture
def model(tmp_path, monkeypatch) -> Path:
    """A stand-in for the model."""
    monkeypatch.setattr(shipped, "FOLDER", tmp_path / "package")
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "package" / shipped.DEFAULT
    out.parent.mkdir()
    return convert.export(tiny_checkpoint(), out, "compact")


@pytest.fixture
def none(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(shipped, "FOLDER", tmp_path / "package")


def speech(path: Path) -> Path:
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, 16_000), 16_000)
    return path


def test_it_loads_by_its_name(model):
    encoder = mt4ssl.load("mt4ssl-small")
    assert encoder.name == "mt4ssl-small" and encoder.source == str(model)
    wave = torch.randn(16_000, generator=torch.Generator().manual_seed(0))
    whole = mt4ssl.load(tiny_checkpoint()).features(wave, rate=16_000)
    assert (encoder.features(wave, rate=16_000) - whole).norm() < 0.01 * whole.norm()


def test_a_folder_of_that_name_here_comes_first(model, tmp_path):
    convert.export(model, tmp_path / "mt4ssl-small", "compact")
    assert mt4ssl.load("mt4ssl-small").source == str(tmp_path / "mt4ssl-small")


def test_commands_and_runs_take_the_name(model, tmp_path):
    audio = speech(tmp_path / "a.wav")
    assert commands.main(["extract", "mt4ssl-small", str(audio), str(tmp_path / "out")]) == 0
    assert next((tmp_path / "out").rglob("*.npy"))
    (tmp_path / "one.tsv").write_text(f"{tmp_path}\na.wav\t16000\n")
    given = [f"data.train={tmp_path / 'one.tsv'}", f"data.labels={tmp_path / 'one.tsv'}"]
    cfg = config.load("tiny", [*given, "run.init_from=mt4ssl-small"])
    assert cfg.run.init_from == "mt4ssl-small"


def test_an_upstream_without_a_checkpoint_is_this_model(model):
    ours, control = upstream.load("mt4ssl"), upstream.load("mt4ssl_untrained")
    wave = [torch.randn(16_000)]
    expected = mt4ssl.load("mt4ssl-small").module.encode(wave)[0]
    assert torch.equal(ours(wave)["hidden_states"][-1][:, : expected[-1].shape[1]], expected[-1])
    assert not torch.equal(ours(wave)["last_hidden_state"], control(wave)["last_hidden_state"])
    for asked in ({"upstream": "mt4ssl"}, {"ckpt": "mt4ssl-small"}):
        request = SuiteRequest(Path("out"), "roots.yaml", **asked)  # type: ignore[arg-type]
        assert (request.upstream, request.ckpt) == ("mt4ssl", str(model))


def test_a_slip_in_its_name_is_named(model, capsys):
    for name in ("mt4ssl-smal", "mt4ssl_small", "MT4SSL-small"):
        with pytest.raises(ValueError, match=r"did you mean mt4ssl-small\? \(all: mt4ssl-small\)"):
            mt4ssl.load(name)
    assert commands.main(["extract", "mt4ssl-smal", "a.wav", "out"]) == 2
    assert "did you mean mt4ssl-small?" in capsys.readouterr().err


def test_a_copy_without_the_model_says_what_to_do(none):
    with pytest.raises(ValueError, match=r"small: this copy of mt4ssl comes without it; give a"):
        mt4ssl.load("mt4ssl-small")
    with pytest.raises(ValueError, match=r"smal: no such file or folder, and this copy"):
        mt4ssl.load("mt4ssl-smal")
    for path in ("runs/mt4ssl-small", "mt4ssl-small/last.pt", "/mt4ssl-small"):
        shipped.check_spelling(path)  # a missing file, whatever it is called
    for name in ("mt4ssl", "mt4ssl_untrained"):
        with pytest.raises(ValueError, match=rf"-u {name}: needs .*comes without a model; .*-k CK"):
            upstream.load(name)


def test_what_ships_is_small_whole_and_has_a_card():
    for name in shipped.names():
        folder = shipped.path(name)
        assert folder is not None
        assert sum(file.stat().st_size for file in folder.iterdir()) <= shipped.MOST_BYTES
        assert "## Training" in (folder / "README.md").read_text()
        assert mt4ssl.load(name).name == name


def test_a_checkpoint_is_put_into_the_package(model, monkeypatch):
    out = ship_model.ship(tiny_checkpoint(), "other", "mit")
    assert out == model.with_name("other") and shipped.names() == ["mt4ssl-small", "other"]
    card = (out / "README.md").read_text()
    for said in ("license: mit", "AN4", "Vassil Panayotov", "| system |", 'load("other")'):
        assert said in card
    assert mt4ssl.load("other").name == "other"
    monkeypatch.setattr(shipped, "MOST_BYTES", 1_000)
    with pytest.raises(ValueError, match=r"bytes in half precision, and the package takes"):
        ship_model.ship(tiny_checkpoint(), "third", "mit")
    assert shipped.names() == ["mt4ssl-small", "other"]
