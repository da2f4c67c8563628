"""Checkpoints: written whole or not at all, read without running anything that is inside them.

A checkpoint is one dict of plain values and tensors::

    {"format": "mt4ssl", "version": 1,
     "config": nested plain values, "encoder": state dict, "targets": {name: state dict},
     "optimizer": state dict | None, "scaler": state dict | None,
     "progress": {"update": int, "epoch": int, "batches": int, "best": float | None, ...}}

There is no state of random number generators: all that is random in a run is a function of its
seed and of ``progress`` (see `mt4ssl_core.training`). Further keys travel unchanged.
"""

import os
import pickle
import pickletools
import re
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mt4ssl_core.checkpoints.damage import (
    check_archive,
    check_kind,
    check_plain,
    check_tensors,
    is_archive,
    remedy,
)
from mt4ssl_core.files import atomic_path, duplicate, flush, reading

FORMAT, VERSION = "mt4ssl", 1
REQUIRED = ("config", "encoder", "targets", "optimizer", "scaler", "progress")

Allowed = Sequence[tuple[Callable, str]]  # (stand-in, "module.name" as pickled)


def save(path: str | Path, state: Mapping[str, Any], previous: str | Path | None = None) -> None:
    """Write ``state`` (see the module's docstring; format and version are added) to ``path``.

    The file is written beside ``path``, flushed to disk, read back and renamed: a reader finds the
    old one or the new one, never half of one. What was at ``path`` stays under the name
    ``previous``, if there is one.

    Raises:
        OSError: it cannot be written, or not read back as it was written; names it.
    """
    missing = [key for key in REQUIRED if key not in state]
    assert not missing, f"checkpoint without {missing}"
    with atomic_path(path) as temporary:
        torch.save({"format": FORMAT, "version": VERSION, **state}, temporary)
        flush(temporary)
        if not is_whole(temporary):
            raise OSError(
                f"{path}: what was written could not be read back unchanged; the former one is "
                "untouched. Check this disk, or choose another"
            )
        if previous is not None and Path(path).exists():
            duplicate(path, previous, link=True)


def is_whole(path: str | Path) -> bool:
    """Whether every byte of a checkpoint's entries is as it was written, by their CRC-32."""
    with (
        suppress(OSError, AttributeError),
        open(path, "rb") as file,
    ):  # from the disk, not from memory
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    try:
        check_archive(Path(path))
    except (ValueError, OSError):
        return False
    return True


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
    """Read any ``torch.save`` file without executing what its pickle names.

    Only tensors, plain values and the stand-ins in ``allowed`` are built; no other class or
    function is looked up, whatever was registered with torch elsewhere in the process. Every part
    of the file is compared with its checksum first. ``mmap``: tensors stay on disk until used.

    Raises:
        ValueError: not readable as such, or damaged; names the file, what is wrong and what to do.
    """
    path = Path(path)
    if path.is_dir():
        raise ValueError(
            f"{path}: a folder, not a checkpoint; give a file, e.g. {path / 'last.pt'}"
        )
    if not path.is_file():
        raise ValueError(f"{path}: no such checkpoint; give the path of an existing file")
    with open(path, "rb") as file:
        start = file.read(4)
    if not start:
        raise ValueError(f"{path}: an empty file, not a checkpoint; give another or copy it again")
    check_kind(path)
    if start[:2] == b"PK" and not is_archive(path):
        raise ValueError(
            f"{path}: the checkpoint is cut off ({path.stat().st_size:,} bytes, no end); "
            f"{remedy(path)}"
        )
    if is_archive(path):
        check_archive(path)
    try:
        with _only(allowed), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickle protocols, before what is said below
            value = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except (OSError, KeyboardInterrupt):
        raise
    except Exception as error:  # a damaged or hostile file can fail in any way
        raise ValueError(f"{path}: {_explain(path, error, allowed)}") from None
    with reading(path):
        check_tensors(value, path)
    return value


@contextmanager
def _only(allowed: Allowed) -> Iterator[None]:
    """Make ``allowed`` torch's whole list of extra classes while the body runs."""
    before = torch.serialization.get_safe_globals()
    torch.serialization.clear_safe_globals()
    try:
        torch.serialization.add_safe_globals(list(allowed))
        yield
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(before)


def _explain(path: Path, error: Exception, allowed: Allowed) -> str:
    """What is wrong with the file, and the remedy."""
    named = (
        re.search(r"GLOBAL (\S+)", str(error))
        if isinstance(error, pickle.UnpicklingError)
        else None
    )
    culprits = [named[1]] if named else _foreign_globals(path, {name for _, name in allowed})
    if culprits:
        return (
            f"its pickle names {', '.join(culprits[:3])}, which is neither a tensor nor a plain "
            "value and could run code; nothing was executed. If you trust it, keep its weights and "
            f"settings alone where it was made: {_plain_copy(path)} (a fairseq checkpoint), or "
            "model.save_pretrained(FOLDER) (transformers); give what that writes"
        )
    reason = (str(error).strip() or type(error).__name__).splitlines()[0][:160]
    if reason.startswith("Weights only load failed"):  # goes on about options of torch.load
        reason = "not as torch.save writes them"
    return f"not a readable checkpoint ({reason}); give another or copy it again"


def _plain_copy(path: Path) -> str:
    """A command that writes a fairseq checkpoint without the objects of its pickle."""
    name = path.name.replace('"', "").replace("'", "")
    return (
        f"python -c \"import torch; s = torch.load('{name}', 'cpu', weights_only=False); "
        f"torch.save({{k: s.get(k) for k in ('args', 'cfg', 'model')}}, 'plain_{name}')\""
    )


def _foreign_globals(path: Path, allowed: set[str]) -> list[str]:
    """Classes and functions that the file's pickle names, read without executing it.

    torch.serialization.get_unsafe_globals_in_checkpoint finds less: it refuses pickles of the
    protocols 0 and 4, and all files that are no zip archive.
    """
    if is_archive(path):
        with zipfile.ZipFile(path) as archive:
            pickles = [name for name in archive.namelist() if name.endswith("data.pkl")]
            data = archive.open(pickles[0]).read(1 << 24) if pickles else b""
    else:
        with open(path, "rb") as file:
            data = file.read(1 << 24)
    strings: list[str] = []
    found: list[str] = []
    try:
        for opcode, arg, _ in pickletools.genops(data):
            if opcode.name == "GLOBAL":
                found.append(str(arg).replace(" ", "."))
            elif opcode.name == "STACK_GLOBAL":
                found.append(".".join(strings[-2:]))
            elif isinstance(arg, str):
                strings.append(arg)
    except Exception:  # not a pickle from here on: what was found before stands
        pass
    return [
        name for name in found if name not in allowed and not name.startswith(("torch", "coll"))
    ]


def _summary(state: Any) -> str:
    if isinstance(state, dict):
        return "keys: " + (", ".join(str(key) for key in list(state)[:6]) or "none")
    return f"it holds a {type(state).__name__}"
