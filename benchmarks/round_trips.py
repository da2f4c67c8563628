"""Do weights come back bit for bit, over our checkpoints and those of other toolkits?

``python benchmarks/parity.py`` asks it of every type and size beside the differences.
"""

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from mt4ssl_core import config
from mt4ssl_core.checkpoints import checkpoint, convert
from mt4ssl_core.checkpoints.foreign import fairseq
from mt4ssl_core.model.mt4ssl import MT4SSL

Written = Callable[[str, str, Path], tuple[Path, Any]]  # a model of a kind and size, to a folder
HF_KINDS = ("wav2vec2", "hubert", "data2vec-audio", "unispeech", "unispeech-sat", "wavlm")
TORCHAUDIO_KINDS = ("wav2vec2", "hubert", "wavlm")
HF, FAIRSEQ, OVER, TORCHAUDIO = (
    "HF, ours, HF", "fairseq, ours, fairseq", "HF, fairseq, HF", "torchaudio, ours, torchaudio",
)  # fmt: skip
SHAPES: dict[str, dict[str, int]] = {
    "tiny": {"dim": 32, "layers": 3, "heads": 4, "ffn_dim": 64},
    "BASE": {},
    "LARGE": {"dim": 1024, "layers": 24, "heads": 16, "ffn_dim": 4096},
}
FILES = {"hf": "model.safetensors", "fairseq": "checkpoint.pt", "torchaudio": "model.pt"}


def wanted(sizes: list[str]) -> list[tuple[str, str, str]]:
    """Every trip with the type and size of the model that makes it."""
    out = [(trip, kind, size) for size in sizes for kind in HF_KINDS for trip in (HF, OVER)]
    out += [(TORCHAUDIO, kind, size) for size in sizes for kind in TORCHAUDIO_KINDS]
    return out + [(FAIRSEQ, "MT4SSL", size) for size in sizes]


@torch.no_grad()
def made(trip: str, kind: str, size: str, written: Mapping[str, Written]) -> dict[str, Any]:
    """One row: how many of a model's tensors come back as they were, in name, type and bits."""
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        start, *over, to = trip.split(", ")
        if start == "fairseq":
            path = _mt4ssl(size, folder)
        else:
            (folder / "first").mkdir()
            path, _ = written[start](kind, size, folder / "first")
        before, there = _weights(path), path
        for place, middle in enumerate([*over, to]):
            if middle != "ours":  # that is what is read in between
                form = middle.lower()
                there = convert.export(there, folder / str(place), form)
                there = there if form == "hf" else there / FILES[form]
        after = _weights(there)
    same = [k for k, v in before.items() if k in after and _equal(v, after[k])]
    assert after.keys() <= before.keys(), "there is more than there was"
    row = {"trip": trip, "kind": kind, "size": size}
    return row | {"tensors": len(before), "identical": len(same)}


def _mt4ssl(size: str, folder: Path) -> Path:
    """A checkpoint of MT4SSL's in fairseq's form, with heads and teacher."""
    changes = {f"encoder.{key}": value for key, value in SHAPES[size].items()}
    paths = {"data.train": "train", "data.labels": "train.km", "online.top_k": 2}
    cfg = config.load("base", {**paths, **changes})
    model = MT4SSL(cfg)
    state = {"optimizer": None, "scaler": None, "progress": {}, "config": config.to_dict(cfg)}
    targets = {target.name: target.state_dict() for target in model.each_target()}
    encoder = model.encoder.state_dict()
    checkpoint.save(folder / "ours.pt", {**state, "encoder": encoder, "targets": targets})
    return convert.export(folder / "ours.pt", folder / "first", "fairseq") / FILES["fairseq"]


def _weights(path: Path) -> dict[str, torch.Tensor]:
    """The weights of a model under its own names, those of a teacher after ``_ema.``."""
    if path.is_dir():
        return load_file(path / FILES["hf"])
    found = checkpoint.read(path, fairseq.CLASSES)
    found = dict(found["model"]) if "cfg" in found else found
    teacher = {f"_ema.{key}": value for key, value in found.pop("_ema", {}).items()}
    return {**found, **teacher}


def _equal(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.dtype == b.dtype and torch.equal(a, b)
