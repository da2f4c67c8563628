"""How a fairseq run was trained, in our settings: targets, optimiser, moments, how far it was."""

import ast
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from mt4ssl_core import config
from mt4ssl_core.checkpoints.foreign.foreign_settings import ForeignSettings, mapping
from mt4ssl_core.checkpoints.foreign.weight_names import (
    FAIRSEQ,
    HEADS,
    OURS,
    Row,
    name_rows,
    rename,
)
from mt4ssl_core.model.targets.offline import OfflineConfig
from mt4ssl_core.model.targets.online import OnlineConfig

MOMENTS = ("exp_avg", "exp_avg_sq")


def fill_training(
    cfg: config.Config,
    sections: Mapping[str, Any],
    state: Mapping[str, Any],
    weights: Mapping[str, Tensor],
    path: Path,
) -> None:
    """Fill masking, targets and optimiser of ``cfg`` so that training goes on as it was."""
    model = ForeignSettings(sections["model"], path)
    cfg.masking.prob = model.get("mask_prob", 0.65, float)
    cfg.masking.length = model.get("mask_length", 10, int)
    cfg.masking.same_count = model.get("require_same_masks", True, bool)
    head = weights.get(f"{HEADS['offline']}.weight")
    if head is not None and head.dim() == 2:
        dictionary = mapping(state.get("task_state")).get("discrete_dictionary")
        symbols = getattr(dictionary, "symbols", ["<s>", "<pad>", "</s>", "<unk>", "0"])
        cfg.targets["offline"] = OfflineConfig(
            num_classes=len(head),
            label_offset=symbols.index("0") if "0" in symbols else 0,
        )
    teacher = model.values.get("ema_transformer_only") and "_ema" in state["model"]
    if teacher and f"{HEADS['online']}.weight" in weights:
        cfg.targets["online"] = OnlineConfig(
            top_k=model.get("average_top_k_layers", None, int),
            ema_start=model.get("ema_decay", None, float),
            ema_end=model.get("ema_end_decay", None, float),
            ema_anneal_updates=model.get("ema_anneal_end_step", None, int),
            norm_over_padding=True,
            step_per_micro_batch=True,
        )
    _optimizer(cfg, sections, path)


def _optimizer(cfg: config.Config, sections: Mapping[str, Any], path: Path) -> None:
    optimizer = mapping(sections.get("optimizer"))
    if optimizer.get("_name") == "adam":
        cfg.optim.lr = float(optimizer["lr"][0])
        betas = str(optimizer["adam_betas"])
        cfg.optim.betas = [float(b) for b in ast.literal_eval(betas[:100])]
        cfg.optim.eps, cfg.optim.fairseq_eps = float(optimizer["adam_eps"]), True
        cfg.optim.weight_decay = float(optimizer["weight_decay"])
    schedule = mapping(sections.get("lr_scheduler"))
    if schedule.get("_name") == "tri_stage" and schedule.get("phase_ratio"):
        cfg.optim.max_updates = int(schedule["max_update"])
        cfg.optim.warmup, cfg.optim.hold, cfg.optim.decay = map(float, schedule["phase_ratio"])
        cfg.optim.init_scale = float(schedule["init_lr_scale"])
        cfg.optim.final_scale = float(schedule["final_lr_scale"])
    updates = mapping(sections.get("optimization"))
    cfg.optim.clip_norm = float(updates.get("clip_norm", 0.0))
    cfg.optim.accumulate = int((updates.get("update_freq") or [1])[0])


def progress(state: Mapping[str, Any], path: Path) -> dict[str, int]:
    """How many updates and epochs the run had done."""
    history = state.get("optimizer_history") or [{}]
    last = ForeignSettings(mapping(history[-1]), path, "optimizer_history.")
    iterator = mapping(mapping(state.get("extra_state")).get("train_iterator"))
    epoch = ForeignSettings(iterator, path, "train_iterator.").get("epoch", 1, int)
    update = last.values.get("num_updates", 0)
    if type(update) is not int or not 0 <= update < 1 << 40:
        raise last.refuse("num_updates", "a count of updates")
    return {"update": update, "epoch": max(0, epoch - 1)}  # theirs count epochs from 1


def adam_moments(
    state: Any, weights: Mapping[str, Tensor], cfg: config.Config
) -> dict[str, dict[str, Any]] | None:
    """{our parameter name: {step, exp_avg, exp_avg_sq}}; None if absent or of another layout.

    fairseq keeps one entry per parameter in the order of the weights, or, in fp16, one flat vector.
    """
    entries = (state or {}).get("state") or {}
    sizes = [value.numel() for value in weights.values()]
    names = [model_name(key, name_rows(cfg.encoder)) for key in weights]
    try:
        found = [[entries[i][name].numel() for name in MOMENTS] for i in range(len(entries))]
    except (KeyError, AttributeError):  # another optimiser's
        return None
    if not entries or None in names:
        return None
    if found == [[sum(sizes)] * len(MOMENTS)]:
        parts = {name: entries[0][name].split(sizes) for name in MOMENTS}
        each = [
            {"step": entries[0]["step"], **{name: part[i] for name, part in parts.items()}}
            for i in range(len(sizes))
        ]
    elif found == [[size] * len(MOMENTS) for size in sizes]:
        each = [entries[i] for i in range(len(sizes))]
    else:
        return None
    return {
        str(name): {"step": int(entry["step"])}
        | {moment: entry[moment].float().view_as(value).clone() for moment in MOMENTS}
        for name, value, entry in zip(names, weights.values(), each, strict=True)
    }


def model_name(key: str, rows: list[Row]) -> str | None:
    """Our name of a fairseq parameter in the whole model: encoder.* or targets.*."""
    for target, head in HEADS.items():
        if key.startswith(f"{head}."):
            return f"targets.{target}.head.{key.removeprefix(f'{head}.')}"
    ours = rename(key, rows, FAIRSEQ, OURS)
    return None if ours is None else f"encoder.{ours}"
