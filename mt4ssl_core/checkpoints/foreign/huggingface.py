"""Hugging Face's models of wav2vec 2.0's family (`KINDS`) as encoders of ours.

Every setting of their config classes and of their feature extractor is honoured, refused by name,
or one that features do not depend on (`NO_FEATURES`); where a file is silent, the class's default
counts. transformers is not needed.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from mt4ssl_core import config
from mt4ssl_core.checkpoints.foreign import assembled, checkpoint_files
from mt4ssl_core.checkpoints.foreign.foreign_settings import ForeignSettings, shown, whole_numbers
from mt4ssl_core.checkpoints.foreign.weight_names import HF, renamed, wrapper
from mt4ssl_core.config import EncoderConfig

EPS = 1e-7  # what the feature extractor adds to a waveform's variance
NORMALIZE_EPS = "normalize_eps"  # in config.json of our exports: what the model was trained with
KINDS = ("data2vec-audio", "hubert", "unispeech", "unispeech-sat", "wav2vec2", "wavlm")
FEATURES_ONLY = ("sew", "wav2vec2-bert", "wav2vec2-conformer")  # see transformers_encoder.py
RELATIVE = {  # of wavlm alone: theirs -> ours, their default
    "num_buckets": ("relative_buckets", 320),
    "max_bucket_distance": ("relative_distance", 800),
}
FIXED: dict[str, Any] = {  # what the models can vary and this encoder cannot
    "hidden_act": "gelu",
    "feat_extract_activation": "gelu",
    "layer_norm_eps": 1e-5,
    "feat_proj_layer_norm": True,
    "conv_pos_batch_norm": False,
    "adapter_attn_dim": None,
    "add_adapter": False,
    "quantization_config": None,
}
EXTRACTOR_FIXED: dict[str, Any] = {
    "feature_extractor_type": "Wav2Vec2FeatureExtractor",
    "feature_size": 1,
}
OPTIONS: dict[str, tuple[str, type, Any]] = {  # theirs -> ours, its kind, their default
    "conv_bias": ("conv_bias", bool, False),
    "hidden_size": ("dim", int, 768),
    "num_hidden_layers": ("layers", int, 12),
    "num_attention_heads": ("heads", int, 12),
    "intermediate_size": ("ffn_dim", int, 3072),
    "num_conv_pos_embedding_groups": ("pos_conv_groups", int, 16),
    "hidden_dropout": ("dropout", float, 0.1),
    "attention_dropout": ("attention_dropout", float, 0.1),
    "activation_dropout": ("activation_dropout", float, 0.1),
    "feat_proj_dropout": ("input_dropout", float, 0.0),
    "layerdrop": ("layerdrop", float, 0.1),
}
CONV: dict[str, list[int]] = {  # their default
    "conv_dim": [512] * 7,
    "conv_kernel": [10, 3, 3, 3, 3, 2, 2],
    "conv_stride": [5, 2, 2, 2, 2, 2, 2],
}
READ = {
    "model_type", "feat_extract_norm", "do_stable_layer_norm", "num_conv_pos_embeddings",
    "conv_pos_kernel_size", *FIXED, *OPTIONS, *CONV, *RELATIVE,
}  # fmt: skip
NO_FEATURES = {  # masks of training, heads, tokens, losses, initial weights, what is returned
    "apply_spec_augment", "mask_time_prob", "mask_time_length", "mask_time_min_masks",
    "mask_feature_prob", "mask_feature_length", "mask_feature_min_masks", "final_dropout",
    "initializer_range", "vocab_size", "pad_token_id", "bos_token_id", "eos_token_id",
    "ctc_loss_reduction", "ctc_zero_infinity", "use_weighted_layer_sum", "classifier_proj_size",
    "feat_quantizer_dropout", "num_codevectors_per_group", "num_codevector_groups",
    "contrastive_logits_temperature", "num_negatives", "codevector_dim", "proj_codevector_dim",
    "diversity_loss_weight", "tdnn_dim", "tdnn_kernel", "tdnn_dilation", "xvector_output_dim",
    "adapter_kernel_size", "adapter_stride", "num_adapter_layers", "output_hidden_size",
    "num_feat_extract_layers", "return_dict", "output_hidden_states", "output_attentions",
    "num_ctc_classes", "num_clusters", "replace_prob",
    "dtype", "torch_dtype", "architectures", "transformers_version", "id2label", "label2id",
    "problem_type", "is_encoder_decoder", "chunk_size_feed_forward", "_name_or_path",
}  # fmt: skip


def load(path: Path, silent: bool = False) -> dict[str, Any]:
    """A checkpoint in our form (see `mt4ssl_core.checkpoints.convert.load_any`) of a folder or
    file of theirs. ``silent``: nothing is said of a head that is left out.

    Raises:
        ValueError: something is missing, damaged, or of a model that this encoder is not.
    """
    folder = path if path.is_dir() else path.parent
    weights_in = checkpoint_files.weight_files(path)
    options = ForeignSettings(
        checkpoint_files.json_object(folder / checkpoint_files.CONFIG),
        folder / checkpoint_files.CONFIG,
    )
    check_no_code(options)
    cfg = _encoder_config(options, normalizes(folder))
    weights, about = checkpoint_files.read_weights(weights_in)
    _check_record(cfg, about, options.path, weights_in[0])
    if not about.get(checkpoint_files.RECORD) and cfg.pos_conv_depth == 1:
        _note_order(cfg, options)
    encoder = renamed(weights, cfg, HF, path)
    kinds = options.values.get("architectures")
    model = str(kinds[0]) if isinstance(kinds, list) and kinds else "larger model"
    before = wrapper(weights, HF) or ""
    if not silent:
        assembled.say_left_out(path, model, (key for key in weights if not key.startswith(before)))
    # absent where fine-tuning ran without masks; only further pre-training looks at it
    encoder.setdefault("mask_embedding", torch.zeros(cfg.dim))
    return assembled.checkpoint_of(assembled.encoder_alone(cfg), encoder, path)


def check_no_code(options: ForeignSettings) -> None:
    """Refuse a model whose class is code in its own folder (``auto_map``): none is ever run.

    Raises ValueError naming the setting.
    """
    if options.values.get("auto_map"):
        raise ValueError(
            f"{options.path}: auto_map: the model is computed by code that comes with it, and code "
            "from elsewhere is never run; read that code, write it as a class in a Python file of "
            "your own, and give FILE.py:CLASS"
        )


def check_model_type(
    options: ForeignSettings, known: Sequence[str] = (*KINDS, *FEATURES_ONLY)
) -> str:
    """Return the model_type. Raises ValueError naming those that can be read."""
    kind = options.values.get("model_type")
    if kind in known:
        return str(kind)
    raise ValueError(
        f"{options.path}: model_type {shown(kind)}; give a {', '.join(KINDS[:-1])} or "
        f"{KINDS[-1]} model, or for features alone a {', '.join(FEATURES_ONLY)}"
    )


def hearing(folder: Path) -> ForeignSettings | None:
    """Return the settings of the feature extractor, from the first file that has them, if any."""
    for name in checkpoint_files.HEARING:
        path = folder / name
        if not path.is_file():
            continue
        values, prefix = checkpoint_files.json_object(path), ""
        if name == checkpoint_files.HEARING[0]:
            nested = [key for key in ("feature_extractor", "audio_processor") if key in values]
            if not nested:
                continue
            values, prefix = values[nested[0]], f"{nested[0]}."
            if not isinstance(values, dict):
                raise ValueError(f"{path}: {nested[0]}: expected an object; copy the file again")
        return ForeignSettings(values, path, prefix)
    return None


def normalizes(folder: Path) -> bool:
    """Whether waveforms are normalised, as their feature extractor says (by default they are)."""
    heard = hearing(folder)
    if heard is None:
        return True
    heard.check_spelling({"do_normalize", "sampling_rate", *EXTRACTOR_FIXED})
    heard.check_fixed(EXTRACTOR_FIXED)
    heard.check_rate("sampling_rate")
    return bool(heard.get("do_normalize", True, bool))


def _encoder_config(options: ForeignSettings, normalize: bool) -> EncoderConfig:
    options.check_spelling({*READ, *NO_FEATURES, NORMALIZE_EPS})
    kind = check_model_type(options, KINDS)
    options.check_fixed(FIXED)
    options.check_rate("sampling_rate")
    stacked = kind == "data2vec-audio"
    norm = "layer" if stacked else options.get("feat_extract_norm", "group", str)
    if norm not in ("layer", "group"):
        raise options.refuse("feat_extract_norm", "layer or group")
    values = {ours: options.get(name, default, of) for name, (ours, of, default) in OPTIONS.items()}
    position = options.get("num_conv_pos_embeddings", 5 if stacked else 128, int)
    eps = options.get(NORMALIZE_EPS, EPS, float)
    values |= {
        "normalize": normalize,
        "normalize_eps": eps,
        "conv_layers": _conv_layers(options),
        "extractor_norm": f"{norm}_norm",
        "pre_norm": not stacked and options.get("do_stable_layer_norm", False, bool),
        "pos_conv_depth": position if stacked else 1,
        "pos_conv_kernel": options.get("conv_pos_kernel_size", 19, int) if stacked else position,
    }
    if kind == "wavlm":
        values |= {ours: options.get(name, most, int) for name, (ours, most) in RELATIVE.items()}
    return config.encoder_from_dict(values, str(options.path))


def _conv_layers(options: ForeignSettings) -> list[list[int]]:
    """[channels, kernel, stride] of each block."""
    lists = {name: options.get(name, default, list) for name, default in CONV.items()}
    for name, values in lists.items():
        if not whole_numbers(values):
            raise options.refuse(name, "a list of whole numbers, one per convolution")
    if len({len(values) for values in lists.values()}) > 1:
        counts = ", ".join(f"{len(values)} {name}" for name, values in lists.items())
        raise ValueError(f"{options.path}: {counts}: expected as many of each; copy it again")
    return [list(block) for block in zip(*lists.values(), strict=True)]


def _check_record(cfg: EncoderConfig, about: dict[str, str], path: Path, weights: Path) -> None:
    """See that config.json still says of the features what our export noted with the weights.

    Raises ValueError: it does not, so one of the two files is damaged or of another model.
    """
    if checkpoint_files.RECORD not in about:
        return
    now, then = json.loads(feature_record(cfg)), json.loads(about[checkpoint_files.RECORD])
    then = config.to_dict(EncoderConfig()) | then  # what an older export had no field for
    changed = [f"{key} {then.get(key)} there, {now[key]} here" for key in now]
    changed = [text for key, text in zip(now, changed, strict=True) if now[key] != then.get(key)]
    if changed:
        raise ValueError(
            f"{path}: not of the model in {weights.name}: {'; '.join(changed)[:500]}; mend what "
            "was changed or damaged, or export the checkpoint again"
        )


def _note_order(cfg: EncoderConfig, options: ForeignSettings) -> None:
    """Say when the place of layer norms, which weights do not tell, is as in no published model."""
    if cfg.pre_norm != (cfg.extractor_norm == "layer_norm"):
        said = ("feat_extract_norm", "do_stable_layer_norm")
        pair = " with ".join(f"{name} {shown(options.values.get(name))}" for name in said)
        assembled.say_once(
            options.path, f"{pair} is as in no published model; see that it is meant"
        )


def feature_record(cfg: EncoderConfig) -> str:
    """The settings that an encoder's features depend on, as JSON."""
    values = config.to_dict(cfg)
    return json.dumps({k: v for k, v in values.items() if k not in config.TRAINING_ONLY})
