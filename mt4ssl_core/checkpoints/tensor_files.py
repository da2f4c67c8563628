"""safetensors files: written whole with a checksum inside, read with it checked."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from mt4ssl_core.checkpoints.damage import check_kind
from mt4ssl_core.files import atomic_path, reading

CHECKSUM = "mt4ssl_sha256"  # key of the metadata; in files of others it is absent


def save(path: str | Path, tensors: Mapping[str, Tensor], about: Mapping[str, str]) -> None:
    """Write ``tensors`` and the texts ``about`` them, with a checksum of both, atomically."""
    stored = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    meta = {**about, CHECKSUM: checksum(stored, about)}
    with atomic_path(path) as temporary:
        save_file(stored, temporary, metadata=meta)


def load(
    path: str | Path, remedy: str = "copy it again"
) -> tuple[dict[str, Tensor], dict[str, str], bool]:
    """Read the tensors, the texts about them, and whether a checksum of ours was with them.

    Raises:
        ValueError: not a safetensors file, cut off, or its checksum (if it has ours) does not
            agree; names the file and ends with ``remedy``.
    """
    check_kind(Path(path))
    with reading(path, remedy), safe_open(path, framework="pt") as file:
        about = dict(file.metadata() or {})
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    found = about.pop(CHECKSUM, None)
    if found is not None and found != checksum(tensors, about):
        raise ValueError(f"{path}: damaged (its checksum does not agree); {remedy}")
    return tensors, about, found is not None


def checksum(tensors: Mapping[str, Tensor], about: Mapping[str, str]) -> str:
    """SHA-256 (hex) of tensors with their names, types and shapes, and of the texts about them."""
    digest = hashlib.sha256(json.dumps(sorted(about.items())).encode())
    for name, value in sorted(tensors.items()):
        digest.update(f"{name} {value.dtype} {list(value.shape)}".encode())
        flat = value.detach().cpu().contiguous().flatten()
        digest.update(flat.view(torch.uint8).numpy().data)
    return digest.hexdigest()
