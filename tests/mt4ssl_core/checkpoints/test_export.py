"""What goes out to fairseq and torchaudio: as theirs, and back bit for bit."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torchaudio
import transformers
from reference import to_fairseq
from safetensors.torch import load_file
from test_convert import AFTER5, FP16, FP32, HF_SMALL, SINGLE, VARIANTS, ours_file, perturb
from test_torchaudio_models import bundle
from toy import configuration

from mt4ssl_core.checkpoints import checkpoint, convert
from mt4ssl_core.checkpoints.foreign import fairseq
from mt4ssl_core.distributed import World
from mt4ssl_core.settings.export_formats import FORMATS
from mt4ssl_core.training.state import Training

WAVLM: dict[str, Any] = {**SINGLE, "relative_buckets": 16, "relative_distance": 24}


def read(folder: Path) -> dict[str, Any]:
    return checkpoint.read(folder / "checkpoint.pt", fairseq.CLASSES)


def same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    """Whether two state dicts have the same names in the same order, types and bits."""
    return list(a) == list(b) and all(
        same(v, b[k]) if isinstance(v, dict) else v.dtype == b[k].dtype and torch.equal(v, b[k])
        for k, v in a.items()
    )


def encoders_agree(path: Path, back: Path) -> bool:
    one, two = convert.load_any(path), convert.load_any(back)
    sections = [dict(state["config"]["encoder"]) for state in (one, two)]
    return sections[0] == sections[1] and same(
        dict(sorted(one["encoder"].items())), dict(sorted(two["encoder"].items()))
    )


# ---- fairseq


@pytest.mark.parametrize("path", [AFTER5, FP32, FP16], ids=lambda p: p.stem)
def test_a_file_of_fairseq_comes_back_as_it_was(tmp_path, path):
    theirs = checkpoint.read(path, fairseq.CLASSES)
    ours = read(convert.export(path, tmp_path / "out", "fairseq"))
    assert list(ours) == list(theirs)
    assert same(ours["model"], theirs["model"])  # heads and teacher as well, in the same order
    for name, section in ours["cfg"].items():
        for key, value in (section or {}).items():
            if key not in ("data", "label_dir", "conv_feature_layers", "loss_weights"):
                assert theirs["cfg"][name][key] == value, f"{name}.{key}"
    for key in ("optimizer_history", "extra_state"):
        assert type(ours[key]) is type(theirs[key])
    assert ours["optimizer_history"][0].keys() == theirs["optimizer_history"][0].keys()
    assert ours["extra_state"].keys() == theirs["extra_state"].keys()
    updates = [s["optimizer_history"][-1]["num_updates"] for s in (ours, theirs)]
    assert updates[0] == updates[1]
    symbols = [vars(s["task_state"]["discrete_dictionary"]) for s in (ours, theirs)]
    assert symbols[0] == symbols[1]
    again, first = convert.load_any(tmp_path / "out" / "checkpoint.pt"), convert.load_any(path)
    assert again["config"] == first["config"]
    assert same(again["encoder"], first["encoder"])
    assert again["progress"] == first["progress"]
    for name, moments in first["optimizer_by_name"].items():
        assert again["optimizer_by_name"][name]["step"] == moments["step"]
        for key in ("exp_avg", "exp_avg_sq"):
            assert torch.equal(again["optimizer_by_name"][name][key], moments[key])


def test_moments_are_numbered_as_there(tmp_path):
    theirs = checkpoint.read(FP32, fairseq.CLASSES)["last_optimizer_state"]
    ours = read(convert.export(FP32, tmp_path / "out", "fairseq"))["last_optimizer_state"]
    assert ours["state"].keys() == theirs["state"].keys()
    assert all(same(_tensors(ours["state"][i]), _tensors(theirs["state"][i])) for i in range(106))
    assert ours["param_groups"][0]["params"] == theirs["param_groups"][0]["params"]


def _tensors(entry: dict[str, Any]) -> dict[str, Any]:
    return {key: entry[key] for key in ("exp_avg", "exp_avg_sq")}


FORMS: dict[str, dict[str, Any]] = {
    "data2vec": {},
    "data2vec-pre-LN": {"pre_norm": True, "conv_bias": True},
    "hubert": {**SINGLE, "extractor_norm": "group_norm", "normalize": False},
    "large": {**SINGLE, "pre_norm": True, "conv_bias": True},
    "eps": {"normalize_eps": 1e-7},
    "wavlm": {**WAVLM, "extractor_norm": "group_norm", "normalize": False},
    "wavlm-large": {**WAVLM, "pre_norm": True},
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_encoder_comes_back_from_fairseqs(tmp_path, form):
    path = ours_file(tmp_path / "ours.pt", **FORMS[form])
    out = convert.export(path, tmp_path / "out", "fairseq")
    assert encoders_agree(path, out / "checkpoint.pt")
    name = read(out)["cfg"].get("model", {}).get("_name")
    assert name == (None if "wavlm" in form else "data2vec_audio")
    assert ("adds 1e-05" in (convert.export_note(out) or "")) == (form == "eps")
    convert.export(path, out, "fairseq")  # takes the place of the former
    assert sorted(file.name for file in tmp_path.iterdir()) == ["ours.pt", "out"]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"relative_buckets": 16}, "pos_conv_depth 5 with relative_buckets"),
        ({**WAVLM, "dim": 16}, "as many channels as dim"),
        ({"pos_conv_kernel": 1}, "at least 3"),
    ],
)
def test_forms_that_fairseq_lacks_are_named(tmp_path, changes, says):
    path = ours_file(tmp_path / "ours.pt", **changes)
    with pytest.raises(ValueError, match=rf"ours\.pt: no model of fairseq's has .*{says}"):
        convert.export(path, tmp_path / "out", "fairseq")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("to", ["hf", "fairseq", "torchaudio"])
def test_log_mel_frames_go_nowhere(tmp_path, to):
    path = ours_file(tmp_path / "ours.pt", frontend="mel")
    with pytest.raises(ValueError, match=r"ours\.pt: encoder\.frontend is mel, and (Hug|fai|tor)"):
        convert.export(path, tmp_path / "out", to)


def test_an_encoder_in_a_python_file_has_no_other_form(tmp_path):
    (tmp_path / "mine.py").write_text("class Mine: ...")
    for to in FORMATS:
        with pytest.raises(ValueError, match="or a Python file, which none can hold"):
            convert.export(f"{tmp_path / 'mine.py'}:Mine", tmp_path / "out", to)


# ---- torchaudio


@pytest.mark.parametrize("kind", ["hubert_base", "wav2vec2_large", "wavlm_base", "wavlm_large"])
def test_a_state_dict_of_torchaudio_comes_back_as_it_was(tmp_path, kind):
    weights = bundle(kind).state_dict()
    torch.save(weights, tmp_path / "model.pth")
    out = convert.export(tmp_path / "model.pth", tmp_path / "out", "torchaudio")
    ours = torch.load(out / "model.pt", weights_only=True)
    assert same(dict(sorted(ours.items())), dict(sorted(weights.items())))


@torch.no_grad()
@pytest.mark.parametrize("form", ["hubert", "large", "wavlm", "wavlm-large"])
def test_the_function_beside_it_makes_the_same_model(tmp_path, form):
    path = ours_file(tmp_path / "ours.pt", **FORMS[form])
    out = convert.export(path, tmp_path / "out", "torchaudio")
    record = json.loads((out / "export.json").read_text())
    make = getattr(torchaudio.models, record["function"].removeprefix("torchaudio.models."))
    model = make(**record["arguments"]).eval()
    model.load_state_dict(torch.load(out / "model.pt", weights_only=True))  # strict
    encoder: Any = convert.load_encoder(path)
    wave = torch.randn(1, 6000)
    ours, theirs = encoder(wave, torch.tensor([6000])).output, model(wave)[0]
    assert float((ours - theirs).abs().max() / theirs.abs().max()) <= 1e-5
    assert (record["waveforms"] == "as they are") == (not encoder.cfg.normalize)
    assert record["function"] in str(convert.export_note(out))


def test_a_stacked_convolution_is_refused_by_torchaudios_name(tmp_path):
    path = ours_file(tmp_path / "ours.pt")
    with pytest.raises(ValueError, match=r"ours\.pt: pos_conv_depth 5: torchaudio's models"):
        convert.export(path, tmp_path / "out", "torchaudio")


# ---- From one to the other


@pytest.mark.parametrize(
    "variant", ["data2vec", "hubert-layer-pre", "wavlm-group-post", "hubert-layer-post"]
)
def test_from_hugging_face_over_fairseq_and_back(tmp_path, variant):
    kind, changes = VARIANTS[variant]
    model = transformers.AutoModel.from_config(kind(**HF_SMALL, **changes))
    perturb(model).save_pretrained(tmp_path / "theirs")
    there = convert.export(tmp_path / "theirs", tmp_path / "fairseq", "fairseq")
    assert encoders_agree(tmp_path / "theirs", there / "checkpoint.pt")
    convert.export(there / "checkpoint.pt", tmp_path / "back")
    before, after = (load_file(tmp_path / n / "model.safetensors") for n in ("theirs", "back"))
    assert same(dict(sorted(before.items())), dict(sorted(after.items())))


def test_names_agree_with_the_reader_of_the_tests(tmp_path):
    state = convert.load_any(AFTER5)
    ours = read(convert.export(AFTER5, tmp_path / "out", "fairseq"))["model"]
    assert ours.keys() == to_fairseq(state).keys()


def test_a_run_of_ours_keeps_heads_teacher_and_optimiser(tmp_path):
    """Moments go by the parameters' names there, in an order that is not ours."""
    settings = configuration(("train", "train.km"), tmp_path / "run", random_projection="{}")
    training = Training(settings, World(0, 1, torch.device("cpu")))
    for parameter in training.model.parameters():
        parameter.grad = torch.randn_like(parameter) if parameter.requires_grad else None
    training.optimizer.step()
    training.progress.update, training.progress.epoch = 7, 2
    checkpoint.save(tmp_path / "ours.pt", training.state_dict())
    out = convert.export(tmp_path / "ours.pt", tmp_path / "out", "fairseq")
    ours = convert.load_any(tmp_path / "ours.pt")
    back = convert.load_any(out / "checkpoint.pt")
    assert back["progress"]["update"] == 7 and back["progress"]["epoch"] == 2
    assert back["targets"].keys() == {"offline", "online"}
    for name, values in back["targets"].items():
        assert all(torch.equal(values[key], ours["targets"][name][key]) for key in values)
    assert back["config"]["offline"]["label_offset"] == 0
    assert back["config"]["optim"]["lr"] == settings.optim.lr
    moments = back["optimizer_by_name"]
    for name, parameter in training.model.named_parameters():
        if parameter.requires_grad and "random_projection" not in name:
            theirs = training.optimizer.state[parameter]
            assert torch.equal(moments[name]["exp_avg"], theirs["exp_avg"]), name
