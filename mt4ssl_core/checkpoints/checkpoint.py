"""Checkpoints: written whole or not at all, read without running anything that is inside them.

A checkpoint is one dict of plain values and tensors::

    {"format": "mt4ssl", "version": 1,
     "config": nested plain values, "encoder": state dict, "targets": {name: state dict},
     "optimizer": state dict | None, "scaler": state dict | None,
     "progress": {"update": int, "epoch": int, "batches": int, "best": float | None, ...}}

There is no state of random number generators: all that is random in a run is a function of its
seed and of ``progress`` (see `mt4ssl_core.training`). Further keys travel unchanged.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from mt4ssl_core.checkpoints import parts, torch_files
from mt4ssl_core.checkpoints.damage import check_plain
from mt4ssl_core.checkpoints.torch_files import Allowed
from mt4ssl_core.files import duplicate

FORMAT, VERSION = "mt4ssl", 1
REQUIRED = ("config", "encoder", "targets", "optimizer", "scaler", "progress")


def save(path: str | Path, state: Mapping[str, Any], previous: str | Path | None = None) -> None:
    """Write ``state`` (see the module's docstring; format and version are added) to ``path``.

    The file is written beside ``path``, flushed to disk, read back and renamed: a reader finds the
    old one or the new one, never half of one. What was at ``path`` stays under the name
    ``previous``, if there is one.

    Raises:
        OSError: it cannot be written, or not read back as it was written; names it.
    """
    with torch_files.written(path, named(state)):
        if previous is not None and Path(path).exists():
            duplicate(path, previous, link=True)


def named(state: Mapping[str, Any]) -> dict[str, Any]:
    """``state`` with what tells that it is a checkpoint, and of which version."""
    missing = [key for key in REQUIRED if key not in state]
    assert not missing, f"checkpoint without {missing}"
    return {"format": FORMAT, "version": VERSION, **state}


def is_whole(path: str | Path) -> bool:
    """Whether every byte of a checkpoint's entries is as it was written, by their CRC-32."""
    try:
        return all(torch_files.is_whole(file) for file in parts.files_of(Path(path)))
    except ValueError:
        return False


def load(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint that `save` wrote, tensors on the CPU.

    Raises:
        ValueError: no such file, cut off, not a checkpoint of this project and version, or a pickle
            that names anything but tensors and plain values (which is not executed).
    """
    return check_state(read(path), path)


def check_state(state: Any, path: str | Path) -> dict[str, Any]:
    """Return ``state`` if it has the form of a checkpoint.

    Raises:
        ValueError: it has not.
    """
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise ValueError(
            f"{path}: not an mt4ssl checkpoint ({_summary(state)}); give one that "
            "`mt4ssl pretrain` wrote"
        )
    if state.get("version") != VERSION:
        raise ValueError(
            f"{path}: checkpoint version {state.get('version')!r}, this mt4ssl reads {VERSION}; "
            "install the mt4ssl that wrote it"
        )
    wrong = [
        key
        for key in REQUIRED
        if not isinstance(state.get(key, 0), dict)
        and not (state.get(key, 0) is None and key in ("optimizer", "scaler"))
    ]
    if wrong:
        raise ValueError(
            f"{path}: checkpoint without a usable {', '.join(wrong)}; give another checkpoint"
        )
    for key in ("config", "progress"):
        check_plain(state[key], key, path)
    _check_weights(state["encoder"], "encoder", path)
    for name, weights in state["targets"].items():
        _check_weights(weights, f"targets.{str(name)[:80]}", path)
    return state


def _check_weights(weights: Any, what: str, path: str | Path) -> None:
    """See that ``weights`` is a state dict: text -> tensor."""
    named = isinstance(weights, dict) and all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in weights.items()
    )
    if not named:
        raise ValueError(f"{path}: {what} is not named tensors; give another checkpoint")


def load_into(
    module: nn.Module, state: Mapping[str, Tensor], path: str | Path, assign: bool = False
) -> None:
    """Copy ``state`` into ``module`` (with ``assign``: use its tensors themselves).

    Raises:
        ValueError: names or shapes differ, or there is no floating tensor where one is expected;
            says which, in ``path``, with both shapes.
    """
    expected = module.state_dict()
    ours = {key: tuple(value.shape) for key, value in expected.items()}
    theirs = {key: tuple(getattr(value, "shape", ())) for key, value in state.items()}
    problems = [f"{key} is missing" for key in ours.keys() - theirs.keys()]
    problems += [f"{key} is unknown" for key in theirs.keys() - ours.keys()]
    problems += [
        f"{key} is {list(theirs[key])} in the file, {list(ours[key])} by the config"
        for key in ours
        if key in theirs and ours[key] != theirs[key]
    ]
    problems += [
        f"{key} is of {getattr(state[key], 'dtype', type(state[key]))}, not floating"
        for key in ours.keys() & theirs.keys()
        if expected[key].is_floating_point()
        and not (isinstance(state[key], Tensor) and state[key].is_floating_point())
    ]
    if expected and not ours.keys() & theirs.keys():
        raise ValueError(
            f"{path}: its weights have other names: {_some(theirs)}; expected {_some(ours)}; give "
            "a checkpoint of this architecture"
        )
    if problems:
        shown = "; ".join(sorted(problems)[:3])
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise ValueError(
            f"{path}: weights of another shape or type: {shown}{more}; give a checkpoint of this "
            "architecture or set the config to the checkpoint's own"
        )
    module.load_state_dict(dict(state), assign=assign)


def _some(names: Mapping[str, Any]) -> str:
    listed = ", ".join(str(name)[:80] for name in list(names)[:3]) or "none"
    return listed + (", ..." if len(names) > 3 else "")


def read(path: str | Path, allowed: Allowed = (), mmap: bool = False) -> Any:
    """Read any ``torch.save`` file, or a checkpoint in parts, without executing what its pickle
    names (see `torch_files.read`). ``mmap``: tensors of one file stay on disk until used.

    Raises:
        ValueError: not readable as such, or damaged; names the file, what is wrong and what to do.
    """
    path = Path(path)
    return parts.joined(path) if parts.is_index(path) else torch_files.read(path, allowed, mmap)


def _summary(state: Any) -> str:
    if isinstance(state, dict):
        return "keys: " + (", ".join(str(key) for key in list(state)[:6]) or "none")
    return f"it holds a {type(state).__name__}"
