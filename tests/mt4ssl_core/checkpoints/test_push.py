"""Exported folders on a hub on this machine."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hub_stub import COMMIT, Hub, at
from huggingface_hub import constants
from test_convert import ours_file

import mt4ssl
from mt4ssl_cli import commands
from mt4ssl_core.checkpoints import convert
from mt4ssl_core.checkpoints.foreign import hub_models
from mt4ssl_core.checkpoints.foreign.export import push

TOKEN = "hf_thisIsASecretThatNobodySees"
FILES = ["README.md", "config.json", "model.safetensors", "preprocessor_config.json"]


@pytest.fixture
def token(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    return TOKEN


def test_a_model_goes_to_the_hub_and_comes_back(tmp_path, hub: Hub, token, capsys):
    path = ours_file(tmp_path / "ours.pt")
    words = ["export", str(path), "model", "--push", "org/name", "--license", "mit"]
    assert commands.main([*words, "--datasets", "org/speech, org/more"]) == 0
    said = capsys.readouterr()
    assert "/org/name" in said.out.splitlines()[-1]
    assert TOKEN not in said.out + said.err
    assert hub.made["org/name"]["visibility"] == "private"
    assert sorted(hub.files["org/name"]) == FILES
    card = hub.files["org/name"]["README.md"].decode()
    front = yaml.safe_load(card.split("---")[1])
    assert front["license"] == "mit" and front["datasets"] == ["org/speech", "org/more"]
    assert front["library_name"] == "transformers" and "data2vec-audio" in front["tags"]
    assert 'AutoModel.from_pretrained("org/name")' in card
    back = convert.load_any(hub_models.local("org/name"))
    assert back["config"]["encoder"] == convert.load_any(path)["config"]["encoder"]


def test_from_python_for_all_to_see(tmp_path, hub: Hub, token):
    encoder = mt4ssl.load(ours_file(tmp_path / "ours.pt"))
    written = encoder.save_pretrained(tmp_path / "out", push="org/open", private=False)
    assert hub.made["org/open"]["visibility"] == "public"
    assert sorted(hub.files["org/open"]) == FILES
    encoder.save_pretrained(written, push="org/open")  # what is there stays as it is
    assert hub.made["org/open"]["visibility"] == "public"
    assert hub_models.origin(hub_models.local("org/open")) == f"org/open@{COMMIT}"


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (401, "does not accept this token; log in with `hf auth login`"),
        (403, "no permission to write there; ask org for it"),
        (500, r"the hub refuses \(500: "),
    ],
)
def test_what_the_hub_refuses_is_said_without_the_token(
    tmp_path, hub, token, status, says, capsys, monkeypatch
):
    hub.refuses = status
    path = ours_file(tmp_path / "ours.pt")
    assert commands.main(["export", str(path), "model", "--push", "org/name"]) == 2
    said = capsys.readouterr()
    assert len(said.err.strip().splitlines()) == 1 and TOKEN not in said.out + said.err
    monkeypatch.setenv("MT4SSL_DEBUG", "1")  # shows tracebacks
    assert commands.main(["export", str(path), "model", "--push", "org/name"]) == 2
    said = capsys.readouterr()
    assert "Traceback" in said.err and TOKEN not in said.out + said.err
    with pytest.raises(ValueError, match=f"^--push org/name: .*{says}.*model is written and stays"):
        push.push(Path("model"), "org/name")
    assert convert.load_encoder("model").dim == 32


def test_without_network(tmp_path, token, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        at(monkeypatch, free.getsockname()[1], tmp_path / "cache")
    folder = convert.export_hf(ours_file(tmp_path / "ours.pt"), tmp_path / "out")
    with pytest.raises(ValueError, match="where there is network, give the same command again"):
        push.push(folder, "org/name")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ValueError, match=r"--push org/name: .*out is written and stays"):
        push.push(folder, "org/name")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--push", "name"], "--push 'name': not a name on the hub; give ORG/NAME"),
        (["--push", "a/b/c"], "--push 'a/b/c': not a name on the hub"),
        (["--push", "org/na me"], "not a name on the hub"),
        (["--push", "org/name"], "not logged in to Hugging Face's hub; log in with"),
        (["--public"], "--public: nothing is pushed"),
        (
            ["--to", "fairseq", "--license", "mit"],
            "--license is for the model card, and --to fairseq has none",
        ),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_written(
    tmp_path, monkeypatch, words, says, capsys
):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    monkeypatch.chdir(tmp_path)
    path = ours_file(tmp_path / "ours.pt")
    assert commands.main(["export", str(path), "model", *words]) == 2
    assert says in capsys.readouterr().err
    assert not Path("model").exists()


def test_the_hub_s_client_is_whole_in_a_process_of_its_own(tmp_path):
    seen = "from mt4ssl_core.checkpoints.foreign.export import push; push.check('org/name')"
    environment = os.environ | {"HF_TOKEN": "", "HF_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", seen], env=environment, capture_output=True, text=True, check=False
    )
    assert "not logged in to Hugging Face's hub" in done.stderr
