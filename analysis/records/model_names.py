"""What a model is called: as its owner named the checkpoint's file or folder."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from analysis.records.score import Setting
from mt4ssl_core.checkpoints import python_file
from mt4ssl_core.checkpoints.foreign.hub_models import CACHED

FILTER_BANKS, UNTRAINED = "filter banks", "untrained"  # what a model is compared with
Model = tuple[str, str | None, str]  # upstream, checkpoint or fingerprint, and both in short
_OURS = ("mt4ssl", "mt4ssl_local", "mt4ssl_url")
_SPECTRA = ("fbank", "fbank_no_cmvn", "mel", "mfcc", "linear", "spectrogram")
_FILES = (".pt", ".pth", ".ckpt", ".bin", ".safetensors")
_PART = re.compile(r"update_\d+|seed_?\d+")  # one checkpoint of a run, one run of several
_PLAIN = re.compile(  # names that say nothing of a model
    r"last|best|previous|final|model|pytorch_model|weights|pretrain|runs|snapshots|[0-9a-f]{40}"
    r"|(checkpoint|ckpt|epoch|step)s?[-_]?(last|best)?[\d_-]*"
)


def of_checkpoint(path: str | Path | None) -> str | None:
    """Return the name of a checkpoint: its file's, or that of the nearest folder that has one.

    ``runs/first/last.pt`` is first, ``hubert_base.pt`` hubert_base, and a folder of Hugging Face's
    cache OWNER/NAME. Of FILE.py:CLASS it is that of the class. None where no part of the path says
    anything.
    """
    if python_file.is_named(path):
        return str(path).rpartition(":")[2]
    whole = Path(path or "")
    stem = whole.stem if whole.suffix in _FILES else whole.name
    return _of_parts([part for part in (*whole.parts[:-1], stem) if part != whole.anchor])


def _of_parts(parts: Sequence[str]) -> str | None:
    if not parts:
        return None
    *above, last = parts
    if cached := CACHED.fullmatch(last):
        return "/".join(cached.groups())
    if _PART.fullmatch(last):
        return "/".join(filter(None, (_of_parts(above), last)))
    return _of_parts(above) if _PLAIN.fullmatch(last) else last


def of_model(upstream: str, path: str | Path | None) -> str:
    """Return the name of an upstream with its checkpoint, if it has one."""
    if kind(upstream) == UNTRAINED:
        return UNTRAINED
    name = of_checkpoint(path)
    if name and upstream in _OURS:  # the door to checkpoints of any kind, not the name of one
        return name
    return " ".join(filter(None, (upstream, name or (Path(path).stem if path else ""))))


def given(names: Sequence[str], count: int) -> list[str | None]:
    """Return the names that were asked for, one for each of some runs; None: as it is called.

    Raises:
        ValueError: more names than runs, an empty name, or one twice.
    """
    if len(names) > count:
        raise ValueError(f"--name {names[count]}: there are {count} runs; give one name for each")
    if any(not name.strip() for name in names) or len(set(names)) < len(names):
        raise ValueError(f"--name {', '.join(names)}: give each run a name of its own")
    return [*names, *[None] * (count - len(names))]


def kind(upstream: str) -> str:
    """Return what an upstream is there for, if to compare with: filter banks, untrained, or ""."""
    if upstream in _SPECTRA:
        return FILTER_BANKS
    return UNTRAINED if upstream.endswith(f"_{UNTRAINED}") else ""


def of_folder(models: set[Model], called: str) -> dict[Model, str]:
    """Name the models of a folder: the one that the others are there to compare with as it is."""
    own = [model for model in models if not kind(model[0])]
    short = [label for *_, label in models]
    labels = {}
    for model in models:
        _, checkpoint, label = model
        if short.count(label) > 1 and checkpoint:
            label += f" {checkpoint[:6]}"
        alone = len(models) == 1 or own == [model]
        labels[model] = called if alone or label == called else f"{called}: {label}"
    return labels


@dataclass
class Names:
    """One name for all of a model's scores that may stand in one table."""

    taken: dict[tuple[Any, ...], tuple[str, Path]] = field(default_factory=dict)

    def give(self, model: tuple[Any, ...], setting: Setting, name: str, folder: Path) -> str:
        """Return what scores of a model are called: as the first of theirs that stand in a table.

        Raises:
            ValueError: another model has the name.
        """
        for (other, *_), (used, place) in self.taken.items():
            if used == name and other != model:
                raise ValueError(
                    f"{place} and {folder}: two models would be called {name!r}; rename a "
                    "folder, or give --name"
                )
        key = (model, *setting.table)
        return self.taken.setdefault(key, (name, folder))[0]
