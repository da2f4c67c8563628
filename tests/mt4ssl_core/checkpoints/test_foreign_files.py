"""Which files a checkpoint has, what trainers wrap around names, and what cannot be read."""

import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from test_convert import AFTER5, SINGLE, fairseq_variant, ours_file

from mt4ssl_core.checkpoints import checkpoint, convert
from mt4ssl_core.checkpoints.fingerprints import checkpoint_fingerprint
from mt4ssl_core.checkpoints.foreign.checkpoint_files import all_files
from mt4ssl_core.labelling.frame_features import FeatureSource
from upstream.door import cache, expert


def exported(tmp_path: Path, **changes) -> Path:
    return convert.export_hf(ours_file(tmp_path / "ours.pt", **changes), tmp_path / "hf")


def same(path: Path, other: Path) -> bool:
    a, b = (convert.load_encoder(p).state_dict() for p in (path, other))
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def spread(folder: Path, form: str) -> None:
    """Write the weights of a folder in another of the forms that Hugging Face has."""
    single = folder / "model.safetensors"
    weights = load_file(single)
    single.unlink()
    if form == "bin":
        torch.save(weights, folder / "pytorch_model.bin")
        return
    name, suffix = ("pytorch_model", "bin") if "bin" in form else ("model", "safetensors")
    parts = {key: f"{name}-{i % 2}.{suffix}" for i, key in enumerate(weights)}
    for part in set(parts.values()):
        chosen = {key: value for key, value in weights.items() if parts[key] == part}
        save = torch.save if suffix == "bin" else save_file
        save(chosen, folder / part)
    index = {"metadata": {}, "weight_map": parts}
    (folder / f"{name}.{suffix}.index.json").write_text(json.dumps(index))


@pytest.mark.parametrize("form", ["bin", "bin shards", "safetensors shards"])
def test_every_command_knows_every_form_of_a_folder(tmp_path, form):
    folder = exported(tmp_path)
    spread(folder, form)
    assert same(folder, tmp_path / "ours.pt")  # load_any: extract, probe, export, init_from
    assert expert.UpstreamExpert(str(folder)).encoder.cfg.dim == 32  # -k, superb run
    first = cache.file_fingerprint(folder)
    assert len(first) == 16 and checkpoint_fingerprint(folder).startswith(first)
    source = FeatureSource.of(f"ckpt:{folder}:1")  # k-means
    assert source.sha256 == checkpoint_fingerprint(folder)
    weights = all_files(folder)[-1]
    weights.write_bytes(weights.read_bytes() + b"\0")
    assert cache.file_fingerprint(folder) != first
    weights.unlink()
    with pytest.raises(ValueError, match=r"which is not beside it|no model\.safetensors or"):
        cache.file_fingerprint(folder)


def test_a_folders_fingerprint_is_of_its_settings_too(tmp_path):
    folder = exported(tmp_path)
    first = checkpoint_fingerprint(folder)
    assert first == checkpoint_fingerprint(folder / "model.safetensors")
    options = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(options | {"num_attention_heads": 2}))
    assert checkpoint_fingerprint(folder) != first
    with pytest.raises(ValueError, match="heads 4 there, 2 here"):
        convert.load_any(folder)


WRAPPED = ["module.", "_orig_mod.", "model.", "encoder.", "module._orig_mod.w2v_encoder.w2v_model."]


@pytest.mark.parametrize("prefix", WRAPPED)
@pytest.mark.parametrize("origin", ["ours", "fairseq", "hugging face", "lightning"])
def test_names_lose_what_trainers_put_before_them(tmp_path, prefix, origin):
    def wrapped(weights):
        return {f"{prefix}{k}": v for k, v in weights.items() if isinstance(v, torch.Tensor)}

    plain = ours_file(tmp_path / "ours.pt")
    if origin == "ours":
        state = checkpoint.load(plain)
        path = tmp_path / "wrapped.pt"
        checkpoint.save(path, state | {"encoder": wrapped(state["encoder"])})
    elif origin == "fairseq":
        plain = AFTER5

        def change(state):
            state["cfg"]["model"]["_name"] = "hubert"
            state["model"] = wrapped(state["model"])

        path = fairseq_variant(tmp_path, change)
    else:
        path = convert.export_hf(plain, tmp_path / "hf")
        weights = wrapped(load_file(path / "model.safetensors"))
        (path / "model.safetensors").unlink()
        if origin == "lightning":
            torch.save({"state_dict": weights, "epoch": 1}, path / "pytorch_model.bin")
        else:
            save_file(weights, path / "model.safetensors")
    assert same(path, plain)


def test_names_that_nobody_knows_are_shown_with_those_expected(tmp_path):
    folder = exported(tmp_path)
    weights = {f"student.{k}": v for k, v in load_file(folder / "model.safetensors").items()}
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(ValueError, match=r"it has student\..*expected feature_extractor"):
        convert.load_any(folder)
    state = checkpoint.load(tmp_path / "ours.pt")
    state["encoder"] = {f"x.{key}": value for key, value in state["encoder"].items()}
    checkpoint.save(tmp_path / "x.pt", state)
    with pytest.raises(ValueError, match=r"x\.pt: .*it has x\..*expected mask_embedding"):
        convert.load_any(tmp_path / "x.pt")
    state = checkpoint.load(tmp_path / "ours.pt")
    state["encoder"] |= {f"module.{key}": value for key, value in state["encoder"].items()}
    checkpoint.save(tmp_path / "x.pt", state)
    with pytest.raises(ValueError, match=r"x\.pt: .*2 encoders \(, module\.\)"):
        convert.load_any(tmp_path / "x.pt")


@pytest.mark.parametrize("key", [None, "state_dict", "model"])
def test_weights_without_settings_are_told_where_to_go(tmp_path, key):
    folder = exported(tmp_path)
    weights = load_file(folder / "model.safetensors")
    path = tmp_path / "loose.pt"
    torch.save(weights if key is None else {key: weights}, path)
    with pytest.raises(ValueError, match=r"loose\.pt: .*as pytorch_model\.bin beside the model's"):
        convert.load_any(path)
    (folder / "model.safetensors").unlink()
    path.rename(folder / "pytorch_model.bin")  # what the message says
    assert same(folder, tmp_path / "ours.pt")


@torch.no_grad()
@pytest.mark.parametrize("origin", ["ours", "fairseq", "hugging face"])
@pytest.mark.parametrize("zero", [False, True])
def test_merged_weight_norm_is_split_again(tmp_path, origin, zero):
    plain = ours_file(tmp_path / "ours.pt", **SINGLE)
    state = convert.load_any(plain)
    g, v = (state["encoder"].pop(f"context.pos_conv.0.conv.parametrizations.weight.original{i}")
            for i in (0, 1))  # fmt: skip
    weight = g * v / v.norm(dim=(0, 1), keepdim=True)
    weight[:, :, 3] *= not zero
    if origin == "hugging face":
        path = convert.export_hf(plain, tmp_path / "hf")
        weights = load_file(path / "model.safetensors")
        weights = {k: v for k, v in weights.items() if "parametrizations" not in k}
        save_file(weights | {"encoder.pos_conv_embed.conv.weight": weight},
                  path / "model.safetensors")  # fmt: skip
    else:
        path = tmp_path / "merged.pt"
        state["encoder"]["context.pos_conv.0.conv.weight"] = weight
        checkpoint.save(path, state)
    loaded = convert.load_encoder(path).context.pos_conv[0].conv.weight  # type: ignore[union-attr]
    assert torch.allclose(loaded, weight, atol=1e-7)  # type: ignore[arg-type]
    assert same(path, plain) or not torch.equal(g, v)


def test_a_run_folder_is_told_which_file_to_give(tmp_path):
    ours_file(tmp_path / "last.pt")
    with pytest.raises(ValueError, match=r"give a file in it, e\.g\. .*last\.pt"):
        convert.load_any(tmp_path)


REMEDY = """
import sys, torch, types
module = types.ModuleType("their_code")
module.Thing = type("Thing", (), {"__module__": "their_code"})
sys.modules["their_code"] = module
"""


def test_the_remedy_for_foreign_objects_works(tmp_path):
    path = fairseq_variant(tmp_path, lambda state: None)
    make = REMEDY + "s = torch.load('variant.pt', weights_only=True)\n"
    make += "s['extra_state'] = module.Thing()\ntorch.save(s, 'theirs.pt')"
    subprocess.run([sys.executable, "-c", make], cwd=tmp_path, check=True)
    with pytest.raises(ValueError, match=r"names their_code\.Thing") as caught:
        convert.load_any(tmp_path / "theirs.pt")
    code = str(caught.value).split('python -c "')[1].split('"')[0]
    subprocess.run([sys.executable, "-c", REMEDY + code], cwd=tmp_path, check=True)
    assert same(tmp_path / "plain_theirs.pt", path)


def test_a_pickle_of_another_kind(tmp_path):
    (tmp_path / "x.pt").write_bytes(pickle.dumps({"a": Path("b")}))
    with pytest.raises(ValueError, match=r"x\.pt: its pickle names pathlib"):
        convert.load_any(tmp_path / "x.pt")
