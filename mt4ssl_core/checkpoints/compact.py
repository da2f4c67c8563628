"""An encoder of ours alone, in half precision: a safetensors file with its settings inside.

`mt4ssl export --to compact` writes it, into a folder with a model card. What comes with the package
(`mt4ssl_core.shipped`) has this form. Weights become float32 again when they are read.
"""

import json
from pathlib import Path
from typing import Any

from safetensors import safe_open

from mt4ssl_core import config, shipped
from mt4ssl_core.checkpoints import tensor_files
from mt4ssl_core.checkpoints.damage import check_kind
from mt4ssl_core.checkpoints.foreign import assembled
from mt4ssl_core.checkpoints.foreign.foreign_settings import mapping
from mt4ssl_core.files import reading

SETTINGS = "mt4ssl_compact"  # key of the metadata: {"version", "encoder": its config}, as JSON
VERSION = 1
_AGAIN = "copy it again, or export it anew"


def weights_of(path: Path) -> Path | None:
    """Return the file of weights of a compact model, given as that or its folder; else None.

    Raises ValueError: a file of that kind that is damaged.
    """
    file = path / shipped.WEIGHTS if path.is_dir() else path
    if file.suffix != ".safetensors" or not file.is_file():
        return None
    check_kind(file)
    with reading(file, _AGAIN), safe_open(file, framework="pt") as opened:
        return file if SETTINGS in (opened.metadata() or {}) else None


def settings(encoder: config.EncoderConfig) -> dict[str, str]:
    """Return what the metadata of an encoder's file says."""
    values = {"version": VERSION, "encoder": config.to_dict(encoder)}
    return {"format": "pt", SETTINGS: json.dumps(values)}


def load(file: Path) -> dict[str, Any]:
    """Read it as a checkpoint of an encoder alone (see `convert.load_any`), float32.

    Raises:
        ValueError: damaged, of another version, or weights that do not fit its settings.
    """
    weights, about, checked = tensor_files.load(file, _AGAIN)
    if not checked:
        raise ValueError(f"{file}: damaged (it has lost its checksum); {_AGAIN}")
    with reading(file, _AGAIN):
        said = mapping(json.loads(about[SETTINGS]))
    if said.get("version") != VERSION:
        raise ValueError(
            f"{file}: compact model of version {said.get('version')!r}, this mt4ssl reads "
            f"{VERSION}; install the mt4ssl that wrote it"
        )
    cfg = config.encoder_from_dict(mapping(said.get("encoder")), str(file))
    encoder = {name: assembled.float32(value) for name, value in weights.items()}
    return assembled.checkpoint_of(assembled.encoder_alone(cfg), encoder, file)
