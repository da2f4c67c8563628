"""Names of an encoder's weights: ours, fairseq's, Hugging Face's, and what others wrap around."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mt4ssl_core.config import EncoderConfig
from mt4ssl_core.files import reading

Tensors = dict[str, Tensor]
Row = tuple[str, str, str]
OURS, FAIRSEQ, HF = 0, 1, 2

# `#` is a number, `*` the last part; both carry over.
# fmt: off
WHOLE = ("", "", "")
COMMON = [
    ("mask_embedding",  "mask_emb",             "masked_spec_embed"),
    ("feature_norm.*",  "layer_norm.*",         "feature_projection.layer_norm.*"),
    ("projection.*",    "post_extract_proj.*",  "feature_projection.projection.*"),
    ("context.norm.*",  "encoder.layer_norm.*", "encoder.layer_norm.*"),
]
_CONV = "feature_extractor.conv_layers.#."
BLOCK = ("extractor.blocks.#.", _CONV, _CONV)
BLOCK_CONV = [("conv.*", "0.*", "conv.*")]
BLOCK_NORM = {
    "layer_norm": [("norm.*", "2.1.*", "layer_norm.*")],
    "group_norm": [("norm.*", "2.*", "layer_norm.*")],
}
POSITION = ("context.pos_conv.", "encoder.pos_conv.", "encoder.pos_conv_embed.")
POSITION_STACKED = [("#.conv.*", "#.0.*", "layers.#.conv.*")]
NORM_G, NORM_V = "conv.parametrizations.weight.original0", "conv.parametrizations.weight.original1"
MERGED = "0.conv.weight"  # a weight norm that was removed: there is no parameter of that name here
POSITION_SINGLE = [
    ("0.conv.bias",  "0.bias",     "conv.bias"),
    (f"0.{NORM_G}",  "0.weight_g", NORM_G),
    (f"0.{NORM_V}",  "0.weight_v", NORM_V),
    (f"0.{NORM_G}",  "0.parametrizations.weight.original0", "conv.weight_g"),
    (f"0.{NORM_V}",  "0.parametrizations.weight.original1", "conv.weight_v"),
    (MERGED,         "0.weight",   "conv.weight"),
]
LAYER = ("context.layers.#.", "encoder.layers.#.", "encoder.layers.#.")
LAYER_PARTS = [
    ("attention.q_proj.*",   "self_attn.q_proj.*",     "attention.q_proj.*"),
    ("attention.k_proj.*",   "self_attn.k_proj.*",     "attention.k_proj.*"),
    ("attention.v_proj.*",   "self_attn.v_proj.*",     "attention.v_proj.*"),
    ("attention.out_proj.*", "self_attn.out_proj.*",   "attention.out_proj.*"),
    ("attention_norm.*",     "self_attn_layer_norm.*", "layer_norm.*"),
    ("fc1.*",                "fc1.*",                  "feed_forward.intermediate_dense.*"),
    ("fc2.*",                "fc2.*",                  "feed_forward.output_dense.*"),
    ("ffn_norm.*",           "final_layer_norm.*",     "final_layer_norm.*"),
]
# WavLM: the bias of relative positions is one for all layers, kept with the first there.
RELATIVE = [
    (
        "context.relative_bias.*", "encoder.layers.0.self_attn.relative_attention_bias.*",
        "encoder.layers.0.attention.rel_attn_embed.*",
    ),
]
LAYER_RELATIVE = [
    ("attention.gate.*",     "self_attn.grep_linear.*", "attention.gru_rel_pos_linear.*"),
    ("attention.gate_scale", "self_attn.grep_a",        "attention.gru_rel_pos_const"),
]
# Targets, ours and fairseq's (MT4SSL, data2vec): the heads; the names of the teacher are those of
# `context.` here and of `encoder.` (under `_ema`) there.
HEADS = {"offline": "final_proj_hubert", "online": "final_proj"}
TEACHER = "teacher."
# Parts of a name that trainers and fine-tuned models put before a weight's own.
WRAPPERS = {
    "module", "_orig_mod", "_fsdp_wrapped_module", "_forward_module", "model", "network", "net",
    "w2v_encoder", "w2v_model", "encoder", "upstream", "backbone", "speech_encoder",
    "hubert", "wav2vec2", "data2vec_audio", "wavlm", "unispeech", "unispeech_sat",
}
# The weight by which an encoder is found in a file, whatever stands before it.
FIRST = {
    OURS: "mask_embedding",
    FAIRSEQ: "feature_extractor.conv_layers.0.0.weight",
    HF: "feature_extractor.conv_layers.0.conv.weight",
}
# Below these there is nothing but the encoder.
INSIDE = {
    OURS: ("",),
    FAIRSEQ: ("encoder.", "feature_extractor."),
    HF: ("encoder.", "feature_extractor.", "feature_projection."),
}
# fmt: on


def name_rows(cfg: EncoderConfig) -> list[Row]:
    """Rows (ours, fairseq, Hugging Face) of an encoder's parameter names."""
    position = POSITION_SINGLE if cfg.pos_conv_depth == 1 else POSITION_STACKED
    sections = [
        (WHOLE, COMMON),
        (BLOCK, BLOCK_CONV + BLOCK_NORM[cfg.extractor_norm]),
        (POSITION, position),
        (LAYER, LAYER_PARTS),
    ]
    if cfg.relative_buckets:
        sections += [(WHOLE, RELATIVE), (LAYER, LAYER_RELATIVE)]
    return [
        (prefix[0] + row[0], prefix[1] + row[1], prefix[2] + row[2])
        for prefix, rows in sections
        for row in rows
    ]


def rename(key: str, rows: list[Row], source: int, target: int) -> str | None:
    """``key`` in the names of column ``target``; None if no row of column ``source`` has it."""
    for row in rows:
        pattern = re.escape(row[source]).replace(r"\#", r"(\d+)").replace(r"\*", r"(\w+)")
        match = re.fullmatch(pattern, key)
        if match:
            name = row[target]
            for part in match.groups():
                name = re.sub(r"[#*]", part, name, count=1)
            return name
    return None


def wrapper(keys: Iterable[Any], source: int) -> str | None:
    """What stands before every name of the encoder's weights, such as "module."; None: nothing is.

    Raises ValueError: there is more than one encoder.
    """
    found = []
    for key in map(str, keys):
        if key.endswith(FIRST[source]):
            before = key.removesuffix(FIRST[source])  # empty, or parts that each end in a dot
            *parts, last = before.split(".")
            if last == "" and WRAPPERS.issuperset(parts):
                found.append(before)
    if len(found) > 1:
        raise ValueError(f"holds {len(found)} encoders ({', '.join(found[:3])}); save one of them")
    return found[0] if found else None


def renamed(
    weights: Mapping[Any, Any],
    cfg: EncoderConfig,
    source: int,
    path: Path,
    before: str | None = None,
) -> Tensors:
    """The encoder's weights under our names, float32; those of other parts are dropped.

    ``before``: what stands before the names; by default it is found out.

    Raises ValueError: weights that belong inside the encoder and are unknown, two encoders, or
    none at all; names some of those that are there and of those expected.
    """
    rows, out, unknown = name_rows(cfg), dict[str, Tensor](), list[str]()
    if before is None:
        with reading(path, "give a checkpoint of one encoder"):
            before = wrapper(weights, source)
    if before is None:
        raise ValueError(f"{path}: {_no_names(weights, source)}")
    for key, value in weights.items():
        if not isinstance(value, Tensor) or not str(key).startswith(before):
            continue
        name = str(key)[len(before) :]
        ours = rename(name, rows, source, OURS)
        if ours is not None:
            out[ours] = float32(value)
        elif name.startswith(INSIDE[source]):
            unknown.append(name)
    if unknown:
        raise ValueError(
            f"{path}: {len(unknown)} weights that this encoder lacks, e.g. {unknown[0][:200]}; "
            "only plain wav2vec 2.0 / HuBERT / data2vec-audio / WavLM / UniSpeech / MT4SSL "
            "encoders can be read"
        )
    return split_weight_norm(out) if cfg.pos_conv_depth == 1 else out


def _no_names(weights: Mapping[Any, Any], source: int) -> str:
    there = ", ".join(str(key)[:80] for key in list(weights)[:3]) or "none"
    return (
        f"none of its {len(weights)} entries is called as this encoder's weights: it has {there}, "
        f"...; expected {FIRST[source]} and others, bare or after {', '.join(sorted(WRAPPERS)[:6])}"
        ", ...; give the checkpoint of the encoder itself"
    )


def split_weight_norm(weights: Tensors) -> Tensors:
    """Replace a merged positional convolution by the two factors that weight norm has."""
    merged = weights.pop(f"{POSITION[OURS]}{MERGED}", None)
    if merged is not None:
        norm = merged.norm(dim=(0, 1), keepdim=True)  # (1, 1, K)
        weights[f"{POSITION[OURS]}0.{NORM_G}"] = norm
        weights[f"{POSITION[OURS]}0.{NORM_V}"] = torch.where(norm > 0, merged, 1.0)
    return weights


def float32(value: Any) -> Any:
    """``value`` in float32 if it is a floating tensor; others show up when they are loaded."""
    return value.float() if isinstance(value, Tensor) and value.is_floating_point() else value
