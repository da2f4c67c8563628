"""Every setting of a foreign checkpoint is honoured, refused by name, or without influence."""

import argparse
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from reference import to_fairseq
from test_convert import (
    CONV,
    FP32,
    HF_SMALL,
    SMALL,
    fairseq_variant,
    hidden_states,
    ours_file,
    perturb,
    worst,
)

from mt4ssl_core import config
from mt4ssl_core.checkpoints import checkpoint, convert
from mt4ssl_core.checkpoints.foreign import fairseq, huggingface
from mt4ssl_core.config import EncoderConfig
from mt4ssl_core.model.encoder import Encoder

CLASSES = {
    "hubert": transformers.HubertConfig,
    "wav2vec2": transformers.Wav2Vec2Config,
    "data2vec-audio": transformers.Data2VecAudioConfig,
    "unispeech": transformers.UniSpeechConfig,
    "unispeech-sat": transformers.UniSpeechSatConfig,
    "wavlm": transformers.WavLMConfig,
}


@pytest.mark.parametrize("kind", CLASSES)
def test_every_setting_of_their_config_classes_is_known(kind):
    values = CLASSES[kind]().to_dict()
    assert values.keys() - huggingface.READ - huggingface.NO_FEATURES == set()
    for name, (_, _, default) in huggingface.OPTIONS.items():
        assert values[name] == default, name
    for name, numbers in huggingface.CONV.items():
        assert list(values[name]) == numbers
    for name in huggingface.FIXED.keys() & values.keys():
        assert values[name] == huggingface.FIXED[name], name


def test_every_setting_of_their_feature_extractor_is_known():
    values = transformers.Wav2Vec2FeatureExtractor().to_dict()
    of_batches = {"padding_side", "padding_value", "return_attention_mask"}
    read = {"do_normalize", "sampling_rate", *huggingface.EXTRACTOR_FIXED}
    assert values.keys() - of_batches == read
    assert all(values[k] == v for k, v in huggingface.EXTRACTOR_FIXED.items())


def foreign(folder: Path, kind: str = "hubert", **changes: Any) -> torch.nn.Module:
    """A model of theirs with random weights, written to `folder`."""
    torch.manual_seed(0)
    model = perturb(transformers.AutoModel.from_config(CLASSES[kind](**HF_SMALL, **changes)))
    model.save_pretrained(folder)
    return model


def edit(path: Path, **values: Any) -> None:
    old = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**old, **values}))


@pytest.mark.parametrize(
    ("file", "right", "found"),
    [
        ("config.json", "num_attention_heads", "num_attentiof_heads"),
        ("config.json", "do_stable_layer_norm", "do_stable_lay\x1ar_norm"),
        ("config.json", "conv_stride", "conv_strIde"),
        ("preprocessor_config.json", "do_normalize", "do_norma,ize"),
        ("preprocessor_config.json", "sampling_rate", "{ampling_rate"),
    ],
)
def test_a_flipped_bit_in_the_name_of_a_setting_is_named(tmp_path, file, right, found):
    """Else the setting would be at its default, and the features others."""
    foreign(tmp_path)
    transformers.Wav2Vec2FeatureExtractor().save_pretrained(tmp_path)
    text = (tmp_path / file).read_text()
    assert right in text
    (tmp_path / file).write_text(text.replace(right, found.replace("\x1a", "\\u001a")))
    with pytest.raises(ValueError, match=rf"{file}: .* is no setting, {right} is"):
        convert.load_encoder(tmp_path)


@pytest.mark.parametrize(
    ("norm", "before", "notes"),
    [("group", False, 0), ("layer", True, 0), ("group", True, 1), ("layer", False, 1)],
)
def test_an_order_of_layer_norms_that_no_published_model_has_is_said(
    tmp_path, norm, before, notes, capsys
):
    foreign(tmp_path, feat_extract_norm=norm, do_stable_layer_norm=before)
    convert.load_encoder(tmp_path)
    assert capsys.readouterr().err.count("do_stable_layer_norm") == notes


@torch.no_grad()
@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("decibels", [0, -44, -60])
def test_quiet_audio_has_the_features_of_their_own_extractor(tmp_path, kind, decibels):
    model = foreign(tmp_path, kind, conv_bias=True)
    transformers.Wav2Vec2FeatureExtractor().save_pretrained(tmp_path)
    wave = (torch.randn(8000) * 0.1 + 0.01) * 10 ** (decibels / 20)
    extractor = transformers.AutoFeatureExtractor.from_pretrained(tmp_path)
    x = extractor(wave.numpy(), sampling_rate=16_000, return_tensors="pt")["input_values"]
    encoder = convert.load_encoder(tmp_path)
    assert encoder.cfg.normalize_eps == 1e-7
    ours = encoder(encoder.prepare(wave)[None], torch.tensor([8000])).hidden_states
    assert max(worst(a, b) for a, b in zip(ours, hidden_states(model, x), strict=True)) < 1e-5


@torch.no_grad()
@pytest.mark.parametrize(("eps", "note"), [(1e-7, None), (1e-5, "layer_norm"), (1e-6, "1e-06")])
def test_export_says_and_keeps_what_the_model_was_trained_with(tmp_path, eps, note):
    path = ours_file(tmp_path / "a.pt", conv_bias=True, normalize_eps=eps)
    out = convert.export_hf(path, tmp_path / "hf")
    said = convert.export_note(out)
    assert said is None if note is None else note in str(said)
    wave = torch.randn(8000) * 1e-3
    back, encoder = convert.load_encoder(out), convert.load_encoder(path)
    assert back.cfg.normalize_eps == eps
    assert torch.equal(back.prepare(wave), encoder.prepare(wave))
    model = transformers.AutoModel.from_pretrained(out).eval()
    extractor = transformers.AutoFeatureExtractor.from_pretrained(out)
    x = extractor(wave.numpy(), sampling_rate=16_000, return_tensors="pt")["input_values"]
    ours = encoder(encoder.prepare(wave)[None], torch.tensor([8000])).output
    assert (worst(hidden_states(model, x)[-1], ours) < 1e-5) == (eps == 1e-7)
    outside = torch.nn.functional.layer_norm(wave, wave.shape)[None]
    assert (worst(hidden_states(model, outside)[-1], ours) < 1e-5) == (eps == 1e-5)


@pytest.mark.parametrize("section", ["feature_extractor", "audio_processor"])
def test_nested_processor_config_comes_first(tmp_path, section):
    foreign(tmp_path)
    edit(tmp_path / "preprocessor_config.json", do_normalize=True)
    edit(tmp_path / "processor_config.json", processor_class="Wav2Vec2Processor")
    assert convert.load_encoder(tmp_path).cfg.normalize
    edit(tmp_path / "processor_config.json", **{section: {"do_normalize": False}})
    assert not convert.load_encoder(tmp_path).cfg.normalize


def test_processor_of_transformers_is_understood(tmp_path):
    foreign(tmp_path)
    extractor = transformers.Wav2Vec2FeatureExtractor(do_normalize=False)
    (tmp_path / "vocab.json").write_text(json.dumps({"<pad>": 0, "<unk>": 1, "|": 2, "a": 3}))
    tokenizer = transformers.Wav2Vec2CTCTokenizer(str(tmp_path / "vocab.json"))
    transformers.Wav2Vec2Processor(extractor, tokenizer).save_pretrained(tmp_path)
    assert (tmp_path / "processor_config.json").exists()
    assert not convert.load_encoder(tmp_path).cfg.normalize


NESTED = {"feature_extractor": {"sampling_rate": 8000}}


@pytest.mark.parametrize(
    ("file", "values", "says"),
    [
        ("preprocessor_config.json", {"sampling_rate": 8000}, r"sampling_rate = 8000.*16000 Hz"),
        ("processor_config.json", NESTED, "feature_extractor.sampling_rate = 8000"),
        ("config.json", {"sampling_rate": 48000}, "sampling_rate = 48000"),
        ("preprocessor_config.json", {"do_normalize": "no"}, "do_normalize = 'no'"),
        ("preprocessor_config.json", {"feature_size": 80}, "feature_size = 80"),
        (
            "preprocessor_config.json",
            {"feature_extractor_type": "SeamlessM4TFeatureExtractor"},
            "feature_extractor_type = 'Seamless",
        ),
        ("processor_config.json", {"feature_extractor": 3}, "expected an object"),
        ("config.json", {"add_adapter": True}, "add_adapter = True"),
        ("config.json", {"adapter_attn_dim": 16}, "adapter_attn_dim = 16"),
        ("config.json", {"layer_norm_eps": 1e-6}, "layer_norm_eps = 1e-06"),
        ("config.json", {"feat_proj_layer_norm": False}, "feat_proj_layer_norm = False"),
        ("config.json", {"conv_pos_batch_norm": True}, "conv_pos_batch_norm = True"),
        ("config.json", {"feat_extract_activation": "relu"}, "feat_extract_activation = 'relu'"),
        ("config.json", {"feat_extract_norm": "batch"}, "feat_extract_norm = 'batch'"),
        ("config.json", {"quantization_config": {"bits": 4}}, "quantization_config"),
        ("config.json", {"conv_stride": [5, 2]}, "2 conv_stride"),
        ("config.json", {"num_hidden_layers": 10**8}, "num_hidden_layers = 100000000"),
        ("config.json", {"num_hidden_layers": "3"}, "num_hidden_layers = '3'"),
        ("config.json", {"conv_dim": [1] * 10**5}, "conv_dim = a list"),
        ("config.json", {"hidden_size": True}, "hidden_size = True"),
        ("config.json", {"layerdrop": float("nan")}, "layerdrop = nan"),
        ("config.json", {"model_type": "x" * 10**6}, "model_type 'xxxx"),
        ("config.json", {"normalize_eps": 0}, "normalize_eps"),
    ],
)
def test_what_cannot_be_followed_is_refused_by_name(tmp_path, file, values, says):
    foreign(tmp_path)
    edit(tmp_path / file, **values)
    with pytest.raises(ValueError, match=rf"{file}: [^\0]*{says}") as caught:
        convert.load_any(tmp_path)
    assert len(str(caught.value)) < 1000


def test_settings_that_are_absent_have_their_default(tmp_path):
    model = transformers.AutoModel.from_config(
        transformers.HubertConfig(num_hidden_layers=1, intermediate_size=8)
    )
    model.save_pretrained(tmp_path)
    whole = convert.load_encoder(tmp_path).cfg
    kept = {"model_type": "hubert", "num_hidden_layers": 1, "intermediate_size": 8}
    (tmp_path / "config.json").write_text(json.dumps(kept))
    assert convert.load_encoder(tmp_path).cfg == whole


# ---- fairseq

NO_FEATURES = {  # of cfg.model: heads, losses, masks, dropout of training, other architectures
    "_name", "dropout_features", "final_dim", "logit_temp", "quantize_targets", "same_quantizer",
    "target_glu", "quantizer_depth", "quantizer_factor", "latent_vars", "latent_groups",
    "latent_dim", "mask_length", "mask_prob", "mask_selection", "mask_other", "no_mask_overlap",
    "mask_min_space", "require_same_masks", "mask_dropout", "mask_channel_length",
    "mask_channel_prob", "mask_channel_before", "mask_channel_selection", "mask_channel_other",
    "no_mask_channel_overlap", "mask_channel_min_space", "num_negatives",
    "negatives_from_everywhere", "cross_sample_negatives", "codebook_negatives", "latent_temp",
    "max_positions", "checkpoint_activations", "required_seq_len_multiple", "fp16", "adp_dim",
    "adp_act_fn", "adp_trf_idx", "depthwise_conv_kernel_size", "loss_beta", "loss_scale",
    "average_top_k_layers", "layer_norm_target_layer", "instance_norm_target_layer",
    "instance_norm_targets", "layer_norm_targets", "batch_norm_target_layer",
    "group_norm_target_layer", "ema_decay", "ema_end_decay", "ema_anneal_end_step",
    "ema_transformer_only", "ema_layers_only", "max_update", "min_target_var", "min_pred_var",
    "ce_loss", "mse_loss",
}  # fmt: skip
FAIRSEQ_READ = {"extractor_mode", "conv_feature_layers", "conv_pos", "pos_conv_depth"}


def test_every_option_of_a_fairseq_model_is_known():
    model = checkpoint.read(FP32, fairseq.CLASSES)["cfg"]["model"]
    known = NO_FEATURES | FAIRSEQ_READ | fairseq.OPTIONS.keys() | fairseq.FIXED.keys()
    assert model.keys() - known == set()


@pytest.mark.parametrize(
    ("section", "values", "says"),
    [
        ("task", {"sample_rate": 8000}, "task.sample_rate = 8000"),
        ("task", {"normalize": "yes"}, "task.normalize = 'yes'"),
        ("model", {"quantize_input": True}, "quantize_input = True"),
        ("model", {"crop_seq_to_multiple": 2}, "crop_seq_to_multiple = 2"),
        ("model", {"pos_enc_type": "rope"}, "pos_enc_type = 'rope'"),
        ("model", {"conv_pos_batch_norm": True}, "conv_pos_batch_norm = True"),
        ("model", {"extractor_mode": "mel"}, "extractor_mode = 'mel'"),
        ("model", {"encoder_layers": 10**8}, "encoder_layers = 100000000"),
        ("model", {"dropout": float("nan")}, "dropout = nan"),
        ("model", {"activation_fn": "relu"}, "activation_fn = 'relu'"),
        ("model", {"adp_num": 3}, "adp_num = 3"),
    ],
)
def test_fairseq_options_that_cannot_be_followed(tmp_path, section, values, says):
    path = fairseq_variant(tmp_path, lambda s: s["cfg"][section].update(values))
    with pytest.raises(ValueError, match=rf"variant\.pt: .*{says}"):
        convert.load_any(path)


@pytest.mark.parametrize("eps", [0, -1e-5, 1.0, float("nan"), "small"])
def test_what_an_export_of_ours_says_is_checked_too(tmp_path, eps):
    path = fairseq_variant(tmp_path, lambda s: s.update(mt4ssl={"normalize_eps": eps}))
    with pytest.raises(ValueError, match=r"variant\.pt: [^\0]*normalize_eps"):
        convert.load_any(path)


@pytest.mark.parametrize(
    "text",
    [
        "[(16,10,5)] + 4*[(16,3,2)] + 2*[(16,2,2)]",
        "((16,10,5),) + ((16,3,2),)*4 + 2*[(16,2,2)]",
        str(CONV),
    ],
)
def test_spellings_of_conv_layers(text, tmp_path):
    assert fairseq._conv_layers(text, tmp_path) == CONV


@pytest.mark.parametrize("text", ["[(16,3,2)]*64*64", "[(16,3,2)]*-1", "(" * 10**5, 10**5, None])
def test_conv_layers_beyond_measure(text, tmp_path):
    with pytest.raises(ValueError, match="conv_feature_layers"):
        fairseq._conv_layers(text, tmp_path / "x.pt")


@pytest.mark.parametrize("old", [False, True])
def test_fine_tuned_fairseq_models_give_their_encoder(tmp_path, old, capsys):
    encoder = perturb(Encoder(EncoderConfig(**SMALL, pos_conv_depth=1, pos_conv_kernel=128)))
    state = {"config": {"encoder": config.to_dict(encoder.cfg)}, "targets": {}}
    model = to_fairseq(state | {"encoder": encoder.state_dict()})
    model = {f"w2v_encoder.w2v_model.{key}": value for key, value in model.items()}
    model["w2v_encoder.proj.weight"] = torch.zeros(5, 32)
    inner = {
        "conv_feature_layers": str(CONV), "extractor_mode": "layer_norm", "encoder_layers": 3,
        "encoder_embed_dim": 32, "encoder_attention_heads": 4, "encoder_ffn_embed_dim": 64,
    }  # fmt: skip
    task = {"normalize": True, "sample_rate": 16000}
    options = argparse.Namespace(**inner, **task) if old else {"model": inner, "task": task}
    outer = {"_name": "wav2vec_ctc", "w2v_args": options}
    torch.save({"cfg": {"model": outer, "task": task}, "model": model}, tmp_path / "ctc.pt")
    loaded = convert.load_encoder(tmp_path / "ctc.pt")
    said = "the encoder of a fine-tuned wav2vec_ctc; left out: w2v_encoder.proj.weight"
    assert said in capsys.readouterr().err
    assert loaded.cfg.normalize
    x = torch.randn(1, 4000)
    with torch.no_grad():
        a, b = (e(x, torch.tensor([4000])).output for e in (encoder, loaded))
    assert torch.equal(a, b)
    task["sample_rate"] = 8000
    torch.save({"cfg": {"model": outer, "task": task}, "model": model}, tmp_path / "ctc.pt")
    with pytest.raises(ValueError, match=r"task\.sample_rate = 8000"):
        convert.load_any(tmp_path / "ctc.pt")


def test_what_s3prl_makes_of_a_fairseq_checkpoint(tmp_path):
    whole = checkpoint.read(FP32, fairseq.CLASSES)
    parts = {"task_cfg": whole["cfg"]["task"], "model_cfg": whole["cfg"]["model"]}
    weights = {key: value for key, value in whole["model"].items() if key != "_ema"}
    symbols = {"dictionaries_symbols": [["<s>", "0"]]}
    torch.save(parts | symbols | {"model_weight": weights}, tmp_path / "converted.pt")
    ours, theirs = convert.load_any(tmp_path / "converted.pt"), convert.load_any(FP32)
    assert ours["config"]["encoder"] == theirs["config"]["encoder"]
    assert all(torch.equal(ours["encoder"][key], value) for key, value in theirs["encoder"].items())


def test_options_as_namespaces_are_those_of_a_dictionary(tmp_path):
    whole = checkpoint.read(FP32, fairseq.CLASSES)
    sections = {
        name: argparse.Namespace(**part) if isinstance(part, dict) else part
        for name, part in whole["cfg"].items()
    }
    cfg = argparse.Namespace(**sections)
    torch.save({"cfg": cfg, "model": whole["model"]}, tmp_path / "a.pt")
    ours, theirs = convert.load_any(tmp_path / "a.pt"), convert.load_any(FP32)
    assert ours["config"]["encoder"] == theirs["config"]["encoder"]


def test_data2vec_2_is_named_for_what_it_is(tmp_path):
    state = {"cfg": {"model": {"_name": "data2vec_multi"}, "task": {}}, "model": {}}
    torch.save(state, tmp_path / "base.pt")
    with pytest.raises(ValueError, match=r"base\.pt: data2vec 2\.0 .*give a data2vec 1\.0"):
        convert.load_any(tmp_path / "base.pt")
