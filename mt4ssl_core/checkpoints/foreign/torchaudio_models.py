"""State dicts of torchaudio's wav2vec 2.0, HuBERT and WavLM bundles as encoders of ours.

They hold no settings. The shapes of the weights tell most of them. What they do not tell is the
same in all of torchaudio's bundles: strides, heads by size, and with layer norm in the extractor
also pre-norm and normalised waveforms. torchaudio is not needed.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mt4ssl_core import config
from mt4ssl_core.checkpoints.foreign import assembled, checkpoint_files
from mt4ssl_core.checkpoints.foreign.weight_names import HF, Tensors, renamed, wrapper
from mt4ssl_core.config import EncoderConfig

_MARK = "encoder.transformer.layers.0.attention."
_PLACES = (  # theirs, Hugging Face's
    ("encoder.transformer.", "encoder."),
    ("encoder.feature_projection.", "feature_projection."),
    (".attention.attention.", ".attention."),
)
_HEADS = {768: 12, 1024: 16, 1280: 16, 1920: 16}  # by size, of models without WavLM's bias
_KERNELS, _STRIDES = [10, 3, 3, 3, 3, 2, 2], [5, 2, 2, 2, 2, 2, 2]
_DISTANCE = 800  # of every WavLM


def weights_of(state: Any) -> Tensors | None:
    """The weights under torchaudio's bare names, or None: ``state`` holds none such.

    Raises ValueError: it holds two encoders.
    """
    found = [state, *(state.get(key) for key in checkpoint_files.WRAPPING)] if state else []
    for values in found if isinstance(state, dict) else []:
        if not isinstance(values, Mapping) or not any(_MARK in str(key) for key in values):
            continue
        before = wrapper(values, HF)
        if before is not None:
            return {
                str(key).removeprefix(before): value
                for key, value in values.items()
                if str(key).startswith(before) and isinstance(value, Tensor)
            }
    return None


def load(weights: Tensors, path: Path) -> dict[str, Any]:
    """A checkpoint in our form (see `convert.load_any`) of what `weights_of` gives.

    Raises:
        ValueError: shapes of no bundle of torchaudio's, or weights missing or left over.
    """
    named = _as_hugging_face(weights)
    try:
        cfg = _config(named, path)
    except (KeyError, IndexError, ValueError) as error:
        raise ValueError(
            f"{path}: names as in torchaudio, but not the form of its bundles ({error}); give a "
            "state dict of one, or a checkpoint that holds its settings"
        ) from None
    encoder = renamed(named, cfg, HF, path, before="")
    encoder.setdefault("mask_embedding", torch.zeros(cfg.dim))
    heard = "normalised waveforms" if cfg.normalize else "waveforms as they are"
    assembled.say_once(
        path, f"a state dict of torchaudio's: taken to hear {heard}, as its bundles do"
    )
    return assembled.checkpoint_of(assembled.encoder_alone(cfg), encoder, path)


def _as_hugging_face(weights: Tensors) -> Tensors:
    """The weights under Hugging Face's names; WavLM's joint projection is split in three."""
    out: Tensors = {}
    for key, value in weights.items():
        name = key
        for theirs, hugging_face in _PLACES:
            name = name.replace(theirs, hugging_face)
        if ".attention.in_proj_" in name:
            for part, piece in zip("qkv", value.chunk(3), strict=True):
                out[name.replace("in_proj_", f"{part}_proj.")] = piece
        else:
            out[name] = value
    return out


def as_torchaudio(weights: Tensors) -> Tensors:
    """The weights, under Hugging Face's names, under torchaudio's; WavLM's projections joined."""
    out: Tensors = {}
    joined = any(key.endswith(".gru_rel_pos_const") for key in weights)
    for key, value in weights.items():
        name = key
        for theirs, hugging_face in _PLACES[:2]:
            if name.startswith(hugging_face):
                name = name.replace(hugging_face, theirs, 1)
                break
        if not joined:
            out[name] = value
        elif ".attention.q_proj." in key:
            parts = [weights[key.replace("q_proj", f"{part}_proj")] for part in "qkv"]
            out[name.replace(".q_proj.", ".attention.in_proj_")] = torch.cat(parts)
        elif ".attention.out_proj." in key:
            out[name.replace(".out_proj.", ".attention.out_proj.")] = value
        elif key.split(".")[-2] not in ("k_proj", "v_proj"):
            out[name] = value
    return out


def _config(weights: Tensors, path: Path) -> EncoderConfig:
    """The encoder section; KeyError, IndexError, ValueError: not of the form of a bundle."""
    shapes = {key: list(value.shape) for key, value in weights.items()}
    convs = "feature_extractor.conv_layers."
    blocks = [shapes[f"{convs}{i}.conv.weight"] for i in range(len(_KERNELS))]
    if [kernel for _, _, kernel in blocks] != _KERNELS:
        raise ValueError(f"kernels {[block[-1] for block in blocks]}")
    dim = shapes["feature_projection.projection.weight"][0]
    numbers = {key.split(".")[2] for key in shapes if key.startswith("encoder.layers.")}
    position = "encoder.pos_conv_embed.conv."
    conv = (
        shapes.get(f"{position}weight_v") or shapes[f"{position}parametrizations.weight.original1"]
    )
    relative = shapes.get("encoder.layers.0.attention.rel_attn_embed.weight")
    if not relative and dim not in _HEADS:
        raise ValueError(f"size {dim}, of which the number of heads is not known")
    large = f"{convs}1.layer_norm.weight" in shapes
    values = {
        "conv_layers": [[b[0], k, s] for b, k, s in zip(blocks, _KERNELS, _STRIDES, strict=True)],
        "conv_bias": f"{convs}0.conv.bias" in shapes,
        "extractor_norm": "layer_norm" if large else "group_norm",
        "normalize": large,
        "pre_norm": large,
        "dim": dim,
        "layers": len(numbers),
        "heads": relative[1] if relative else _HEADS[dim],
        "ffn_dim": shapes["encoder.layers.0.feed_forward.intermediate_dense.weight"][0],
        "pos_conv_depth": 1,
        "pos_conv_kernel": conv[2],
        "pos_conv_groups": dim // conv[1],
        "relative_buckets": relative[0] if relative else 0,
        "relative_distance": _DISTANCE,
    }
    return config.encoder_from_dict(values, str(path))
