"""Names and weights against fairseq's own checkpoints, arithmetic against transformers' models."""

import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from reference import to_fairseq
from safetensors.torch import load_file, save_file

from mt4ssl_core import config
from mt4ssl_core.checkpoints import checkpoint, convert
from mt4ssl_core.checkpoints.foreign import fairseq
from mt4ssl_core.config import EncoderConfig
from mt4ssl_core.model.encoder import Encoder
from mt4ssl_core.model.mt4ssl import MT4SSL

REFERENCE = Path(__file__).parents[2] / "fixtures" / "reference"
AFTER5 = REFERENCE / "fairseq_checkpoint_after5.pt"
FP32 = REFERENCE / "fairseq_hydra_fp32_checkpoint.pt"
FP16 = REFERENCE / "fairseq_hydra_fp16_checkpoint.pt"

CONV = [[16, 10, 5]] + [[16, 3, 2]] * 4 + [[16, 2, 2]] * 2
SMALL: dict[str, Any] = {"conv_layers": CONV, "dim": 32, "layers": 3, "heads": 4, "ffn_dim": 64}
SINGLE: dict[str, Any] = {"pos_conv_depth": 1, "pos_conv_kernel": 128}
HF_SMALL: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "conv_dim": [16] * 7,
}
LENGTHS = [12_000, 9_111, 4_000]


def worst(ours, theirs) -> float:
    return float((ours - theirs).abs().max() / theirs.abs().max())


def perturb(module: Any) -> Any:
    """Random gains and biases, so that no parameter is invisible."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return module.eval()


def waves() -> torch.Tensor:
    out = torch.zeros(len(LENGTHS), max(LENGTHS))
    for row, size in zip(out, LENGTHS, strict=True):
        row[:size] = torch.randn(size)
    return out


def hidden_states(model: torch.nn.Module, x: torch.Tensor, **inputs) -> list[torch.Tensor]:
    """As transformers 4 and we count: the last is the output (5 leaves out the norm of pre-LN)."""
    out = model(x, output_hidden_states=True, **inputs)
    return [*out.hidden_states[:-1], out.last_hidden_state]


@torch.no_grad()
def compare(encoder: Encoder, model: torch.nn.Module) -> float:
    """Worst error over all hidden states: each utterance alone, then (as `model` pads) together."""
    x, lengths = waves(), torch.tensor(LENGTHS)
    errors = []
    for row, size in zip(x, LENGTHS, strict=True):
        alone = row[None, :size]
        ours = encoder(alone, torch.tensor([size])).hidden_states
        theirs = hidden_states(model, alone)
        errors += [worst(a, b) for a, b in zip(ours, theirs, strict=True)]
    encoder.extractor.isolate_padding = encoder.context.isolate_padding = False
    mask = (torch.arange(x.shape[1]) < lengths[:, None]).long()
    encoded = encoder(x, lengths)
    theirs = hidden_states(model, x, attention_mask=mask)
    for a, b in zip(encoded.hidden_states, theirs, strict=True):
        errors += [worst(a[i, :n], b[i, :n]) for i, n in enumerate(encoded.lengths.tolist())]
    return max(errors)


def ours_file(path: Path, **changes) -> Path:
    """A checkpoint of ours with random weights, written to `path`."""
    cfg = config.Config(
        data=config.DataConfig(train=""), encoder=EncoderConfig(**SMALL | changes), targets={}
    )
    checkpoint.save(
        path,
        {
            "config": config.to_dict(cfg),
            "encoder": perturb(Encoder(cfg.encoder)).state_dict(),
            "targets": {},
            "optimizer": None,
            "scaler": None,
            "progress": {"update": 3, "epoch": 0, "batches_in_epoch": 3, "best": None},
        },
    )
    return path


# ---- fairseq


def test_fairseq_weights_and_teacher_arrive_bit_for_bit():
    trace = load_file(REFERENCE / "train_trace1.safetensors")
    back = to_fairseq(convert.load_any(AFTER5))
    teacher = back.pop("_ema")
    assert len(back) == 106 and len(teacher) == 76
    for key, value in back.items():
        assert torch.equal(value, trace[f"trace1.student_after5.{key}"]), key
    for key, value in teacher.items():
        assert torch.equal(value, trace[f"trace1.ema_in_checkpoint.{key}"]), key


@pytest.mark.parametrize("path", [AFTER5, FP32, FP16], ids=lambda p: p.stem)
def test_fairseq_round_trip_keeps_every_tensor(path):
    raw = checkpoint.read(path, fairseq.CLASSES)["model"]
    back = to_fairseq(convert.load_any(path))
    assert back.keys() == raw.keys()
    assert back["_ema"].keys() == raw["_ema"].keys()
    for a, b in ((back, raw), (back["_ema"], raw["_ema"])):
        assert all(torch.equal(a[k], b[k]) for k in b if k != "_ema")


@pytest.mark.parametrize("path", [AFTER5, FP32, FP16], ids=lambda p: p.stem)
def test_fairseq_starts_further_training(path):
    state = convert.load_any(path)
    cfg = config.from_dict(state["config"])
    assert cfg.targets["offline"] is not None and cfg.targets["online"] is not None
    assert (cfg.targets["offline"].num_classes, cfg.targets["offline"].label_offset) == (24, 4)
    assert (cfg.targets["online"].top_k, cfg.targets["online"].ema_start) == (3, 0.999)
    assert cfg.encoder.normalize and cfg.encoder.isolate_padding
    assert (cfg.encoder.pos_conv_depth, cfg.encoder.pos_conv_kernel) == (5, 19)
    assert state["progress"]["update"] == (5 if path == AFTER5 else 40)
    model = MT4SSL(cfg)
    checkpoint.load_into(model.encoder, state["encoder"], path)
    for name, target in model.targets.items():
        checkpoint.load_into(target, state["targets"][name], path)
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    moments = state["optimizer_by_name"]
    assert moments.keys() == trained.keys()
    for name, parameter in trained.items():
        assert moments[name]["exp_avg"].shape == parameter.shape
        assert moments[name]["step"] > 0


@pytest.mark.parametrize("path", [FP32, FP16], ids=lambda p: p.stem)
def test_moments_belong_to_their_parameters(path):
    """Key biases have a zero gradient; a shift in fp16's flat vector would put others there."""
    moments = convert.load_any(path)["optimizer_by_name"]
    for layer in range(4):
        attention = f"encoder.context.layers.{layer}.attention"
        keys = moments[f"{attention}.k_proj.bias"]["exp_avg_sq"].max()
        values = moments[f"{attention}.v_proj.bias"]["exp_avg_sq"].max()
        assert keys < 1e-3 * values


def fairseq_variant(tmp_path: Path, change) -> Path:
    """The reference checkpoint after `change(state)`, saved with the class it came with."""
    state = checkpoint.read(AFTER5, fairseq.CLASSES)
    state["task_state"] = {}  # the stand-in class cannot be pickled under its real name
    change(state)
    torch.save(state, tmp_path / "variant.pt")
    return tmp_path / "variant.pt"


@torch.no_grad()
@pytest.mark.parametrize("name", ["S", "U", "P"])
def test_fairseq_features(tmp_path, name):
    """Official weights through a fairseq file to our encoder and, alone, on to Hugging Face's."""
    weights = load_file(REFERENCE / "weights_model.safetensors")
    path = fairseq_variant(tmp_path, lambda s: s["model"].update(weights))
    state = convert.load_any(path)
    state["config"]["encoder"]["isolate_padding"] = False
    inputs = load_file(REFERENCE / "inputs.safetensors")
    wanted = load_file(REFERENCE / "features.safetensors")
    x = inputs[f"{name}.source"]
    lengths = torch.full((len(x),), x.shape[1])
    if name == "P":
        lengths -= inputs["P.padding_mask"].sum(1)
    states = convert.encoder_of(state, path)(x, lengths).hidden_states
    if name != "P":
        model = transformers.AutoModel.from_pretrained(convert.export_hf(path, tmp_path / "hf"))
        exported = hidden_states(model.eval(), x)
    for i in range(4):
        official = wanted[f"{name}.layer{i}.x"].transpose(0, 1)
        assert worst(states[i + 1], official) <= 1e-5
        assert name == "P" or worst(exported[i + 1], official) <= 1e-5


@pytest.mark.parametrize(
    "change",
    [
        lambda e: e[0].update(exp_avg=torch.zeros(3)),
        lambda e: e[0].update(exp_avg_sq=torch.zeros(3)),
        lambda e: e[0].pop("exp_avg"),
        lambda e: e.update({"a": e.pop(0)}),
        lambda e: e.pop(0),
    ],
)
def test_optimizer_of_another_layout_is_left_out(tmp_path, change):
    path = fairseq_variant(tmp_path, lambda s: change(s["last_optimizer_state"]["state"]))
    assert convert.load_any(path)["optimizer_by_name"] is None


def test_fairseq_without_optimizer_or_teacher_or_zip(tmp_path):
    def strip(state):
        del state["last_optimizer_state"], state["model"]["_ema"]

    state = convert.load_any(fairseq_variant(tmp_path, strip))
    assert state["optimizer_by_name"] is None
    assert state["targets"].keys() == {"offline"}
    assert state["config"]["offline"]["label_offset"] == 4
    raw = torch.load(tmp_path / "variant.pt", weights_only=True)
    torch.save(raw, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    old = convert.load_any(tmp_path / "old.pt")
    assert all(torch.equal(old["encoder"][k], v) for k, v in state["encoder"].items())


def test_other_fairseq_models_give_their_encoder(tmp_path):
    """As HuBERT: one weight-normed positional convolution, a head that is not ours."""
    encoder = perturb(Encoder(EncoderConfig(**SMALL, **SINGLE, extractor_norm="group_norm")))
    state = {"config": {"encoder": config.to_dict(encoder.cfg)}, "targets": {}}
    model = to_fairseq(state | {"encoder": encoder.state_dict()})
    assert {"encoder.pos_conv.0.weight_g", "feature_extractor.conv_layers.0.2.weight"} <= set(model)
    model |= {"final_proj.weight": torch.zeros(8, 32), "label_embs_concat": torch.zeros(9, 8)}
    options = {
        "_name": "hubert",
        "conv_feature_layers": " [(16,10,5)] + [(16,3,2)] * 4 + [(16,2,2)] + [(16,2,2)]",
        "extractor_mode": "default",
        "encoder_embed_dim": 32,
        "encoder_layers": 3,
        "encoder_attention_heads": 4,
        "encoder_ffn_embed_dim": 64,
    }
    torch.save(
        {"cfg": {"model": options, "task": {"normalize": False}}, "model": model}, tmp_path / "h.pt"
    )
    loaded = convert.load_any(tmp_path / "h.pt")
    assert loaded["targets"] == {} and not loaded["config"]["encoder"]["normalize"]
    with pytest.raises(ValueError, match="nothing to learn"):
        config.from_dict(loaded["config"])  # an encoder alone cannot be trained as it is
    again = convert.load_encoder(tmp_path / "h.pt")
    x = torch.randn(1, 5000)
    with torch.no_grad():
        a, b = (e(x, torch.tensor([5000])).output for e in (encoder, again))
    assert torch.equal(a, b)


@pytest.mark.parametrize(
    "text", ["__import__('os').abort()", "[(16,10,5)] * 10**9", "[(16,'a',5)]", "[", "[[1,2]]", "3"]
)
def test_conv_layers_are_parsed_not_evaluated(tmp_path, text):
    path = fairseq_variant(tmp_path, lambda s: s["cfg"]["model"].update(conv_feature_layers=text))
    with pytest.raises(ValueError, match=r"variant\.pt: conv_feature_layers"):
        convert.load_any(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s["cfg"]["model"].pop("conv_feature_layers"), "without encoder options"),
        (lambda s: s["cfg"]["model"].update(layer_type="conformer"), "layer_type = 'conformer'"),
        (lambda s: s["cfg"]["model"].update(encoder_layers=5), "layers.4.* is missing"),
        (
            lambda s: s["cfg"]["model"].update(encoder_ffn_embed_dim=80),
            r"\[96\] in the file, \[80\]",
        ),
        (lambda s: s["model"].update({"encoder.extra": torch.zeros(1)}), "e.g. encoder.extra"),
        (lambda s: s.update(model=3), "incomplete fairseq checkpoint"),
    ],
)
def test_fairseq_checkpoints_that_do_not_fit_are_explained(tmp_path, change, message):
    with pytest.raises(ValueError, match=rf"variant\.pt: .*{message}"):
        convert.load_any(fairseq_variant(tmp_path, change))


class Evil:
    def __reduce__(self):
        return os.system, ("touch executed",)


@pytest.mark.parametrize("save", ["zip", "legacy", "pickle"])
def test_code_in_a_fairseq_checkpoint_is_named_and_not_run(tmp_path, monkeypatch, save):
    monkeypatch.chdir(tmp_path)
    state = {"cfg": {"model": {}}, "model": {}, "task_state": {"dictionary": Evil()}}
    if save == "pickle":
        Path("evil.pt").write_bytes(pickle.dumps(state))
    else:
        torch.save(state, "evil.pt", _use_new_zipfile_serialization=save == "zip")
    with pytest.raises(ValueError, match=r"evil\.pt: its pickle names (posix|nt)\.system"):
        convert.load_any("evil.pt")
    assert not Path("executed").exists()


# ---- Hugging Face

LAYER_PRE = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
FEW_BUCKETS = {"num_buckets": 16, "max_bucket_distance": 24}  # of distances that short audio has
VARIANTS: dict[str, Any] = {
    "data2vec": (transformers.Data2VecAudioConfig, {}),
    "hubert-group-post": (transformers.HubertConfig, {}),
    "wav2vec2-group-post": (transformers.Wav2Vec2Config, {}),
    "hubert-layer-pre": (transformers.HubertConfig, LAYER_PRE),
    "wav2vec2-layer-pre": (transformers.Wav2Vec2Config, LAYER_PRE),
    "hubert-layer-post": (transformers.HubertConfig, {"feat_extract_norm": "layer"}),
    "unispeech-group-post": (transformers.UniSpeechConfig, {}),
    "unispeech-sat-layer-pre": (transformers.UniSpeechSatConfig, LAYER_PRE),
    "wavlm-group-post": (transformers.WavLMConfig, {}),
    "wavlm-layer-pre": (transformers.WavLMConfig, {**LAYER_PRE, **FEW_BUCKETS}),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_hugging_face_models_come_out_the_same(tmp_path, variant):
    torch.manual_seed(0)
    kind, changes = VARIANTS[variant]
    model = perturb(transformers.AutoModel.from_config(kind(**HF_SMALL, **changes)))
    model.save_pretrained(tmp_path)
    encoder = convert.load_encoder(tmp_path)
    assert encoder.cfg.normalize  # the feature extractor's default
    error = compare(encoder, model)
    print(f"{variant}: {error:.1e}")
    assert error <= 1e-5


def test_fine_tuned_hugging_face_models_lose_prefix_and_head(tmp_path, capsys):
    options = transformers.Wav2Vec2Config(**HF_SMALL, mask_time_prob=0.0)
    model = perturb(transformers.Wav2Vec2ForCTC(options))
    model.save_pretrained(tmp_path)
    transformers.Wav2Vec2FeatureExtractor(do_normalize=False).save_pretrained(tmp_path)
    encoder = convert.load_encoder(tmp_path / "model.safetensors")
    said = "the encoder of a Wav2Vec2ForCTC; left out: lm_head.bias, lm_head.weight"
    assert said in capsys.readouterr().err
    assert not encoder.cfg.normalize
    assert compare(encoder, model.wav2vec2) <= 1e-5


EXPORTS: dict[str, Any] = {
    "Data2VecAudioModel": {},
    "HubertModel": {**SINGLE, "extractor_norm": "group_norm", "normalize": False},
    "HubertModel-large": {**SINGLE, "pre_norm": True, "conv_bias": True},
    "WavLMModel": {**SINGLE, "extractor_norm": "group_norm", "relative_buckets": 320},
    "WavLMModel-large": {
        **SINGLE,
        "pre_norm": True,
        "relative_buckets": 16,
        "relative_distance": 24,
    },
}


@pytest.mark.parametrize("name", EXPORTS)
def test_export_is_the_same_model(tmp_path, name):
    torch.manual_seed(0)
    path = ours_file(tmp_path / "ours.pt", **EXPORTS[name])
    out = convert.export_hf(path, tmp_path / "hf")
    model, report = transformers.AutoModel.from_pretrained(out, output_loading_info=True)
    assert type(model).__name__ == name.split("-")[0]
    assert not report["missing_keys"] and not report["unexpected_keys"]
    encoder = convert.load_encoder(path)
    error = compare(encoder, model.eval())
    print(f"{name}: {error:.1e}")
    assert error <= 1e-5
    extractor = transformers.AutoFeatureExtractor.from_pretrained(out)
    assert extractor.do_normalize == encoder.cfg.normalize
    assert extractor.sampling_rate == 16_000
    ours, back = convert.load_any(path), convert.load_any(out)
    assert back["config"]["encoder"] == ours["config"]["encoder"]
    assert back["encoder"].keys() == ours["encoder"].keys()
    assert all(torch.equal(back["encoder"][k], v) for k, v in ours["encoder"].items())


@torch.no_grad()
def test_fairseq_checkpoint_exported_from_the_waveform_on(tmp_path):
    """AutoFeatureExtractor and AutoModel against our normalisation and encoder."""
    out = convert.export_hf(FP32, tmp_path / "hf")
    model = transformers.AutoModel.from_pretrained(out).eval()
    extractor = transformers.AutoFeatureExtractor.from_pretrained(out)
    encoder = convert.load_encoder(FP32)
    wave = load_file(REFERENCE / "inputs.safetensors")["wav_int16_1"].numpy().ravel() / 32768.0
    inputs = extractor(wave, sampling_rate=16_000, return_tensors="pt")
    theirs = hidden_states(model, inputs["input_values"], attention_mask=inputs["attention_mask"])
    x = torch.from_numpy(wave.astype("float32"))
    x = torch.nn.functional.layer_norm(x, x.shape)[None]
    same = encoder(inputs["input_values"], torch.tensor([x.shape[1]])).hidden_states
    assert max(worst(a, b) for a, b in zip(same, theirs, strict=True)) <= 1e-5
    # the extractor adds 1e-7 to the variance, fairseq and we 1e-5: the input differs a little
    ours = encoder(x, torch.tensor([x.shape[1]])).hidden_states
    error = max(worst(a, b) for a, b in zip(ours, theirs, strict=True))
    print(f"from the waveform on: {error:.1e}")
    assert error <= 1e-5


def test_export_replaces_an_export_and_nothing_else(tmp_path):
    path = ours_file(tmp_path / "ours.pt")
    out = convert.export_hf(path, tmp_path / "hf")
    convert.export_hf(path, out)
    (out / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="not an export"):
        convert.export_hf(path, out)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["hf", "ours.pt"]
    assert (out / "notes.txt").read_text() == "mine"


def test_failed_export_leaves_the_former(tmp_path, monkeypatch):
    path = ours_file(tmp_path / "ours.pt")
    out = convert.export_hf(path, tmp_path / "hf")
    real = os.replace

    def replace(source, target):
        if str(source).endswith(".tmp"):
            raise OSError("disk")
        real(source, target)

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(OSError, match="disk"):
        convert.export_hf(path, out)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["hf", "ours.pt"]
    assert convert.load_encoder(out).cfg.dim == 32


@pytest.mark.parametrize(
    ("changes", "has"),
    [
        ({"extractor_norm": "group_norm"}, "group_norm"),
        ({"pre_norm": True}, "pre-LN"),
        ({"relative_buckets": 320}, "relative_buckets"),
    ],
)
def test_export_of_what_hugging_face_lacks_names_both(tmp_path, changes, has):
    path = ours_file(tmp_path / "ours.pt", **changes)
    message = f"pos_conv_depth 5 with {has}.*Data2VecAudioModel.*HubertModel"
    with pytest.raises(ValueError, match=message):
        convert.export_hf(path, tmp_path / "hf")
    assert [p.name for p in tmp_path.iterdir()] == ["ours.pt"]


def hf_folder(tmp_path: Path) -> Path:
    return convert.export_hf(ours_file(tmp_path / "ours.pt"), tmp_path / "hf")


def edit(folder: Path, **values) -> None:
    options = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(options | values))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "config.json").unlink(), "config.json: no such file"),
        (lambda f: (f / "config.json").write_text("{"), "config.json: not valid JSON"),
        (lambda f: (f / "config.json").write_text("[]"), "config.json: expected a JSON object"),
        (lambda f: (f / "model.safetensors").unlink(), "no model.safetensors"),
        (lambda f: (f / "model.safetensors").write_bytes(b"short"), "model.safetensors: cannot be"),
        (lambda f: edit(f, model_type="whisper"), "model_type 'whisper'"),
        (lambda f: edit(f, model_type="hubert"), "layer_norm there, group_norm here"),
        (lambda f: edit(f, hidden_act="relu"), "hidden_act = 'relu'"),
        (lambda f: edit(f, conv_dim=None), "conv_dim = None"),
        (lambda f: edit(f, hidden_size=64), "dim 32 there, 64 here"),
    ],
)
def test_damaged_hugging_face_folders_are_explained(tmp_path, damage, message):
    folder = hf_folder(tmp_path)
    damage(folder)
    with pytest.raises(ValueError, match=message):
        convert.load_any(folder)


def test_a_file_is_that_file_and_a_folder_its_model(tmp_path):
    folder = hf_folder(tmp_path)
    weights = load_file(folder / "model.safetensors")
    other = {key: value + 1 for key, value in weights.items()}
    for name in ("other.safetensors", "model.fp32.safetensors"):
        save_file(other, folder / name)
    key = "context.norm.bias"
    first = convert.load_any(folder)["encoder"][key]
    assert torch.equal(first, weights["encoder.layer_norm.bias"])
    second = convert.load_any(folder / "other.safetensors")["encoder"][key]
    assert torch.equal(second, first + 1)
    with pytest.raises(ValueError, match=r"none\.safetensors: no such checkpoint"):
        convert.load_any(folder / "none.safetensors")


def test_shards_are_those_of_the_index(tmp_path):
    folder = hf_folder(tmp_path)
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").rename(folder / "model-old.safetensors")
    with pytest.raises(ValueError, match=r"no model\.safetensors"):
        convert.load_any(folder)
    names = {key: f"model-{i % 2}.safetensors" for i, key in enumerate(weights)}
    for name in set(names.values()):
        save_file({k: v + 1 for k, v in weights.items() if names[k] == name}, folder / name)
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": names}))
    bias = convert.load_any(folder)["encoder"]["context.norm.bias"]
    assert torch.equal(bias, weights["encoder.layer_norm.bias"] + 1)
    (folder / "model-1.safetensors").rename(tmp_path / "model-1.safetensors")
    for named in ("model-1.safetensors", "../model-1.safetensors"):
        index.write_text(json.dumps({"weight_map": names | {"x": named}}))
        with pytest.raises(ValueError, match=r"index\.json: names '.*model-1\.safetensors'"):
            convert.load_any(folder)
    index.write_text("{}")
    with pytest.raises(ValueError, match="no weight_map"):
        convert.load_any(folder)


def test_pytorch_model_bin_is_read_without_running_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = hf_folder(tmp_path)
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    assert convert.load_encoder(folder).cfg.dim == 32
    torch.save(weights | {"evil": Evil()}, folder / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"names (posix|nt)\.system"):
        convert.load_encoder(folder)
    assert not Path("executed").exists()


# ---- ours


def test_untrained_copy_has_the_form_but_not_the_weights(tmp_path):
    path = ours_file(tmp_path / "ours.pt")
    before = torch.get_rng_state()
    trained = convert.load_encoder(path)
    one, same, two = (convert.load_encoder(path, seed=s) for s in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert not trained.training and not one.training
    key = "context.layers.0.fc1.weight"
    assert torch.equal(one.state_dict()[key], same.state_dict()[key])
    assert not torch.equal(one.state_dict()[key], two.state_dict()[key])
    assert one.state_dict()[key].shape == trained.state_dict()[key].shape


def test_encoders_are_float32_whatever_was_stored(tmp_path):
    path = ours_file(tmp_path / "ours.pt")
    state = convert.load_any(path)
    state["encoder"] = {key: value.half() for key, value in state["encoder"].items()}
    checkpoint.save(path, state)
    encoder = convert.load_encoder(path)
    assert {p.dtype for p in encoder.state_dict().values()} == {torch.float32}
    exported = load_file(convert.export_hf(path, tmp_path / "hf") / "model.safetensors")
    assert {value.dtype for value in exported.values()} == {torch.float32}
    state["encoder"]["context.norm.bias"] = torch.zeros(32, dtype=torch.int8)
    with pytest.raises(ValueError, match=r"context\.norm\.bias is of torch\.int8"):
        convert.encoder_of(state, path)
    whole = load_file(tmp_path / "hf" / "model.safetensors")
    whole["encoder.layer_norm.bias"] = torch.zeros(32, dtype=torch.int8)
    save_file(whole, tmp_path / "hf" / "model.safetensors")
    with pytest.raises(ValueError, match=r"context\.norm\.bias is of torch\.int8"):
        convert.load_any(tmp_path / "hf")


def test_ours_passes_through_unchanged(tmp_path):
    path = ours_file(tmp_path / "ours.pt")
    assert convert.load_any(path)["progress"]["update"] == 3
    other = tmp_path / "other.pt"
    torch.save({"state_dict": {}}, other)
    with pytest.raises(
        ValueError, match=r"other\.pt: not an mt4ssl checkpoint \(keys: state_dict\)"
    ):
        convert.load_any(other)
    with pytest.raises(ValueError, match="no such checkpoint"):
        convert.load_any(tmp_path / "none.pt")
