"""A checkpoint of any kind as a file of fairseq's: MT4SSL's, data2vec's, or Microsoft's WavLM.

With k-means targets it becomes a ``multi2vec`` (MT4SSL), with WavLM's relative positions a WavLM,
else a ``data2vec_audio``, which has every other form of encoder. Options that are not written have
fairseq's defaults.
"""

import re
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from mt4ssl_core import config
from mt4ssl_core.checkpoints.foreign import assembled, ctc_heads, fairseq
from mt4ssl_core.checkpoints.foreign.export.ctc import Head
from mt4ssl_core.checkpoints.foreign.export.fairseq_dictionary import dictionary_of, save
from mt4ssl_core.checkpoints.foreign.export.fairseq_training import moments_of, training_sections
from mt4ssl_core.checkpoints.foreign.export.folder import DICTIONARY, NOTE, new_folder, write_record
from mt4ssl_core.checkpoints.foreign.export.folder import FAIRSEQ as FILE
from mt4ssl_core.checkpoints.foreign.export.forms import check_frontend
from mt4ssl_core.checkpoints.foreign.weight_names import (
    FAIRSEQ,
    HEADS,
    OURS,
    TEACHER,
    Row,
    name_rows,
    rename,
)
from mt4ssl_core.config import EncoderConfig
from mt4ssl_core.data.vocabulary import FAIRSEQ as TOKENS
from mt4ssl_core.files import write_text
from mt4ssl_core.settings.frames import SAMPLE_RATE

KINDS = {"multi2vec": "multi2vec_pretraining", "data2vec_audio": "audio_pretraining"}  # and tasks
TUNED = "wav2vec_ctc"
_CRITERIA = {
    "multi2vec": "Multi2VecCriterion", "data2vec_audio": "ModelCriterion", TUNED: "CtcCriterion",
}  # fmt: skip
_ORDER = (  # of the weights there, by which the state of its optimiser is numbered
    "mask_emb", "feature_extractor.", "post_extract_proj.", "encoder.pos_conv.", "encoder.layers.",
    "encoder.layer_norm.", "layer_norm.", "final_proj.", "final_proj_hubert.",
)  # fmt: skip
_PROJECTIONS = ("self_attn.k_proj", "self_attn.v_proj", "self_attn.q_proj")


def write(
    state: Mapping[str, Any], out: Path, origin: str | Path, head: Head | None = None
) -> Path:
    """Write a folder with checkpoint.pt of a checkpoint in our form; returns ``out``.

    Weights, heads, teacher, Adam's moments and the count of updates are there as fairseq keeps
    them; targets that it does not know are left out, which is said. ``origin``: what errors name;
    ``head``: of a recogniser, which becomes a ``wav2vec_ctc`` with its dict.ltr.txt beside it.

    Raises:
        ValueError: no model of fairseq's has such an encoder, or ``out`` holds something else.
        OSError: the folder cannot be written.
    """
    cfg = config.encoder_from_dict(state["config"]["encoder"], str(origin))
    _check(cfg, origin)
    if head is not None:
        _check_head(head, cfg, origin)
        made, kind = _tuned(state, cfg, head), TUNED
    elif cfg.relative_buckets:
        made, kind = _wavlm(state, cfg), "wavlm"
    else:
        made, kind = _pretrained(state, cfg)
    known = {*HEADS} if kind in KINDS else {*state["targets"]} if head else set()
    left = state["targets"].keys() - known
    assembled.say_left_out(origin, f"checkpoint with targets, as fairseq's {kind}", left)
    record = {"format": "fairseq", "model": kind, "weights": FILE}
    if cfg.normalize and cfg.normalize_eps != fairseq.EPS:
        made[fairseq.OURS_THERE] = {"normalize_eps": cfg.normalize_eps}
        record[NOTE] = (
            f"trained with encoder.normalize_eps {cfg.normalize_eps:g}, but fairseq adds "
            f"{fairseq.EPS:g}: features of quiet audio differ there, and not where mt4ssl reads it"
        )
    with new_folder(out) as folder:
        save(made, folder / FILE)
        if head is not None:
            write_text(folder / DICTIONARY, head.vocabulary.fairseq_lines())
        write_record(folder, record)
    return out


def _check(cfg: EncoderConfig, origin: str | Path) -> None:
    """Refuse an encoder that no model there has."""
    check_frontend(cfg, origin, "fairseq")
    problem = ""
    if cfg.relative_buckets and cfg.pos_conv_depth > 1:
        problem = f"pos_conv_depth {cfg.pos_conv_depth} with relative_buckets: WavLM has depth 1"
    elif cfg.relative_buckets and cfg.conv_layers[-1][0] == cfg.dim:
        problem = (
            f"relative_buckets with as many channels as dim ({cfg.dim}): WavLM has no projection "
            "between the two, then"
        )
    elif cfg.pos_conv_depth > 1 and cfg.pos_conv_kernel < fairseq.SMALLEST_KERNEL:
        problem = (
            f"pos_conv_kernel {cfg.pos_conv_kernel}: stacked ones have at least "
            f"{fairseq.SMALLEST_KERNEL} there"
        )
    if problem:
        raise ValueError(f"{origin}: no model of fairseq's has {problem}; export it with --to hf")


def _wavlm(state: Mapping[str, Any], cfg: EncoderConfig) -> dict[str, Any]:
    """What Microsoft's WavLM .pt files hold."""
    options = _encoder_options(cfg) | {"normalize": cfg.normalize}
    options |= {name: getattr(cfg, ours) for name, (ours, _) in fairseq.RELATIVE.items()}
    options |= {"relative_position_embedding": True, "gru_rel_pos": True}
    return {"cfg": options, "model": OrderedDict(_encoder(state, name_rows(cfg)))}


def _pretrained(state: Mapping[str, Any], cfg: EncoderConfig) -> tuple[dict[str, Any], str]:
    """What a checkpoint of fairseq's trainer holds, and the name of the model in it."""
    settings = config.completed(state["config"])
    heads = {name: state["targets"][name] for name in HEADS if name in state["targets"]}
    kind = "multi2vec" if "offline" in heads else "data2vec_audio"
    sections = _sections(cfg, kind)
    if heads:
        training = training_sections(settings, heads)
        for name, values in training.items():
            sections[name] = {**sections.get(name, {}), **values}
    model: dict[str, Any] = OrderedDict(_in_order(_encoder(state, name_rows(cfg)) | _heads(heads)))
    moments = moments_of(state, list(model), name_rows(cfg)) if heads else None
    if "online" in heads or kind == "data2vec_audio":
        model["_ema"] = _teacher(heads.get("online", {}), name_rows(cfg))
    made: dict[str, Any] = {"args": None, "cfg": sections, "model": model, "criterion": None}
    made |= _history(state["progress"], kind)
    if "offline" in heads:
        classes, offset = settings["offline"]["num_classes"], settings["offline"]["label_offset"]
        made["task_state"] = {"discrete_dictionary": dictionary_of(classes, offset)}
    if moments:
        made["last_optimizer_state"] = moments
    return made, kind


def _tuned(state: Mapping[str, Any], cfg: EncoderConfig, head: Head) -> dict[str, Any]:
    """What a checkpoint of fairseq's trainer holds after fine-tuning with CTC."""
    heard = {"normalize": cfg.normalize, "data": ""}
    inside = {"w2v_path": "", "w2v_args": _sections(cfg, "data2vec_audio")}
    task = {"_name": "audio_finetuning", "labels": "ltr", "sample_rate": SAMPLE_RATE, **heard}
    weights = {
        f"{ctc_heads.FAIRSEQ_ENCODER}{key}": value
        for key, value in _in_order(_encoder(state, name_rows(cfg))).items()
    }
    weights |= {f"{ctc_heads.FAIRSEQ_HEAD}{key}": v.cpu() for key, v in head.weights.items()}
    sections = {"_name": None, "model": {"_name": TUNED, **inside, **heard}, "task": task}
    made = {"args": None, "cfg": sections, "model": OrderedDict(weights), "criterion": None}
    return made | _history(state["progress"], TUNED)


def _check_head(head: Head, cfg: EncoderConfig, origin: str | Path) -> None:
    """Refuse a recogniser that fairseq's fine-tuned models are not."""
    if cfg.relative_buckets:
        raise ValueError(
            f"{origin}: fairseq has no recogniser with relative_buckets; export it with --to hf"
        )
    if head.vocabulary.tokens[: len(TOKENS)] != TOKENS or head.vocabulary.blank:
        raise ValueError(
            f"{origin}: its tokens do not begin with fairseq's {', '.join(TOKENS)}; export it with "
            "--to hf"
        )


def _sections(cfg: EncoderConfig, kind: str) -> dict[str, Any]:
    """The options of a model and its task."""
    task = {"_name": KINDS[kind], "data": "", "sample_rate": SAMPLE_RATE}
    return {
        "_name": None,
        "model": {"_name": kind, **_encoder_options(cfg)},
        "task": {**task, "normalize": cfg.normalize},
    }


def _history(progress: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """How far the run was."""
    optimizer = {
        "criterion_name": _CRITERIA[kind],
        "optimizer_name": "FairseqAdam",
        "lr_scheduler_state": {"best": None},
        "num_updates": progress.get("update", 0),
    }
    epoch = progress.get("epoch", 0) + 1  # they count from 1
    iterator = {"version": 2, "epoch": epoch, "iterations_in_epoch": 0, "shuffle": True}
    extra = {"metrics": {}, "previous_training_time": 0, "val_loss": None}
    return {
        "optimizer_history": [optimizer],
        "task_state": {},
        "extra_state": {**extra, "train_iterator": iterator},
    }


def _encoder_options(cfg: EncoderConfig) -> dict[str, Any]:
    """The encoder's settings as fairseq calls them."""
    options = {theirs: getattr(cfg, ours) for theirs, (ours, _) in fairseq.OPTIONS.items()}
    blocks = ", ".join(f"({', '.join(map(str, block))})" for block in cfg.conv_layers)
    modes = {ours: theirs for theirs, ours in fairseq.EXTRACTORS.items()}
    depth = cfg.pos_conv_depth
    options |= {
        "conv_feature_layers": f"[{blocks}]",
        "extractor_mode": modes[cfg.extractor_norm],
        "conv_pos": cfg.pos_conv_kernel * depth,
    }
    return options | ({"pos_conv_depth": depth} if depth > 1 else {})


def _encoder(state: Mapping[str, Any], rows: list[Row]) -> dict[str, Tensor]:
    return {
        str(rename(key, rows, OURS, FAIRSEQ)): value.cpu()
        for key, value in state["encoder"].items()
    }


def _heads(heads: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    return {
        f"{HEADS[name]}.{part}": target[f"head.{part}"].cpu()
        for name, target in heads.items()
        for part in ("weight", "bias")
    }


def _teacher(online: Mapping[str, Tensor], rows: list[Row]) -> dict[str, Tensor]:
    """The teacher's weights, named from the encoder's inside on; of none, nothing."""
    renamed = {
        str(rename(key.replace(TEACHER, "context.", 1), rows, OURS, FAIRSEQ)): value.cpu()
        for key, value in online.items()
        if key.startswith(TEACHER)
    }
    return {key.removeprefix("encoder."): value for key, value in _in_order(renamed).items()}


def _in_order(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights in the order of their modules there."""
    return {name: weights[name] for name in sorted(weights, key=_place)}


def _place(name: str) -> tuple[int, int, int]:
    section = next(i for i, prefix in enumerate(_ORDER) if name.startswith(prefix))
    layer = re.match(r"encoder\.layers\.(\d+)\.", name)
    part = [i for i, projection in enumerate(_PROJECTIONS) if projection in name]
    return section, int(layer[1]) if layer else 0, part[0] if part else len(_PROJECTIONS)
