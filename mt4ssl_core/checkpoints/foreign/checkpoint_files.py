"""Which files a checkpoint consists of, and the weights that are in those of Hugging Face's."""

from pathlib import Path
from typing import Any

import torch

from mt4ssl_core.checkpoints import checkpoint, tensor_files
from mt4ssl_core.checkpoints.foreign.foreign_settings import shown
from mt4ssl_core.checkpoints.foreign.weight_names import Tensors
from mt4ssl_core.files import read_json

CONFIG = "config.json"
HEARING = ("processor_config.json", "preprocessor_config.json")  # the first that speaks counts
SETTINGS_LIMIT, INDEX_LIMIT = 1 << 22, 1 << 24  # bytes of a JSON file
WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # each also in shards, named by an index
RECORD = "mt4ssl_encoder"  # key of the metadata of an exported model.safetensors
WRAPPING = ("state_dict", "model", "model_state_dict")  # where trainers keep the weights


def is_hugging_face(path: str | Path) -> bool:
    """Whether ``path`` is a folder, or a file of weights with its config.json beside it."""
    path = Path(path)
    return path.is_dir() or path.suffix == ".safetensors" or path.suffix == ".bin"


def weight_files(path: Path) -> list[Path]:
    """The files of weights: ``path`` itself, or what a folder of Hugging Face's holds.

    Raises ValueError: there is none, or a shard is missing.
    """
    if not path.is_dir():
        if not path.is_file():
            raise ValueError(f"{path}: no such checkpoint; give the path of an existing file")
        return [path]
    for name in WEIGHTS:
        if (path / name).is_file():
            return [path / name]
        if (index := path / f"{name}.index.json").is_file():
            return _shards(index)
    ours = sorted(file.name for file in path.glob("*.pt"))
    remedy = f"give a file in it, e.g. {path / ours[0]}" if ours else "download the whole folder"
    raise ValueError(
        f"{path}: no {' or '.join(WEIGHTS)} (or its index) as in a Hugging Face folder; {remedy}"
    )


def all_files(path: str | Path) -> list[Path]:
    """Every file that a checkpoint's features depend on: settings first, then weights.

    Raises ValueError: as `weight_files`.
    """
    path = Path(path)
    weights = weight_files(path)
    if not is_hugging_face(path):
        return weights
    folder = path if path.is_dir() else path.parent
    settings = (folder / name for name in (CONFIG, *HEARING))
    return [file for file in settings if file.is_file()] + weights


def _shards(index: Path) -> list[Path]:
    """The files that an index of shards names; they are all there, beside it."""
    names = json_object(index, INDEX_LIMIT).get("weight_map")
    if not isinstance(names, dict) or not names:
        raise ValueError(f"{index}: no weight_map of files; copy it again")
    files = {name if isinstance(name, str) else "" for name in names.values()}
    for name in sorted(files):
        if not name or Path(name).name != name or not (index.parent / name).is_file():
            raise ValueError(
                f"{index}: names {shown(name)}, which is not beside it; download the whole model "
                "folder"
            )
    return [index.parent / name for name in sorted(files)]


def json_object(path: Path, limit: int = SETTINGS_LIMIT) -> dict[str, Any]:
    """The object in a JSON file. Raises ValueError naming it: there is none."""
    if not path.is_file():
        raise ValueError(
            f"{path}: no such file; give a Hugging Face folder with config.json and "
            "model.safetensors, or a checkpoint file"
        )
    values = read_json(path, limit)
    if not isinstance(values, dict):
        raise ValueError(f"{path}: expected a JSON object; copy the file again")
    return values


def read_weights(files: list[Path]) -> tuple[Tensors, dict[str, str]]:
    """All weights of some files, under the names there, and what safetensors files say of them."""
    weights: Tensors = {}
    about: dict[str, str] = {}
    for file in files:
        if file.suffix == ".safetensors":
            again = "copy it again or download the model anew"
            found, meta, checked = tensor_files.load(file, again)
            if RECORD in meta and not checked:
                raise ValueError(f"{file}: damaged (it has lost its checksum); {again}")
            about |= meta
        else:
            found = _unwrapped(checkpoint.read(file), file)
        if twice := weights.keys() & found.keys():
            raise ValueError(f"{file}: {shown(min(twice))} is in another file too; download again")
        weights |= found
    return weights, about


def loose_weights(state: Any) -> str:
    """Some names of a state dict of weights that has neither settings nor a form we know, or ""."""
    inner = [state.get(key) for key in WRAPPING] if isinstance(state, dict) else []
    for values in (state, *inner):
        if isinstance(values, dict) and any(isinstance(v, torch.Tensor) for v in values.values()):
            return ", ".join(str(key)[:60] for key in list(values)[:3])
    return ""


def _unwrapped(state: Any, file: Path) -> Tensors:
    """The weights in a pickled file, as they are or under a trainer's key."""
    for key in WRAPPING:
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not all(isinstance(key, str) for key in state):
        raise ValueError(f"{file}: holds no named weights; give the file of the model's weights")
    return state
