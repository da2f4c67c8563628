"""Files of torch.save: written whole or not at all, read without running anything in them."""

import os
import pickle
import pickletools
import re
import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch

from mt4ssl_core.checkpoints.damage import (
    check_archive,
    check_kind,
    check_tensors,
    is_archive,
    remedy,
)
from mt4ssl_core.files import atomic_path, flush, reading

Allowed = Sequence[tuple[Callable, str]]  # (stand-in, "module.name" as pickled)


@contextmanager
def written(path: str | Path, value: Any) -> Iterator[None]:
    """Write ``value`` beside ``path``, flush it to disk and read it back; it gets its name when the
    body has ended.

    Raises:
        OSError: it cannot be written, or not read back as it was written; names it.
    """
    with atomic_path(path) as temporary:
        torch.save(value, temporary)
        flush(temporary)
        if not is_whole(temporary):
            raise OSError(
                f"{path}: what was written could not be read back unchanged; the former one is "
                "untouched. Check this disk, or choose another"
            )
        yield


def is_whole(path: str | Path) -> bool:
    """Whether every byte of a file's entries is as it was written, by their CRC-32."""
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
    # the first goes on about options of torch.load, the others are of a text or an empty file
    if reason.startswith("Weights only load failed") or isinstance(error, LookupError | EOFError):
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
