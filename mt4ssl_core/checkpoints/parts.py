"""Checkpoints in parts: each process of a sharded run writes its own, and an index names them all.

The index has the checkpoint's name, is JSON, and is written last, when all parts are there::

    {"format": "mt4ssl parts", "version": 1, "save": name of this save alone,
     "files": [{"name": "parts/update_10-0badcafe/0-of-2.pt", "bytes": 1234}, ...],
     "tensors": [{"at": ["encoder", "norm.weight"], "shape": [768], "dtype": "float32"}, ...]}

A part is a ``torch.save`` file: ``rows`` are those that one process has of each of these tensors,
one after another along the first dimension. The first part also holds all that is not shared out,
the ``state``, with None where these tensors are. (torch.distributed.checkpoint keeps what our index
says in a pickle, which we would not read.)
"""

import json
import re
import shutil
from collections.abc import Sequence
from contextlib import suppress
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mt4ssl_core.checkpoints import torch_files
from mt4ssl_core.files import atomic_path, duplicate, read_json, reading

FORMAT, VERSION = "mt4ssl parts", 1
FOLDER = "parts"
_SAVE = re.compile(r"update_\d+-[0-9a-f]{8}")
_NAME = re.compile(rf"{FOLDER}/{_SAVE.pattern}/\d+-of-\d+\.pt")
_START = re.compile(rb'\s*\{\s*"format":\s*"mt4ssl parts"')
_REMEDY = (
    f"bring the folder {FOLDER} beside it back as it was written, or give another checkpoint "
    "(previous.pt, update_N.pt)"
)


def part_path(index: Path, save: str, rank: int, size: int) -> Path:
    """Where one of ``size`` processes writes its part of the checkpoint ``index``."""
    return index.parent / FOLDER / save / f"{rank}-of-{size}.pt"


def write(path: Path, save: str, state: dict[str, Any], rows: Sequence[Tensor]) -> None:
    """Write one part; ``state`` is that of the first one, and empty in the others.

    Raises:
        OSError: it cannot be written, or not read back as it was written; names it.
    """
    with torch_files.written(path, {"save": save, "state": state, "rows": list(rows)}):
        pass


def write_index(
    index: Path,
    save: str,
    size: int,
    tensors: Sequence[dict[str, Any]],
    previous: Path | None = None,
) -> None:
    """Make the ``size`` parts of ``save`` the checkpoint ``index``, a file like any other; what was
    there stays under the name ``previous``.

    Raises:
        FileNotFoundError: a part is not there. OSError: the index cannot be written.
    """
    files = [part_path(index, save, rank, size) for rank in range(size)]
    for file in files:
        if not file.is_file():
            raise FileNotFoundError(
                f"{file}: not written, so {index} stays what it was; the folder must be one that "
                "all processes see (or one of them was killed while it wrote: start all again)"
            )
    values = {
        "format": FORMAT,
        "version": VERSION,
        "save": save,
        "files": [
            {"name": str(file.relative_to(index.parent)), "bytes": file.stat().st_size}
            for file in files
        ],
        "tensors": list(tensors),
    }
    with atomic_path(index) as temporary:
        temporary.write_text(json.dumps(values))
        if previous is not None and index.exists():
            duplicate(index, previous, link=True)


def is_index(path: Path) -> bool:
    """Whether this is a checkpoint in parts."""
    if not path.is_file():
        return False
    with open(path, "rb") as file:
        return _START.match(file.read(256)) is not None


def files_of(path: Path) -> list[Path]:
    """The files that hold a checkpoint: itself, or its parts in their order.

    Raises:
        ValueError: a part is missing, or of another size than when it was written; names it.
    """
    return _files(path, _index(path)) if is_index(path) else [path]


def joined(path: Path) -> dict[str, Any]:
    """The whole checkpoint of an index, tensors on the CPU. Where its run replaces it meanwhile,
    and so removes its parts, that is the new one.

    Raises:
        ValueError: a part is missing, damaged or of another save; names both.
    """
    index = _index(path)
    try:
        return _joined(path, index)
    except (ValueError, OSError) as error:
        if is_index(path) and _index(path)["save"] != index["save"]:
            return joined(path)
        if str(path) in str(error):
            raise
        raise ValueError(f"{path}: {error}") from error


def _joined(path: Path, index: dict[str, Any]) -> dict[str, Any]:
    files = _files(path, index)
    with reading(path, _REMEDY):
        whole = _room(path, index["tensors"], sum(file.stat().st_size for file in files))
    filled = [0] * len(whole)
    state: dict[str, Any] = {}
    for file in files:
        part = torch_files.read(file, mmap=True)
        with reading(file, _REMEDY):
            if part["save"] != index["save"]:
                raise ValueError(f"{file}: of another save than {path.name}; {_REMEDY}")
            state = state or part["state"]
            _fill(whole, filled, part["rows"], file)
    with reading(path, _REMEDY):
        if filled != [len(tensor) for tensor in whole]:
            raise ValueError(f"{path}: its parts hold less than it names; {_REMEDY}")
        for tensor, about in zip(whole, index["tensors"], strict=True):
            *keys, last = about["at"]
            place = state
            for key in keys:
                place = place[key]
            place[last] = tensor
    return state


def tidy(folder: Path) -> None:
    """Remove the parts in ``folder`` that no checkpoint in it names, if all these can be read."""
    if not (folder / FOLDER).is_dir():
        return
    with suppress(ValueError, OSError):
        indexes = [_index(path) for path in folder.iterdir() if is_index(path)]
        kept = {index["save"] for index in indexes}
        for path in (folder / FOLDER).iterdir():
            if _SAVE.fullmatch(path.name) and path.name not in kept:
                shutil.rmtree(path, ignore_errors=True)


def _index(path: Path) -> dict[str, Any]:
    """Read an index. Raises ValueError: it is damaged, or names other files than parts."""
    index = read_json(path)
    with reading(path, _REMEDY):
        if index["version"] != VERSION:
            raise ValueError(
                f"{path}: checkpoint version {index['version']!r}, this mt4ssl reads {VERSION}; "
                "install the mt4ssl that wrote it"
            )
        size = len(index["files"])
        for rank, file in enumerate(index["files"]):
            name = part_path(path, index["save"], rank, size).relative_to(path.parent)
            if not _NAME.fullmatch(file["name"]) or file["name"] != str(name):
                raise ValueError(f"{path}: names {file['name']!r}, no part of it; {_REMEDY}")
        if not size:
            raise ValueError(f"{path}: names no parts; {_REMEDY}")
    return index


def _files(path: Path, index: dict[str, Any]) -> list[Path]:
    """The parts. Raises ValueError: one is missing, or of another size than when it was written."""
    files = []
    for entry in index["files"]:
        file = path.parent / entry["name"]
        if not file.is_file():
            raise ValueError(f"{file}: not there, and {path} is made of it; {_REMEDY}")
        if file.stat().st_size != entry.get("bytes"):
            raise ValueError(
                f"{file}: has {file.stat().st_size:,} bytes, and had {entry.get('bytes')} when "
                f"{path.name} was written; {_REMEDY}"
            )
        files.append(file)
    return files


def _room(path: Path, tensors: Sequence[dict[str, Any]], held: int) -> list[Tensor]:
    """Empty tensors as an index describes them. Raises ValueError: more than ``held`` bytes."""
    kinds = [getattr(torch, str(about["dtype"])) for about in tensors]
    sizes = [
        prod(int(size) for size in about["shape"]) * kind.itemsize
        for about, kind in zip(tensors, kinds, strict=True)
    ]
    if min(sizes, default=0) < 0 or sum(sizes) > held:
        raise ValueError(f"{path}: names tensors of more bytes than its parts have; {_REMEDY}")
    return [torch.empty(about["shape"], dtype=k) for about, k in zip(tensors, kinds, strict=True)]


def _fill(whole: list[Tensor], filled: list[int], rows: list[Tensor], file: Path) -> None:
    """Put the rows of one part after those of the parts before it."""
    for number, (tensor, mine) in enumerate(zip(whole, rows, strict=True)):
        start, end = filled[number], filled[number] + len(mine)
        fits = mine.dtype == tensor.dtype and mine.shape[1:] == tensor.shape[1:]
        if not fits or end > len(tensor):
            raise ValueError(f"{file}: a tensor of another form than the index says; {_REMEDY}")
        tensor[start:end] = mine
        filled[number] = end
