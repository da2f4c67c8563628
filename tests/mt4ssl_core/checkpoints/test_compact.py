"""An encoder alone in half precision, with its settings inside and a card beside it."""

import json
from pathlib import Path

import pytest
import torch
import yaml
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from superb_data import tiny_checkpoint
from test_convert import ours_file
from toy import configuration, corpus

from analysis import exporting
from mt4ssl_core import config, shipped
from mt4ssl_core.checkpoints import checkpoint, compact, convert, tensor_files
from mt4ssl_core.checkpoints.foreign.export.card import Card
from mt4ssl_core.checkpoints.foreign.export.to_compact import difference
from mt4ssl_core.distributed import World
from mt4ssl_core.training.state import Training


@pytest.mark.parametrize("changes", [{}, {"frontend": "mel", "pre_norm": True}])
def test_half_precision_goes_there_and_back(tmp_path, changes):
    path = ours_file(tmp_path / "ours.pt", **changes)
    out = convert.export(path, tmp_path / "out", "compact")
    before, after = convert.load_any(path), convert.load_any(out)
    assert after["config"]["encoder"] == before["config"]["encoder"]
    for name, value in before["encoder"].items():
        assert torch.equal(after["encoder"][name], value.half().float()), name
    count = sum(value.numel() for value in before["encoder"].values())
    assert (out / shipped.WEIGHTS).stat().st_size < 2 * count + 20_000
    assert convert.load_any(out / shipped.WEIGHTS)["encoder"].keys() == before["encoder"].keys()
    again = convert.export(out, tmp_path / "again", "compact")
    assert load_file(again / shipped.WEIGHTS).keys() == before["encoder"].keys()


def test_what_half_precision_costs_is_said(tmp_path):
    path = ours_file(tmp_path / "ours.pt")
    out = convert.export(path, tmp_path / "out", "compact")
    cost = difference(convert.load_encoder(path), convert.load_encoder(out))
    assert 1e-6 < cost < 2e-2
    assert f"{cost:.1e} of the layer's largest" in str(convert.export_note(out))
    assert f"Note: {convert.export_note(out)}." in (out / "README.md").read_text()


def trained(tmp_path: Path) -> Path:
    """A checkpoint with targets, and a log of its audio beside it."""
    cfg = configuration(corpus(tmp_path / "data"), tmp_path, encoder__frontend="mel")
    state = Training(cfg, World(0, 1, torch.device("cpu"))).state_dict()
    state["progress"] |= {"update": 1200, "audio_hours": 4.2, "wall_hours": 0.5}
    checkpoint.save(tmp_path / "last.pt", state)
    log = {"update": 0, "train_hours": 1.5, "train_files": 1234}
    (tmp_path / "log.jsonl").write_text(json.dumps(log) + "\n")
    return tmp_path / "last.pt"


def test_the_card_has_the_command_the_hours_and_what_its_user_adds(tmp_path):
    about = tmp_path / "about.md"
    about.write_text("## Audio\n\nAN4, from CMU.\n")
    exporting.export(
        str(trained(tmp_path)), str(tmp_path / "out"), "compact", license="mit", about=str(about)
    )
    card = (tmp_path / "out" / "README.md").read_text()
    front = yaml.safe_load(card.split("---\n")[1])
    assert front["library_name"] == "mt4ssl" and front["license"] == "mit"
    assert "AN4, from CMU." in card and 'mt4ssl.load("out").features' in card
    for fact in (
        "- updates: 1,200",
        "- audio: 1.5 h in 1,234",
        "- audio heard: 4.2 h",
        "took: 0.5",
    ):
        assert fact in card
    assert "mt4ssl pretrain settings.yaml data.train=AUDIO.tsv" in card
    assert str(tmp_path) not in card


def test_the_card_of_one_on_the_hub_says_how_it_gets_here(tmp_path):
    path = ours_file(tmp_path / "ours.pt")
    convert.export(path, tmp_path / "out", "compact", Card("org/name"))
    card = (tmp_path / "out" / "README.md").read_text()
    assert 'mt4ssl.load(snapshot_download("org/name")).features' in card
    assert "from huggingface_hub import snapshot_download" in card


def test_the_settings_in_the_card_train_the_same_model(tmp_path):
    path = trained(tmp_path)
    convert.export(path, tmp_path / "out", "compact")
    card = (tmp_path / "out" / "README.md").read_text()
    settings = tmp_path / "settings.yaml"
    settings.write_text(card.split("```yaml\n")[1].split("```")[0])
    was = checkpoint.load(path)["config"]
    here = [f"data.train={was['data']['train']}", f"data.labels={was['data']['labels']}"]
    again = config.to_dict(config.load(str(settings), here))
    for name in again.keys() - {"run", "data"}:
        assert again[name] == was[name], name
    assert again["data"]["batch_seconds"] == was["data"]["batch_seconds"]
    assert again["run"]["seed"] == was["run"]["seed"]


def altered(out: Path, **said) -> None:
    """Write the weights again, with something else said of them."""
    file = out / shipped.WEIGHTS
    with safe_open(file, framework="pt") as opened:
        values = json.loads(opened.metadata()[compact.SETTINGS]) | said
    tensor_files.save(file, load_file(file), {compact.SETTINGS: json.dumps(values)})


@pytest.mark.parametrize(
    ("said", "says"),
    [
        ({"version": 2}, "compact model of version 2"),
        ({"encoder": {"dim": 12_000}}, "weights of another shape"),
        ({"encoder": {"dimm": 16}}, "dimm"),
        ({"encoder": None}, "weights of another|other names"),
    ],
)
def test_settings_that_do_not_fit_are_refused(tmp_path, said, says):
    out = convert.export(ours_file(tmp_path / "ours.pt"), tmp_path / "out", "compact")
    altered(out, **said)
    with pytest.raises(ValueError, match=rf"(?s)model\.safetensors.*({says})"):
        convert.load_encoder(out)


def test_damage_is_noticed(tmp_path):
    out = convert.export(ours_file(tmp_path / "ours.pt"), tmp_path / "out", "compact")
    file = out / shipped.WEIGHTS
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(ValueError, match=r"damaged \(its checksum does not agree\)"):
        convert.load_encoder(out)
    file.write_bytes(whole[:-100])
    with pytest.raises(ValueError, match=r"model\.safetensors: cannot be read"):
        convert.load_encoder(out)
    file.write_bytes(whole)
    about = {compact.SETTINGS: "{}"}
    save_file(load_file(file), file, about)
    with pytest.raises(ValueError, match=r"damaged \(it has lost its checksum\)"):
        convert.load_encoder(out)


def test_a_weight_beyond_half_precision_is_refused(tmp_path):
    state = checkpoint.load(tiny_checkpoint())
    next(iter(state["encoder"].values())).fill_(1e6)
    checkpoint.save(tmp_path / "large.pt", state)
    with pytest.raises(ValueError, match=r"large\.pt: .* is beyond half precision"):
        convert.export(tmp_path / "large.pt", tmp_path / "out", "compact")
    assert not (tmp_path / "out").exists()
