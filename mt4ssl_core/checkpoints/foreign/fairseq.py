"""fairseq's checkpoints: what their options mean, and their weights under our names.

Nothing in them is executed, and fairseq is not needed.
"""

import ast
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from mt4ssl_core import config
from mt4ssl_core.checkpoints.foreign import assembled, fairseq_training
from mt4ssl_core.checkpoints.foreign.foreign_settings import (
    BLOCKS,
    ForeignSettings,
    mapping,
    shown,
    whole_numbers,
)
from mt4ssl_core.checkpoints.foreign.weight_names import (
    FAIRSEQ,
    HEADS,
    TEACHER,
    Tensors,
    renamed,
    wrapper,
)
from mt4ssl_core.config import EncoderConfig


class Dictionary:
    """Stands in for fairseq.data.dictionary.Dictionary: a list of symbols, no behaviour."""

    symbols: list[str]


class _Namespace:
    """Stands in for argparse.Namespace, in which old fairseq kept its options."""


class _Ignored:
    """Stands in for numpy scalars and their types among the logged meters."""

    def __init__(self, *_: Any):
        pass

    def __setstate__(self, _: Any) -> None:
        pass


CLASSES = [
    (Dictionary, "fairseq.data.dictionary.Dictionary"),
    (_Namespace, "argparse.Namespace"),
    (_Ignored, "numpy.dtype"),
    (_Ignored, "numpy.core.multiarray.scalar"),
    (_Ignored, "numpy._core.multiarray.scalar"),
]
WITH_TARGETS = ("multi2vec", "data2vec_audio")  # the models whose heads and teacher are ours
FIXED = {  # what fairseq's models can vary and this encoder cannot
    "activation_fn": "gelu",
    "layer_type": "transformer",
    "attn_type": "",
    "pos_enc_type": "abs",
    "conv_pos_batch_norm": False,
    "quantize_input": False,
    "crop_seq_to_multiple": 1,
    "adp_num": -1,
}
OPTIONS: dict[str, tuple[str, type]] = {  # theirs -> ours and its kind; where absent, fairseq's
    "conv_bias": ("conv_bias", bool),  # default is ours
    "encoder_embed_dim": ("dim", int),
    "encoder_layers": ("layers", int),
    "encoder_attention_heads": ("heads", int),
    "encoder_ffn_embed_dim": ("ffn_dim", int),
    "layer_norm_first": ("pre_norm", bool),
    "conv_pos_groups": ("pos_conv_groups", int),
    "dropout": ("dropout", float),
    "attention_dropout": ("attention_dropout", float),
    "activation_dropout": ("activation_dropout", float),
    "dropout_input": ("input_dropout", float),
    "encoder_layerdrop": ("layerdrop", float),
    "feature_grad_mult": ("feature_grad_scale", float),
}
EPS = 1e-5  # what is added to a waveform's variance there
SMALLEST_KERNEL = 3  # of stacked positional convolutions
OURS_THERE = "mt4ssl"  # key of an export of ours: what fairseq cannot say of the model
S3PRL = {"model_cfg", "task_cfg", "model_weight"}  # what s3prl makes of a fairseq checkpoint
RELATIVE = {  # Microsoft's WavLM: theirs -> ours, their default
    "num_buckets": ("relative_buckets", 320),
    "max_distance": ("relative_distance", 1280),
}
EXTRACTORS = {"default": "group_norm", "layer_norm": "layer_norm"}


def is_fairseq(state: Any) -> bool:
    """Whether a file's content has the form of a fairseq checkpoint, or of s3prl's copy of one."""
    if not isinstance(state, dict):
        return False
    return state.keys() >= S3PRL or ("model" in state and ("cfg" in state or "args" in state))


def load(state: dict[str, Any], path: Path, silent: bool = False) -> dict[str, Any]:
    """A checkpoint in our form (see `convert.load_any`) of one in fairseq's.

    ``silent``: nothing is said of a head that is left out.
    """
    if state.keys() >= S3PRL:
        options = {"model": _plain(state["model_cfg"]), "task": _plain(state["task_cfg"])}
        state = {"cfg": options, "model": state["model_weight"]}
    sections = _sections(state, path)
    model, task = sections["model"], sections["task"]
    if not isinstance(state["model"], dict):
        raise ValueError(
            f"{path}: an incomplete fairseq checkpoint (its `model` is a "
            f"{type(state['model']).__name__}); give one that fairseq wrote"
        )
    _check_kind(model, path)
    said = ForeignSettings(mapping(state.get(OURS_THERE)), path, f"{OURS_THERE}.")
    encoder_cfg = _encoder_config(model, task, path, said.get("normalize_eps", EPS, float))
    for settings in sections["above"]:
        _check(settings)
    weights = {key: value for key, value in state["model"].items() if isinstance(value, Tensor)}
    cfg = assembled.encoder_alone(encoder_cfg)
    if model.get("_name") in WITH_TARGETS:
        fairseq_training.fill_training(cfg, sections, state, weights, path)
    out = assembled.checkpoint_of(cfg, renamed(weights, encoder_cfg, FAIRSEQ, path), path)
    if not silent:
        _say_left_out(sections, weights, path)
    out["targets"] = _targets(cfg, state["model"], weights, path)
    out["progress"] |= fairseq_training.progress(state, path)
    out["optimizer_by_name"] = fairseq_training.adam_moments(
        state.get("last_optimizer_state"), weights, cfg
    )
    return out


def _check_kind(model: Mapping[str, Any], path: Path) -> None:
    """Refuse a model that is no encoder of ours, by its name."""
    if model.get("_name") == "data2vec_multi":
        raise ValueError(
            f"{path}: data2vec 2.0 (data2vec_multi), whose encoder has another form (a linear bias "
            "of distances, norms of its own) that is not known here; give a data2vec 1.0 "
            "(data2vec_audio), or write it as a class in a Python file and give FILE.py:CLASS"
        )
    if "conv_feature_layers" not in model:
        raise ValueError(
            f"{path}: a fairseq checkpoint ({shown(model.get('_name'))}) without encoder options "
            "(cfg.model.conv_feature_layers); give a wav2vec 2.0, HuBERT, data2vec or MT4SSL "
            "checkpoint"
        )


def _say_left_out(sections: Mapping[str, Any], weights: Tensors, path: Path) -> None:
    """Of a fine-tuned model, say that its encoder is taken."""
    if sections["above"]:
        kind = sections["above"][0].values.get("_name") or "model"
        before = wrapper(weights, FAIRSEQ) or ""
        head = (key for key in weights if not key.startswith(before))
        assembled.say_left_out(path, f"fine-tuned {kind}", head)


def _sections(state: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The options of the model and its task, those of a fine-tuned one's own pre-training.

    ``above`` are the sections of the fine-tuned model around it.
    """
    found = _plain(state.get("cfg")) or _plain(state.get("args"))
    above: list[ForeignSettings] = []
    while True:
        sections = {name: _plain(value) for name, value in found.items()}
        model = sections.get("model") or found
        inner = _plain(model.get("w2v_args"))
        if "conv_feature_layers" in model or not inner:
            task = sections.get("task") or (found if model is found else None)
            return {**sections, "model": model, "task": task, "above": above}
        above.append(ForeignSettings(model, path))
        above.append(ForeignSettings(sections.get("task") or {}, path, "task."))
        found = inner


def _plain(value: Any) -> dict[str, Any]:
    return mapping(vars(value) if isinstance(value, _Namespace) else value)


def _check(settings: ForeignSettings) -> None:
    """See that no option of a model or task asks for what this encoder cannot do."""
    if settings.prefix == "task.":
        settings.check_rate("sample_rate")
    else:
        settings.check_fixed(FIXED)


def _encoder_config(
    model: Mapping[str, Any], task: Mapping[str, Any] | None, path: Path, normalize_eps: float
) -> EncoderConfig:
    """Encoder section from fairseq's options; what is absent has fairseq's default."""
    if task is None:
        raise ValueError(
            f"{path}: without cfg.task it is not known whether the model hears normalised "
            "waveforms; give the checkpoint as fairseq wrote it"
        )
    options, heard = ForeignSettings(model, path), ForeignSettings(task, path, "task.")
    _check(options)
    _check(heard)
    mode = options.get("extractor_mode", "default", str)
    if mode not in EXTRACTORS:
        raise options.refuse("extractor_mode", " or ".join(EXTRACTORS))
    depth = options.get("pos_conv_depth", 1, int)
    kernel = options.get("conv_pos", 128, int)
    values = {
        ours: options.get(theirs, None, kind)
        for theirs, (ours, kind) in OPTIONS.items()
        if theirs in model
    }
    values |= {
        "normalize": heard.get("normalize", False, bool),
        "normalize_eps": normalize_eps,
        "conv_layers": _conv_layers(model["conv_feature_layers"], path),
        "extractor_norm": EXTRACTORS[mode],
        "pos_conv_depth": depth,
        "pos_conv_kernel": max(SMALLEST_KERNEL, kernel // depth) if depth > 1 else kernel,
    }
    if options.get("relative_position_embedding", False, bool):
        if not options.get("gru_rel_pos", False, bool):
            raise options.refuse("gru_rel_pos", "true with relative_position_embedding (WavLM)")
        values |= {ours: options.get(name, most, int) for name, (ours, most) in RELATIVE.items()}
    return config.encoder_from_dict(values, str(path))


def _conv_layers(text: Any, path: Path) -> list[list[int]]:
    """Blocks of e.g. "[(512,10,5)] + 4*[(512,3,2)]"; the text is parsed, never evaluated."""

    def blocks(node: ast.AST) -> list[list[int]]:
        match node:
            case ast.List(elts=items) | ast.Tuple(elts=items):
                return [[part.value for part in item.elts] for item in items]  # type: ignore[attr-defined]
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                return blocks(left) + blocks(right)
            case (
                ast.BinOp(left=left, op=ast.Mult(), right=ast.Constant(value=int(times)))
                | ast.BinOp(left=ast.Constant(value=int(times)), op=ast.Mult(), right=left)
            ):
                found = blocks(left)
                if times * len(found) <= BLOCKS:
                    return found * times
        raise ValueError

    try:
        source = str(text) if isinstance(text, str | list | tuple) else ""
        found = blocks(ast.parse(source.strip(), mode="eval").body) if len(source) < 2000 else []
        if found and all(len(block) == 3 and whole_numbers(block) for block in found):
            return found
    except (ValueError, AttributeError, SyntaxError, TypeError, RecursionError, MemoryError):
        pass
    raise ValueError(
        f"{path}: conv_feature_layers = {shown(text)}; expected the form "
        "'[(512,10,5)] + [(512,3,2)]*4'; give another checkpoint"
    )


def _targets(
    cfg: config.Config, model: Mapping[str, Any], weights: Mapping[str, Tensor], path: Path
) -> dict[str, dict[str, Tensor]]:
    """Heads and teacher, for the targets that ``cfg`` has."""
    targets: dict[str, dict[str, Tensor]] = {}
    for name, head in HEADS.items():
        if name in cfg.on:
            lacking = [p for p in ("weight", "bias") if f"{head}.{p}" not in weights]
            if lacking:
                raise ValueError(f"{path}: {head}.{lacking[0]} is missing; copy the file again")
            targets[name] = {
                f"head.{p}": weights[f"{head}.{p}"].float() for p in ("weight", "bias")
            }
    if "online" in cfg.on:
        below = {f"encoder.{key}": value for key, value in mapping(model["_ema"]).items()}
        teacher = renamed(below, cfg.encoder, FAIRSEQ, path, before="")
        targets["online"] |= {TEACHER + k.removeprefix("context."): v for k, v in teacher.items()}
    return targets


def labels(state: Mapping[str, Any]) -> str | None:
    """What a fine-tuned model's labels are called there, such as "ltr"; None where nothing says."""
    found = _plain(state.get("cfg")) or _plain(state.get("args"))
    name = (_plain(found.get("task")) or found).get("labels")
    return name if isinstance(name, str) and name.isalnum() else None


def symbols(state: Mapping[str, Any]) -> list[str] | None:
    """The dictionary of a fine-tuned model, special tokens included, where its file holds it."""
    found = mapping(state.get("task_state")).get("target_dictionary")
    listed = vars(found).get("symbols") if isinstance(found, Dictionary) else None
    return listed if isinstance(listed, list) else None
