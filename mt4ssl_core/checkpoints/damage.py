"""Files of torch.save: damage is noticed before they are unpickled, excess before it is used."""

import re
import zipfile
from pathlib import Path
from typing import Any

from torch import Tensor

CHUNK = 1 << 20
MEMBERS = 1 << 20  # an archive has one per tensor, and a few more
ROOM = 4  # an archive that was packed again may hold this much more than its size
NODES = 100_000  # values in the settings of a checkpoint


def check_archive(path: Path) -> None:
    """Compare every member of a zip file with its CRC-32, which torch does not.

    Raises ValueError: damaged, or it claims more than it can hold; names a whole checkpoint beside.
    """
    problem = _problem(path)
    if problem is not None:
        raise ValueError(f"{path}: {problem}; {remedy(path)}")


def is_archive(path: Path) -> bool:
    """Whether this is a zip file, a damaged one too."""
    try:
        return zipfile.is_zipfile(path)
    except zipfile.BadZipFile:  # its last record is there, and says what cannot be
        return True


def check_kind(path: Path) -> None:
    """Refuse the text that a download leaves in place of a file of weights.

    Raises ValueError: a pointer of Git LFS, a web page, or JSON; names the file and what to do.
    """
    with open(path, "rb") as file:
        start = file.read(256).lstrip()
    if b"\0" in start:
        return
    if start.startswith(b"version https://git-lfs"):
        raise ValueError(
            f"{path}: a pointer of Git LFS, not the file that it stands for; fetch that with "
            "`git lfs pull`, or download it"
        )
    if start[:1] == b"<":
        raise ValueError(
            f"{path}: a web page, not weights; download the file itself, logged in where it asks"
        )
    if start[:1] == b"{":
        raise ValueError(f"{path}: JSON, not weights; give the folder that it lies in")


def remedy(path: Path) -> str:
    """What to do about a damaged checkpoint: the first whole one beside it, if there is any."""
    for other in _beside(path):
        if is_archive(other) and _problem(other) is None:
            return f"{other} beside it is whole: go on from that one, or copy this one again"
    return "copy it again or give an older one"


def _problem(path: Path) -> str | None:
    size = path.stat().st_size
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if len({member.filename for member in members}) < len(members):
                return "damaged (two members of one name)"
            claimed = sum(member.file_size for member in members)
            if len(members) > MEMBERS or claimed > ROOM * size + CHUNK:
                return f"claims to hold {claimed:,} bytes, but has {size:,}"
            if not any(member.CRC for member in members):
                return None  # torch was told to write no checksums
            for member in members:
                with archive.open(member) as file:
                    while file.read(CHUNK):
                        pass
    except Exception as error:  # whatever a damaged directory of members leads to
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        return f"damaged ({reason})"
    return None


def _beside(path: Path) -> list[Path]:
    """Other checkpoints of the same run, the likeliest to go on from first."""
    if path.suffix != ".pt":
        others = [other for other in path.parent.glob(f"*{path.suffix}") if other.is_file()]
        found = sorted(others, key=lambda other: -other.stat().st_mtime)
    else:
        kept = path.parent.glob("update_*.pt")
        numbered = [(int(n[1]), p) for p in kept if (n := re.fullmatch(r"update_(\d+)", p.stem))]
        found = [path.with_name(f"{name}.pt") for name in ("last", "previous", "best")]
        found += [other for _, other in sorted(numbered, reverse=True)]
    return [other for other in found if other != path and other.is_file()]


def check_tensors(value: Any, path: Path) -> None:
    """See that tensors are no larger than the bytes behind them, and these than the file.

    A few bytes can stand for gigabytes: repeated by a stride of 0, or announced and never written.
    """
    seen: set[int] = set()
    storages: dict[int, int] = {}
    pending = [value]
    while pending:
        item = pending.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, dict):
            pending += [*item.keys(), *item.values()]
        elif isinstance(item, list | tuple | set | frozenset):
            pending += item
        elif isinstance(item, Tensor):
            _check_tensor(item, storages, path)
    held, size = sum(storages.values()), path.stat().st_size
    if held > ROOM * size + CHUNK:
        raise ValueError(
            f"{path}: its tensors have {held:,} bytes, the file {size:,}; give another checkpoint"
        )


def _check_tensor(tensor: Tensor, storages: dict[int, int], path: Path) -> None:
    plain = str(tensor.layout) == "torch.strided" and tensor.device.type == "cpu"
    if not plain or tensor.is_quantized or tensor.is_nested:
        raise ValueError(
            f"{path}: has a tensor that is not plain ({tensor.layout}, on {tensor.device}); save "
            "dense tensors on the CPU"
        )
    storage = tensor.untyped_storage()
    storages[storage.data_ptr() or id(tensor)] = storage.nbytes()
    if tensor.numel() * tensor.element_size() > storage.nbytes():
        raise ValueError(
            f"{path}: a tensor of shape {list(tensor.shape)[:8]} stands on {storage.nbytes():,} "
            "bytes; give a checkpoint whose tensors are stored as large as they are"
        )


def check_plain(value: Any, what: str, path: str | Path) -> None:
    """See that settings are numbers, text and nests of them, of a size that can be.

    Raises ValueError: something else, or more than `NODES` values.
    """
    pending, count = [(value, 0)], 0
    while pending:
        item, depth = pending.pop()
        count += 1
        if isinstance(item, dict):
            pending += [(part, depth + 1) for pair in item.items() for part in pair]
        elif isinstance(item, list | tuple):
            pending += [(part, depth + 1) for part in item]
        elif not isinstance(item, str | int | float | bool | None) or len(str(item)) > 1 << 16:
            raise ValueError(
                f"{path}: {what} holds a {type(item).__name__} that no setting can be; give "
                "another checkpoint"
            )
        if count + len(pending) > NODES or depth > 20:
            raise ValueError(
                f"{path}: {what} has more values, or deeper nests, than settings can; give another "
                "checkpoint"
            )
