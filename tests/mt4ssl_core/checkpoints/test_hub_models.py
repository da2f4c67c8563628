"""Models by their name: a hub on this machine, and the layout of the hub's cache."""

import json
import socket
from pathlib import Path
from typing import Any

import pytest
import toy
from hub_stub import COMMIT, GATED, at
from huggingface_hub import constants
from test_convert import ours_file

from mt4ssl_core import config
from mt4ssl_core.checkpoints import convert
from mt4ssl_core.checkpoints.foreign import hub_models
from mt4ssl_core.labelling.frame_features import FeatureSource
from mt4ssl_core.settings import hub_names
from mt4ssl_core.training import pretrain as loop
from upstream.door.expert import UpstreamExpert
from upstream.heads import arguments
from upstream.suite.suite import owner_of
from upstream.suite.suite_request import SuiteRequest


def exported(tmp_path: Path) -> dict[str, bytes]:
    """The files of a model in transformers' form, and what is never to be downloaded."""
    folder = convert.export_hf(ours_file(tmp_path / "ours.pt"), tmp_path / "exported")
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    return files | {"pytorch_model.bin": b"pickled", "modeling.py": b"raise", "README.md": b"#"}


def test_a_name_is_downloaded_once_and_says_its_revision(tmp_path, hub):
    hub.files["org/name"] = files = exported(tmp_path)
    path = hub_models.local("org/name")
    assert hub_models.origin(path) == f"org/name@{COMMIT}"
    names = ["config.json", "model.safetensors", "preprocessor_config.json"]
    assert sorted(file.name for file in path.iterdir()) == names
    assert sorted(set(hub.asked)) == names
    assert all((path / name).read_bytes() == files[name] for name in names)
    hub.asked.clear()
    hub.files.clear()  # from now on out of the cache
    assert hub_models.local("org/name") == path
    assert hub_models.local(f"org/name@{COMMIT}") == path
    assert UpstreamExpert("org/name").encoder.dim == 32
    request = SuiteRequest(tmp_path / "out", tmp_path, ckpt="org/name")
    assert owner_of(request)["hub_model"] == f"org/name@{COMMIT}"
    assert FeatureSource.of("ckpt:org/name:1").name == f"ckpt:{path}:1"
    assert not hub.asked


def test_folders_of_the_cache_are_models(tmp_path, hub):
    hub.files["org/name"] = exported(tmp_path)
    snapshot = hub_models.local("org/name")
    whole = tmp_path / "cache" / "models--org--name"
    assert hub_models.local(whole) == hub_models.local(snapshot) == snapshot
    assert convert.load_encoder(whole).dim == 32
    (whole / "refs" / "main").write_text("another")
    assert hub_models.local(whole) == snapshot  # there is one
    (whole / "snapshots" / "second").mkdir()
    with pytest.raises(ValueError, match=r"models--org--name: no snapshot of main.*second"):
        hub_models.local(whole)


def test_pickled_weights_only_where_there_are_no_others(tmp_path, hub):
    hub.files["org/name"] = files = exported(tmp_path)
    files.pop("model.safetensors")
    path = hub_models.local("org/name")
    assert (path / "pytorch_model.bin").is_file() and not (path / "modeling.py").exists()


CODE = {"model_type": "hubert", "auto_map": {"AutoModel": "modeling.Model"}}


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (CODE, "auto_map.*never run"),
        ({"model_type": "whisper"}, "model_type 'whisper'; give a data2vec-audio"),
    ],
)
def test_what_cannot_be_read_is_refused_before_its_weights_come(tmp_path, hub, settings, says):
    hub.files["org/name"] = exported(tmp_path) | {"config.json": json.dumps(settings).encode()}
    with pytest.raises(ValueError, match=rf"org/name/config\.json: {says}"):
        hub_models.local("org/name")
    assert "model.safetensors" not in hub.asked


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("org/absent", "neither a file or folder here nor a model on Hugging Face's hub"),
        (GATED, r"gated: accept its terms at https://huggingface\.co/org/gated"),
        ("org/name@v9", "no revision 'v9'"),
        ("org/bare", "neither model.safetensors nor pytorch_model.bin"),
        ("org/empty", r"no config\.json on the hub"),
    ],
)
def test_what_is_not_there_is_said(tmp_path, hub, name, says):
    hub.files["org/name"] = exported(tmp_path)
    hub.files["org/bare"] = {"config.json": b"{}"}
    hub.files["org/empty"] = {"x.pt": b""}
    with pytest.raises(ValueError, match=rf"^{name.partition('@')[0]}: .*{says}"):
        hub_models.local(name)


def test_without_network_the_command_to_download_is_said(tmp_path, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        at(monkeypatch, free.getsockname()[1], tmp_path)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ValueError, match="`hf download org/name`, then give the folder"):
        hub_models.local("org/name")
    with pytest.raises(ValueError, match="`hf download org/name --revision v1`"):
        hub_models.local("org/name@v1")


def test_a_mistyped_path_is_no_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    for path in ("runs/frist", "other/last.pt", "other/my.py", "a/b/c", "~/x", "./a/b", "name"):
        assert not hub_names.is_name(path), path
    assert hub_names.is_name("org/name") and hub_names.is_name("org/name-v1.5@main")
    with pytest.raises(ValueError, match=r"runs/frist: no such checkpoint; check the path"):
        arguments.check_upstream("mt4ssl", "runs/frist")


def test_pretraining_starts_from_a_name(tmp_path, hub, capsys):
    corpus = toy.corpus(tmp_path, utterances=6)

    def run(out: str, **changes: Any) -> Path:
        words = toy.overrides(corpus, tmp_path / out, optim__max_updates=1, **changes)
        return loop.pretrain(config.load("tiny", words, files=True))

    folder = convert.export_hf(run("first"), tmp_path / "exported")
    hub.files["org/name"] = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert run("second", run__init_from="org/name").is_file()
    assert f"started from the weights of org/name@{COMMIT}" in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"^org/name@main: holds no state of the optimiser"):
        run("third", run__continue_from="org/name@main")
    with pytest.raises(ValueError, match=r"run\.init_from: gone/last\.pt: no such file or folder"):
        run("fourth", run__init_from="gone/last.pt")
