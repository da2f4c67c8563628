"""The pickled object in fairseq's checkpoints: its dictionary of labels, without fairseq."""

import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from mt4ssl_core.checkpoints.foreign.fairseq import Dictionary
from mt4ssl_core.files import atomic_path

_MODULES = ("fairseq", "fairseq.data", "fairseq.data.dictionary")
_SPECIAL = {"bos": "<s>", "pad": "<pad>", "eos": "</s>", "unk": "<unk>"}  # in this order there


def dictionary_of(classes: int, offset: int) -> Dictionary:
    """The dictionary in which label n is symbol ``offset`` + n, of ``classes`` symbols in all."""
    before = [*_SPECIAL.values(), *(f"madeupword{n}" for n in range(offset))][:offset]
    symbols = [*before, *map(str, range(classes - offset))]
    out = Dictionary()
    vars(out).update(
        {f"{name}_word": word for name, word in _SPECIAL.items()}
        | {f"{name}_index": place for place, name in enumerate(_SPECIAL)}
        | {
            "symbols": symbols,
            "count": [1] * len(symbols),
            "indices": {symbol: place for place, symbol in enumerate(symbols)},
            "nspecial": min(offset, len(_SPECIAL)),
        }
    )
    return out


def save(state: dict[str, Any], path: Path) -> None:
    """Write a checkpoint whose dictionary has the name of fairseq's class.

    Raises OSError: it cannot be written.
    """
    with atomic_path(path) as temporary, _named_as_there():
        torch.save(state, temporary)


@contextmanager
def _named_as_there() -> Iterator[None]:
    """Let pickle find our stand-in under the name of fairseq's class, which it asks for."""
    before = {name: sys.modules.get(name) for name in _MODULES}
    home = Dictionary.__module__, Dictionary.__qualname__
    try:
        for name in _MODULES:
            sys.modules[name] = types.ModuleType(name)
        sys.modules[_MODULES[-1]].Dictionary = Dictionary  # type: ignore[attr-defined]
        Dictionary.__module__, Dictionary.__qualname__ = _MODULES[-1], "Dictionary"
        yield
    finally:
        Dictionary.__module__, Dictionary.__qualname__ = home
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module
