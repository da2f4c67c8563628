"""How a run of ours was trained, in fairseq's options; Adam's moments as it numbers them."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch

from mt4ssl_core import config
from mt4ssl_core.checkpoints.foreign.fairseq_training import MOMENTS, model_name
from mt4ssl_core.checkpoints.foreign.weight_names import Row
from mt4ssl_core.model.mt4ssl import MT4SSL

_LOGGED = ["ema_decay", "target_var", "pred_var"]


def training_sections(
    settings: Mapping[str, Any], heads: Iterable[str]
) -> dict[str, dict[str, Any]]:
    """The options of model, task, criterion, optimiser and schedule, of a config's sections."""
    optim, heads = settings["optim"], set(heads)
    lr = [optim["lr"]]
    updates = optim["max_updates"]
    return {
        "model": _model(settings, heads) | {"max_update": updates},
        "task": {"label_dir": "", "label_type": "km"} if "offline" in heads else {},
        "criterion": {
            "_name": "multi2vec" if "offline" in heads else "model",
            "loss_weights": {},
            "log_keys": _LOGGED if "online" in heads else [],
        },
        "optimization": {
            "max_update": updates,
            "clip_norm": optim["clip_norm"],
            "update_freq": [optim["accumulate"]],
            "lr": lr,
        },
        "optimizer": {
            "_name": "adam",
            "adam_betas": f"({','.join(map(str, optim['betas']))})",
            "adam_eps": optim["eps"],
            "weight_decay": optim["weight_decay"],
            "lr": lr,
        },
        "lr_scheduler": {
            "_name": "tri_stage",
            "phase_ratio": [optim[name] for name in ("warmup", "hold", "decay")],
            "init_lr_scale": optim["init_scale"],
            "final_lr_scale": optim["final_scale"],
            "max_update": float(updates),
            "lr": lr,
        },
    }


def _model(settings: Mapping[str, Any], heads: set[str]) -> dict[str, Any]:
    """Masks and targets."""
    masking = settings["masking"]
    out = {
        "mask_prob": masking["prob"],
        "mask_length": masking["length"],
        "require_same_masks": masking["same_count"],
    }
    if "offline" in heads:
        out |= {"ce_loss": True, "mse_loss": "online" in heads}
    if "online" in heads:
        online = settings["online"]
        out |= {
            "average_top_k_layers": online["top_k"],
            "instance_norm_target_layer": True,
            "ema_decay": online["ema_start"],
            "ema_end_decay": online["ema_end"],
            "ema_anneal_end_step": online["ema_anneal_updates"],
            "ema_transformer_only": True,
            "ema_layers_only": True,
            "min_target_var": online["min_target_var"],
            "min_pred_var": online["min_pred_var"],
        }
    return out


def moments_of(
    state: Mapping[str, Any], order: list[str], rows: list[Row]
) -> dict[str, Any] | None:
    """The state of fairseq's Adam, one entry per parameter in ``order``, their names there; None
    if the checkpoint does not hold it.
    """
    by_name = state.get("optimizer_by_name") or _by_name(state)
    if not by_name:
        return None
    optim = config.completed(state["config"])["optim"]
    entries = {}
    for place, name in enumerate(order):
        if (entry := by_name.get(str(model_name(name, rows)))) is not None:
            moments = {moment: entry[moment].float().cpu() for moment in MOMENTS}
            entries[place] = {"step": int(entry["step"]), **moments}
    group = {
        "lr": optim["lr"],
        "betas": tuple(optim["betas"]),
        "eps": optim["eps"],
        "weight_decay": optim["weight_decay"],
        "amsgrad": False,
        "params": list(range(len(order))),
    }
    return {"state": entries, "param_groups": [group]}


def _by_name(state: Mapping[str, Any]) -> dict[str, Any] | None:
    """The entries of our optimiser under the names of their parameters."""
    entries = (state["optimizer"] or {}).get("state")
    if not entries:
        return None
    with torch.device("meta"):
        model = MT4SSL(config.from_dict(state["config"]))
    names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    return {names[number]: entry for number, entry in entries.items()}
