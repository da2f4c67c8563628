"""What is taken from a checkpoint to train on: types, shapes and ranges checked before use."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

MOMENTS = ("exp_avg", "exp_avg_sq")
_MOST = 10**12  # updates


def settings(
    values: Mapping[str, Any], path: Path, known: Mapping[str, type]
) -> dict[str, dict[str, Any] | None]:
    """Return the sections of a checkpoint's config that are ``known``; one that is off is None.

    Raises:
        ValueError: a section or its keys are of another form.
    """
    out: dict[str, dict[str, Any] | None] = {}
    for section, part in values.items():
        named = isinstance(part, dict) and all(isinstance(key, str) for key in part)
        if not isinstance(section, str) or not (part is None or named):
            raise ValueError(f"{path}: config.{section} is no section of settings")
        out[section] = part
    if any(out.get(section) is None for section in ("data", "encoder", "run", "optim")):
        raise ValueError(f"{path}: its config lacks a section; give the checkpoint of a run")
    unknown = sorted(section for section in out.keys() - known.keys() if out[section] is not None)
    if unknown:
        raise ValueError(
            f"{path}: its config has an unknown section {unknown[0]!r}; if it is a target of "
            "another package, install that"
        )
    return {section: part for section, part in out.items() if section in known}


def accumulated(known: Mapping[str, dict[str, Any] | None], path: Path) -> int:
    """Return the micro-batches per update of a checkpoint's ``known`` settings.

    Raises:
        ValueError: no number of micro-batches.
    """
    value = (known.get("optim") or {}).get("accumulate", 1)
    if type(value) is not int or not 0 < value <= _MOST:
        raise ValueError(f"{path}: config.optim.accumulate is {value!r:.60}, no number of batches")
    return value


def finite_weights(values: Any, what: str, path: Path) -> dict[str, Tensor]:
    """Return the named tensors ``values`` if all of them are finite.

    Raises:
        ValueError: another form, or NaN or infinity in a tensor; names it.
    """
    if not isinstance(values, Mapping) or not all(isinstance(key, str) for key in values):
        raise ValueError(f"{path}: {what} is not a set of named tensors")
    for name, value in values.items():
        if not isinstance(value, Tensor):
            raise ValueError(f"{path}: {what}.{name} is a {type(value).__name__}, not a tensor")
        if not _finite(value):
            raise ValueError(f"{path}: {what}.{name} holds NaN or infinity")
    return dict(values)


def adam_state(
    state: Any, parameters: Sequence[Tensor], path: Path
) -> dict[int, dict[str, Tensor]]:
    """Return Adam's state {number of the parameter: {step, exp_avg, exp_avg_sq}}.

    Raises:
        ValueError: another optimiser's, of other parameters, or values Adam cannot have.
    """
    entries = state.get("state") if isinstance(state, dict) else None
    groups = state.get("param_groups") if isinstance(state, dict) else None
    if not isinstance(entries, dict) or not isinstance(groups, list):
        raise ValueError(f"{path}: no state of the optimiser; run.init_from takes weights alone")
    numbers = [n for g in groups if isinstance(g, dict) for n in _list(g.get("params"))]
    if numbers != list(range(len(parameters))):
        raise ValueError(
            f"{path}: its optimiser had {len(numbers)} parameters, this model has {len(parameters)}"
        )
    out = {}
    for number, entry in entries.items():
        if type(number) is not int or not 0 <= number < len(parameters):
            raise ValueError(f"{path}: optimizer.state has an entry for parameter {number!r:.40}")
        out[number] = entry_of(entry, parameters[number], f"optimizer.state[{number}]", path)
    return out


def entry_of(entry: Any, parameter: Tensor, what: str, path: Path) -> dict[str, Tensor]:
    """Return one parameter's part of Adam's state, on the CPU (see `adam_state`)."""
    if not isinstance(entry, dict) or not {"step", *MOMENTS} <= entry.keys():
        raise ValueError(f"{path}: {what} lacks step, exp_avg or exp_avg_sq")
    out = {"step": _step(entry["step"], what, path)}
    for name in MOMENTS:
        value = entry[name]
        if not isinstance(value, Tensor) or not value.is_floating_point():
            raise ValueError(f"{path}: {what}.{name} is no floating tensor")
        if value.shape != parameter.shape:
            raise ValueError(
                f"{path}: {what}.{name} is {list(value.shape)}, its parameter "
                f"{list(parameter.shape)}"
            )
        if not _finite(value) or (name == "exp_avg_sq" and bool((value < 0).any())):
            raise ValueError(f"{path}: {what}.{name} holds NaN, infinity or a negative square")
        out[name] = value
    return out


def loss_scale(state: Any, path: Path) -> dict[str, Any]:
    """Return what a GradScaler keeps, {} if there is none.

    Raises:
        ValueError: another form, or a scale that is no positive number.
    """
    if not state:
        return {}
    scale = state.get("scale") if isinstance(state, dict) else None
    tracker = state.get("_growth_tracker") if isinstance(state, dict) else None
    scale = float(scale) if isinstance(scale, int | float) else math.nan
    if not 0 < scale <= 2.0**127 or type(tracker) is not int or not 0 <= tracker <= _MOST:
        raise ValueError(f"{path}: scaler is no state of a loss scale")
    return {"scale": scale, "_growth_tracker": tracker}


def _step(value: Any, what: str, path: Path) -> Tensor:
    if isinstance(value, Tensor) and value.numel() == 1 and value.dtype != torch.bool:
        value = value.item()
    if type(value) not in (int, float) or not 0 <= value <= _MOST or value != int(value):
        raise ValueError(f"{path}: {what}.step is no number of updates")
    return torch.tensor(float(value))


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _finite(value: Tensor) -> bool:
    return not value.is_floating_point() or bool(torch.isfinite(value).all())
