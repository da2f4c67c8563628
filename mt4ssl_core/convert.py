"""fairseq <-> ours <-> Hugging Face: the only file that knows a foreign name.

`load_any` reads a checkpoint of any of the three kinds into the form of `mt4ssl_core.checkpoint`;
`to_fairseq` gives fairseq's names back; `export_hf` writes a folder for ``transformers.AutoModel``.
Nothing in a foreign file is executed, and neither fairseq nor transformers is needed.

Encoders from elsewhere get ``isolate_padding: true``: single utterances come out as where they
come from, padded ones as if they were alone. Set it to false for that framework's padded batches.
"""

import ast
import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from mt4ssl_core import checkpoint, config
from mt4ssl_core.config import EncoderConfig
from mt4ssl_core.encoder import Encoder

Tensors = dict[str, Tensor]
Row = tuple[str, str, str]
OURS, FAIRSEQ, HF = 0, 1, 2

# ---- Names: ours, fairseq's, Hugging Face's. `#` is a number, `*` the last part; both carry over.

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
POSITION_SINGLE = [
    ("0.conv.bias",  "0.bias",     "conv.bias"),
    (f"0.{NORM_G}",  "0.weight_g", NORM_G),
    (f"0.{NORM_V}",  "0.weight_v", NORM_V),
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
# Targets, ours and fairseq's (MT4SSL, data2vec): the heads; the names of the teacher are those of
# `context.` here and of `encoder.` (under `_ema`) there.
HEADS = {"offline": "final_proj_hubert", "online": "final_proj"}
TEACHER = "teacher."
# fmt: on


def table(cfg: EncoderConfig) -> list[Row]:
    """Rows (ours, fairseq, Hugging Face) of an encoder's parameter names."""
    position = POSITION_SINGLE if cfg.pos_conv_depth == 1 else POSITION_STACKED
    sections = [
        (WHOLE, COMMON),
        (BLOCK, BLOCK_CONV + BLOCK_NORM[cfg.extractor_norm]),
        (POSITION, position),
        (LAYER, LAYER_PARTS),
    ]
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


# ---- Loading


def load_any(path: str | Path) -> dict[str, Any]:
    """Read our, a fairseq or a Hugging Face checkpoint in the form of `mt4ssl_core.checkpoint`.

    path: a file that `mt4ssl pretrain` wrote; a fairseq .pt of MT4SSL, data2vec, HuBERT or
    wav2vec 2.0; a Hugging Face folder with config.json and model.safetensors (or the shards that
    its index names), or one .safetensors file with config.json beside it.
    From fairseq, ``optimizer_by_name`` maps our parameter names to {step, exp_avg, exp_avg_sq}, or
    is None when the file does not hold them. From Hugging Face, and from fairseq's models without
    targets of ours, comes an encoder alone: ``targets`` is empty, and of ``config`` only
    ``encoder`` says something; ``offline``, ``online`` and ``random_projection`` are None,
    ``data.train`` is "", the rest are defaults. `config.encoder_from_dict` reads that section;
    `config.from_dict` refuses the whole, since without a target there is nothing to train.

    Raises:
        ValueError: not readable, of another kind or architecture, or a pickle naming foreign code.
    """
    path = Path(path)
    if path.is_dir() or path.suffix == ".safetensors":
        return _from_hf(path)
    state = checkpoint.read(path, _FAIRSEQ_CLASSES)
    if isinstance(state, dict) and "model" in state and ("cfg" in state or "args" in state):
        try:
            return _from_fairseq(state, path)
        except (KeyError, TypeError, AttributeError, IndexError) as error:
            raise ValueError(
                f"{path}: an incomplete fairseq checkpoint ({error!r}); give one that fairseq wrote"
            ) from None
    return checkpoint.validate(state, path)


def load_encoder(path: str | Path, seed: int | None = None) -> Encoder:
    """The encoder of any checkpoint (see `load_any`), in eval mode.

    With ``seed`` its weights are drawn anew: the untrained copy a result is compared with.

    Raises:
        ValueError: as `load_any`, or weights that do not fit the config.
    """
    return encoder_of(load_any(path), path, seed)


def encoder_of(state: Mapping[str, Any], path: str | Path, seed: int | None = None) -> Encoder:
    """The encoder of a loaded checkpoint, float32, in eval mode; ``path`` is what errors name."""
    cfg = config.encoder_from_dict(state["config"].get("encoder", {}), str(path))
    if seed is not None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return Encoder(cfg).eval()
    with torch.device("meta"):
        encoder = Encoder(cfg)
    weights = {key: _float32(value) for key, value in state["encoder"].items()}
    checkpoint.load_into(encoder, weights, path, assign=True)
    return encoder.eval()


def _float32(value: Any) -> Any:
    """``value`` in float32 if it is a floating tensor; others show up when they are loaded."""
    return value.float() if isinstance(value, Tensor) and value.is_floating_point() else value


def _state(cfg: config.Config, encoder: Tensors, path: Path) -> dict[str, Any]:
    """An encoder-only checkpoint (see `load_any`); its weights are checked against its config."""
    state = {
        "format": checkpoint.FORMAT,
        "version": checkpoint.VERSION,
        "config": config.to_dict(cfg),
        "encoder": encoder,
        "targets": {},
        "optimizer": None,
        "scaler": None,
        "progress": {"update": 0, "epoch": 0, "batches_in_epoch": 0, "best": None},
    }
    encoder_of(state, path)
    return state


def _renamed(
    weights: Tensors, cfg: EncoderConfig, source: int, path: Path, inside: tuple[str, ...]
) -> Tensors:
    """Encoder weights under our names, float32; others are dropped unless ``inside`` it."""
    rows, out, unknown = table(cfg), {}, []
    for key, value in weights.items():
        ours = rename(key, rows, source, OURS)
        if ours is not None:
            out[ours] = _float32(value)
        elif key.startswith(inside):
            unknown.append(key)
    if unknown:
        raise ValueError(
            f"{path}: {len(unknown)} weights that this encoder lacks, e.g. {unknown[0]}; only "
            "plain wav2vec 2.0 / HuBERT / data2vec-audio / MT4SSL encoders can be read"
        )
    return out


# ---- fairseq


class _Dictionary:
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


_FAIRSEQ_CLASSES = [
    (_Dictionary, "fairseq.data.dictionary.Dictionary"),
    (_Namespace, "argparse.Namespace"),
    (_Ignored, "numpy.dtype"),
    (_Ignored, "numpy.core.multiarray.scalar"),
    (_Ignored, "numpy._core.multiarray.scalar"),
]
_FAIRSEQ_FIXED = {  # what fairseq can vary and this encoder cannot
    "activation_fn": "gelu",
    "layer_type": "transformer",
    "attn_type": "",
    "adp_num": -1,
}
_FAIRSEQ_OPTIONS = {  # ours -> fairseq's cfg.model
    "conv_bias": "conv_bias",
    "dim": "encoder_embed_dim",
    "layers": "encoder_layers",
    "heads": "encoder_attention_heads",
    "ffn_dim": "encoder_ffn_embed_dim",
    "pre_norm": "layer_norm_first",
    "pos_conv_groups": "conv_pos_groups",
    "dropout": "dropout",
    "attention_dropout": "attention_dropout",
    "activation_dropout": "activation_dropout",
    "input_dropout": "dropout_input",
    "layerdrop": "encoder_layerdrop",
    "feature_grad_scale": "feature_grad_mult",
}
_WITH_TARGETS = ("multi2vec", "data2vec_audio")  # the models whose heads and teacher are ours


def _from_fairseq(state: dict[str, Any], path: Path) -> dict[str, Any]:
    sections = state.get("cfg") or {}
    args = vars(state["args"]) if isinstance(state.get("args"), _Namespace) else {}
    model = sections.get("model") or args
    if "conv_feature_layers" not in model:
        raise ValueError(
            f"{path}: a fairseq checkpoint ({model.get('_name')!r}) without encoder options "
            "(cfg.model.conv_feature_layers); give a pre-trained wav2vec 2.0, HuBERT, data2vec or "
            "MT4SSL checkpoint, not a fine-tuned one"
        )
    task = sections.get("task") or args
    cfg = config.Config(
        data=config.DataConfig(train=""),
        encoder=_fairseq_encoder(model, bool(task.get("normalize", False)), path),
        offline=None,
        online=None,
    )
    weights = {key: value for key, value in state["model"].items() if isinstance(value, Tensor)}
    if model.get("_name") in _WITH_TARGETS:
        _fairseq_training(cfg, sections, state, weights)
    encoder = _renamed(weights, cfg.encoder, FAIRSEQ, path, ("encoder.", "feature_extractor."))
    out = _state(cfg, encoder, path)
    for name, head in HEADS.items():
        if getattr(cfg, name) is not None:
            out["targets"][name] = {
                f"head.{p}": weights[f"{head}.{p}"].float() for p in ("weight", "bias")
            }
    if cfg.online is not None:
        below = {f"encoder.{key}": value for key, value in state["model"]["_ema"].items()}
        teacher = _renamed(below, cfg.encoder, FAIRSEQ, path, ("encoder.",))
        out["targets"]["online"] |= {
            TEACHER + k.removeprefix("context."): v for k, v in teacher.items()
        }
    history = state.get("optimizer_history") or [{}]
    out["progress"]["update"] = int(history[-1].get("num_updates", 0))
    iterator = (state.get("extra_state") or {}).get("train_iterator") or {}
    out["progress"]["epoch"] = max(0, int(iterator.get("epoch", 1)) - 1)  # theirs count from 1
    out["optimizer_by_name"] = _fairseq_optimizer(state.get("last_optimizer_state"), weights, cfg)
    return out


def _fairseq_encoder(model: Mapping[str, Any], normalize: bool, path: Path) -> EncoderConfig:
    """Encoder section from fairseq's model options; what is absent has fairseq's default."""
    for name, value in _FAIRSEQ_FIXED.items():
        if model.get(name, value) != value:
            raise ValueError(
                f"{path}: {name} = {model[name]!r}, expected {value!r}; give another checkpoint"
            )
    depth, kernel = int(model.get("pos_conv_depth", 1)), int(model.get("conv_pos", 128))
    layer_norm = model.get("extractor_mode") == "layer_norm"
    values = {ours: model[theirs] for ours, theirs in _FAIRSEQ_OPTIONS.items() if theirs in model}
    values |= {
        "normalize": normalize,
        "conv_layers": _conv_layers(model["conv_feature_layers"], path),
        "extractor_norm": "layer_norm" if layer_norm else "group_norm",
        "pos_conv_depth": depth,
        "pos_conv_kernel": max(3, kernel // depth) if depth > 1 else kernel,
    }
    return config.encoder_from_dict(values, str(path))


def _conv_layers(text: str, path: Path) -> list[list[int]]:
    """Blocks of e.g. "[(512,10,5)] + [(512,3,2)]*4"; the text is parsed, never evaluated."""

    def blocks(node: ast.AST) -> list[list[int]]:
        match node:
            case ast.List(elts=items):
                return [[part.value for part in item.elts] for item in items]  # type: ignore[attr-defined]
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                return blocks(left) + blocks(right)
            case ast.BinOp(left=left, op=ast.Mult(), right=ast.Constant(value=int(times))):
                if times <= 64:
                    return blocks(left) * times
        raise ValueError

    try:
        found = blocks(ast.parse(str(text).strip(), mode="eval").body)
        if all(len(block) == 3 and all(type(n) is int for n in block) for block in found):
            return found
    except (ValueError, AttributeError, SyntaxError, TypeError, RecursionError, MemoryError):
        pass
    raise ValueError(
        f"{path}: conv_feature_layers = {str(text)[:80]!r}; expected the form "
        "'[(512,10,5)] + [(512,3,2)]*4'; give another checkpoint"
    )


def _fairseq_training(
    cfg: config.Config, sections: Mapping[str, Any], state: Mapping[str, Any], weights: Tensors
) -> None:
    """Fill masking, targets and optimiser of ``cfg`` so that training goes on as it was."""
    model, optimizer = sections["model"], sections.get("optimizer") or {}
    cfg.masking.prob = float(model.get("mask_prob", 0.65))
    cfg.masking.length = int(model.get("mask_length", 10))
    cfg.masking.same_count = bool(model.get("require_same_masks", True))
    if f"{HEADS['offline']}.weight" in weights:
        dictionary = (state.get("task_state") or {}).get("discrete_dictionary")
        symbols = getattr(dictionary, "symbols", ["<s>", "<pad>", "</s>", "<unk>", "0"])
        cfg.offline = config.OfflineConfig(
            num_classes=len(weights[f"{HEADS['offline']}.weight"]),
            label_offset=symbols.index("0") if "0" in symbols else 0,
        )
    teacher = model.get("ema_transformer_only") and "_ema" in state["model"]
    if teacher and f"{HEADS['online']}.weight" in weights:
        cfg.online = config.OnlineConfig(
            top_k=int(model["average_top_k_layers"]),
            ema_start=float(model["ema_decay"]),
            ema_end=float(model["ema_end_decay"]),
            ema_anneal_updates=int(model["ema_anneal_end_step"]),
            norm_over_padding=True,
            step_per_micro_batch=True,
        )
    if optimizer.get("_name") == "adam":
        cfg.optim.lr = float(optimizer["lr"][0])
        cfg.optim.betas = [float(b) for b in ast.literal_eval(str(optimizer["adam_betas"]))]
        cfg.optim.eps, cfg.optim.fairseq_eps = float(optimizer["adam_eps"]), True
        cfg.optim.weight_decay = float(optimizer["weight_decay"])
    schedule = sections.get("lr_scheduler") or {}
    if schedule.get("_name") == "tri_stage" and schedule.get("phase_ratio"):
        cfg.optim.max_updates = int(schedule["max_update"])
        cfg.optim.warmup, cfg.optim.hold, cfg.optim.decay = map(float, schedule["phase_ratio"])
        cfg.optim.init_scale = float(schedule["init_lr_scale"])
        cfg.optim.final_scale = float(schedule["final_lr_scale"])
    updates = sections.get("optimization") or {}
    cfg.optim.clip_norm = float(updates.get("clip_norm", 0.0))
    cfg.optim.accumulate = int((updates.get("update_freq") or [1])[0])


_MOMENTS = ("exp_avg", "exp_avg_sq")


def _model_name(key: str, rows: list[Row]) -> str | None:
    """Our name of a fairseq parameter in the whole model: encoder.* or targets.*."""
    for target, head in HEADS.items():
        if key.startswith(f"{head}."):
            return f"targets.{target}.head.{key.removeprefix(f'{head}.')}"
    ours = rename(key, rows, FAIRSEQ, OURS)
    return None if ours is None else f"encoder.{ours}"


def _fairseq_optimizer(
    state: Any, weights: Tensors, cfg: config.Config
) -> dict[str, dict[str, Any]] | None:
    """{our parameter name: {step, exp_avg, exp_avg_sq}}; None if absent or of another layout.

    fairseq keeps one entry per parameter in the order of the weights, or, in fp16, one flat vector.
    """
    entries = (state or {}).get("state") or {}
    sizes = [value.numel() for value in weights.values()]
    names = [_model_name(key, table(cfg.encoder)) for key in weights]
    try:
        found = [[entries[i][name].numel() for name in _MOMENTS] for i in range(len(entries))]
    except (KeyError, AttributeError):  # another optimiser's
        return None
    if not entries or None in names:
        return None
    if found == [[sum(sizes)] * len(_MOMENTS)]:
        parts = {name: entries[0][name].split(sizes) for name in _MOMENTS}
        each = [
            {"step": entries[0]["step"], **{name: part[i] for name, part in parts.items()}}
            for i in range(len(sizes))
        ]
    elif found == [[size] * len(_MOMENTS) for size in sizes]:
        each = [entries[i] for i in range(len(sizes))]
    else:
        return None
    return {
        str(name): {"step": int(entry["step"])}
        | {moment: entry[moment].float().view_as(value).clone() for moment in _MOMENTS}
        for name, value, entry in zip(names, weights.values(), each, strict=True)
    }


def to_fairseq(state: Mapping[str, Any]) -> dict[str, Any]:
    """The ``model`` entry of a fairseq checkpoint, `_ema` included, for a checkpoint of ours."""
    rows = table(config.encoder_from_dict(state["config"]["encoder"]))
    out: dict[str, Any] = {}
    for key, value in state["encoder"].items():
        name = rename(key, rows, OURS, FAIRSEQ)
        assert name is not None, f"no fairseq name for {key}"
        out[name] = value
    for target, head in HEADS.items():
        for part in ("weight", "bias"):
            if target in state["targets"]:
                out[f"{head}.{part}"] = state["targets"][target][f"head.{part}"]
    if "online" in state["targets"]:
        out["_ema"] = {}
        for key, value in state["targets"]["online"].items():
            if key.startswith(TEACHER):
                name = rename("context." + key.removeprefix(TEACHER), rows, OURS, FAIRSEQ)
                assert name is not None, f"no fairseq name for {key}"
                out["_ema"][name.removeprefix("encoder.")] = value
    return out


# ---- Hugging Face

_HF_FILES = {"config.json", "model.safetensors", "preprocessor_config.json"}
_HF_PREPROCESSOR = {
    "feature_extractor_type": "Wav2Vec2FeatureExtractor",
    "feature_size": 1,
    "padding_side": "right",
    "padding_value": 0.0,
    "return_attention_mask": True,
    "sampling_rate": 16000,
}
_HF_PREFIXES = ("hubert.", "wav2vec2.", "data2vec_audio.")
_HF_FIXED = {  # what the three models can vary and this encoder cannot
    "hidden_act": "gelu",
    "feat_extract_activation": "gelu",
    "layer_norm_eps": 1e-5,
    "feat_proj_layer_norm": True,
    "conv_pos_batch_norm": False,
    "adapter_attn_dim": None,
}
_HF_NUMBERS = {  # ours -> Hugging Face's config.json
    "conv_bias": "conv_bias",
    "dim": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "ffn_dim": "intermediate_size",
    "pos_conv_groups": "num_conv_pos_embedding_groups",
    "dropout": "hidden_dropout",
    "attention_dropout": "attention_dropout",
    "activation_dropout": "activation_dropout",
    "input_dropout": "feat_proj_dropout",
    "layerdrop": "layerdrop",
}


def _read_json(path: Path, default: dict[str, Any] | None = None) -> dict[str, Any]:
    if not path.is_file():
        if default is not None:
            return default
        raise ValueError(
            f"{path}: no such file; give a Hugging Face folder with config.json and "
            "model.safetensors, or a checkpoint file"
        )
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: not valid JSON ({error}); copy the file again") from None
    if not isinstance(values, dict):
        raise ValueError(f"{path}: expected a JSON object; copy the file again")
    return values


def _from_hf(path: Path) -> dict[str, Any]:
    folder = path if path.is_dir() else path.parent
    files = _hf_files(path)
    options = _read_json(folder / "config.json")
    normalize = _read_json(folder / "preprocessor_config.json", {}).get("do_normalize", True)
    cfg = config.Config(
        data=config.DataConfig(train=""),
        encoder=_hf_encoder(options, bool(normalize), folder / "config.json"),
        offline=None,
        online=None,
    )
    weights = {}
    for key, value in _hf_weights(files).items():
        key = re.sub(rf"^({'|'.join(map(re.escape, _HF_PREFIXES))})", "", key)
        key = key.replace("conv.weight_g", NORM_G).replace("conv.weight_v", NORM_V)
        weights[key] = value
    inside = ("encoder.", "feature_extractor.", "feature_projection.")
    encoder = _renamed(weights, cfg.encoder, HF, path, inside)
    # absent where fine-tuning ran without masks; only further pre-training looks at it
    encoder.setdefault("mask_embedding", torch.zeros(cfg.encoder.dim))
    return _state(cfg, encoder, path)


def _hf_encoder(options: Mapping[str, Any], normalize: bool, path: Path) -> EncoderConfig:
    kind = options.get("model_type")
    if kind not in ("data2vec-audio", "hubert", "wav2vec2"):
        raise ValueError(
            f"{path}: model_type {kind!r}; give a data2vec-audio, hubert or wav2vec2 model"
        )
    for name, value in _HF_FIXED.items():
        if options.get(name, value) != value:
            raise ValueError(
                f"{path}: {name} = {options[name]!r}, expected {value!r}; give another model"
            )
    stacked = kind == "data2vec-audio"
    try:
        values = {
            ours: options[theirs] for ours, theirs in _HF_NUMBERS.items() if theirs in options
        }
        blocks = zip(
            options["conv_dim"], options["conv_kernel"], options["conv_stride"], strict=True
        )
        values |= {
            "normalize": normalize,
            "conv_layers": [list(block) for block in blocks],
            "extractor_norm": "layer_norm"
            if stacked or options.get("feat_extract_norm") == "layer"
            else "group_norm",
            "pre_norm": not stacked and bool(options.get("do_stable_layer_norm", False)),
            "pos_conv_depth": options["num_conv_pos_embeddings"] if stacked else 1,
            "pos_conv_kernel": options[
                "conv_pos_kernel_size" if stacked else "num_conv_pos_embeddings"
            ],
        }
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: incomplete ({error!r}); copy the file again") from None
    return config.encoder_from_dict(values, str(path))


def _hf_files(path: Path) -> list[Path]:
    """The files of weights: ``path`` itself, or what a folder of Hugging Face's holds."""
    if not path.is_dir():
        if not path.is_file():
            raise ValueError(f"{path}: no such checkpoint; give the path of an existing file")
        return [path]
    single, pickled = path / "model.safetensors", path / "pytorch_model.bin"
    index = path / "model.safetensors.index.json"
    if single.is_file():
        return [single]
    if index.is_file():
        return _shards(index)
    if pickled.is_file():
        return [pickled]
    raise ValueError(f"{path}: no model.safetensors; download the whole model folder")


def _shards(index: Path) -> list[Path]:
    """The files that an index of shards names; they are all there, beside it."""
    names = _read_json(index).get("weight_map")
    if not isinstance(names, dict) or not names:
        raise ValueError(f"{index}: no weight_map of files; copy it again")
    files = sorted({str(name) for name in names.values()})
    for name in files:
        if Path(name).name != name or not (index.parent / name).is_file():
            raise ValueError(
                f"{index}: names {name!r}, which is not beside it; download the whole model folder"
            )
    return [index.parent / name for name in files]


def _hf_weights(files: list[Path]) -> Tensors:
    weights: Tensors = {}
    for file in files:
        try:
            weights |= checkpoint.read(file) if file.suffix == ".bin" else load_file(file)
        except SafetensorError as error:
            raise ValueError(
                f"{file}: damaged ({error}); copy it again or download the model anew"
            ) from None
    return weights


def export_hf(path: str | Path, out: str | Path) -> Path:
    """Write a checkpoint of any kind as a folder for ``transformers.AutoModel``; returns ``out``.

    Post-LN with layer norm in the extractor and a stacked positional convolution becomes a
    Data2VecAudioModel, one weight-normed positional convolution a HubertModel. The folder appears
    whole or not at all. An earlier export at ``out`` is replaced, and put back if that fails (a
    kill between the two renames leaves it as ``.NAME.PID.old``); other folders are left alone.
    Hugging Face's feature extractor adds 1e-7 to a waveform's variance, fairseq and we add 1e-5:
    very quiet audio differs when it is normalised there (hidden states by 1e-4 at -45 dBFS).

    Raises:
        ValueError: Hugging Face has no such model, ``out`` holds something else, or as `load_any`.
    """
    out = Path(out)
    state = load_any(path)
    encoder = encoder_of(state, path)
    cfg = encoder.cfg
    options = _hf_config(cfg, path)
    if out.exists() and not (out.is_dir() and _replaceable(out)):
        raise ValueError(f"{out}: holds something that is not an export; give a new folder")
    rows = table(cfg)
    named = encoder.state_dict().items()
    weights = {str(rename(key, rows, OURS, HF)): value.contiguous() for key, value in named}
    temporary, former = (out.with_name(f".{out.name}.{os.getpid()}.{x}") for x in ("tmp", "old"))
    temporary.mkdir(parents=True)
    try:
        save_file(weights, temporary / "model.safetensors", metadata={"format": "pt"})
        for name, values in (
            ("config", options),
            ("preprocessor_config", {**_HF_PREPROCESSOR, "do_normalize": cfg.normalize}),
        ):
            (temporary / f"{name}.json").write_text(json.dumps(values, indent=2) + "\n")
        for name in _HF_FILES:
            with open(temporary / name, "rb+") as file:
                os.fsync(file.fileno())
        if out.exists():
            os.replace(out, former)
        os.replace(temporary, out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if former.exists() and not out.exists():
            os.replace(former, out)
        shutil.rmtree(former, ignore_errors=True)
    return out


def _replaceable(folder: Path) -> bool:
    """Whether ``folder`` is empty or holds an export of ours and nothing else."""
    names = {entry.name for entry in folder.iterdir()}
    return not names or (
        names <= _HF_FILES and _read_json(folder / "config.json", {}).get("exported_by") == "mt4ssl"
    )


def _hf_config(cfg: EncoderConfig, path: str | Path) -> dict[str, Any]:
    stacked = cfg.pos_conv_depth > 1
    if stacked and (cfg.pre_norm or cfg.extractor_norm != "layer_norm"):
        has = "pre-LN" if cfg.pre_norm else cfg.extractor_norm
        raise ValueError(
            f"{path}: pos_conv_depth {cfg.pos_conv_depth} with {has} has no Hugging Face model: "
            "Data2VecAudioModel (depth > 1) is post-LN with layer_norm, HubertModel has depth 1; "
            "export a checkpoint of one of these two forms"
        )
    channels, kernels, strides = zip(*cfg.conv_layers, strict=True)
    options = {theirs: getattr(cfg, ours) for ours, theirs in _HF_NUMBERS.items()}
    options |= {
        "architectures": ["Data2VecAudioModel" if stacked else "HubertModel"],
        "model_type": "data2vec-audio" if stacked else "hubert",
        "conv_dim": list(channels),
        "conv_kernel": list(kernels),
        "conv_stride": list(strides),
        "num_feat_extract_layers": len(channels),
        "hidden_act": "gelu",
        "feat_extract_activation": "gelu",
        "layer_norm_eps": 1e-5,
        "mask_time_prob": 0.05,  # not 0: masked_spec_embed exists only then
        "dtype": "float32",
        "exported_by": "mt4ssl",
    }
    if stacked:
        options["num_conv_pos_embeddings"] = cfg.pos_conv_depth
        options["conv_pos_kernel_size"] = cfg.pos_conv_kernel
    else:
        options["num_conv_pos_embeddings"] = cfg.pos_conv_kernel
        options["feat_extract_norm"] = cfg.extractor_norm.removesuffix("_norm")
        options["do_stable_layer_norm"] = cfg.pre_norm
        options["feat_proj_layer_norm"] = True
    return options
