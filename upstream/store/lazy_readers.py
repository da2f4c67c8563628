"""The functions with which s3prl's datasets read audio, made lazy for a while."""

import functools
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import soundfile
from torch.utils.data import Dataset

from upstream.door.stand_in import StandIn
from upstream.store.audio_sources import SOUNDFILE, SOX, TORCHAUDIO, Source, now, switched_to


def _lazy(original: Callable[..., Any], source: Callable[..., Source | None]) -> Callable[..., Any]:
    """Return a reader that asks the mode of its thread what to do with a source."""

    @functools.wraps(original)
    def read(*given: Any, **named: Any) -> Any:
        mode = now.mode
        found = None if mode is None else source(*given, **named)
        if found is None:
            return original(*given, **named)
        with switched_to(None):
            return mode.open(found, lambda: original(*given, **named))

    return read


def _torchaudio_source(uri: Any = None, *given: Any, **named: Any) -> Source | None:
    plain_call = isinstance(uri, str | Path) and not given and not named
    return Source(TORCHAUDIO, os.fspath(uri)) if plain_call else None


def _sox_source(path: Any = None, effects: Any = None, *given: Any, **named: Any) -> Source | None:
    if not isinstance(path, str | Path) or effects is None or given or named:
        return None
    return Source(SOX, os.fspath(path), tuple(tuple(map(str, effect)) for effect in effects))


def _soundfile_source(file: Any = None, *given: Any, **named: Any) -> Source | None:
    if not isinstance(file, str | Path) or given or not named.keys() <= {"start", "stop"}:
        return None
    stop = named.get("stop")
    arguments = int(named.get("start", 0)), None if stop is None else int(stop)
    return Source(SOUNDFILE, os.fspath(file), arguments)


@contextmanager
def patched(dataset: Any) -> Iterator[None]:
    """Let torchaudio's reader, and those in the modules of a dataset's classes, be lazy."""
    import torchaudio  # after upstream.compat

    load = torchaudio.load
    lazy_load = _lazy(load, _torchaudio_source)
    lazy_read = _lazy(soundfile.read, _soundfile_source)
    before: list[tuple[ModuleType, str, Any]] = []
    put: list[tuple[ModuleType, str, Any]] = [(torchaudio, "load", lazy_load)]
    for module in _modules(dataset):
        names = vars(module)
        if names.get("load") is load:
            put.append((module, "load", lazy_load))
        if names.get("sf") is soundfile:
            put.append((module, "sf", StandIn(soundfile, read=lazy_read)))
        if sox := names.get("apply_effects_file"):
            put.append((module, "apply_effects_file", _lazy(sox, _sox_source)))
    try:
        for module, name, reader in put:
            before.append((module, name, getattr(module, name)))
            setattr(module, name, reader)
        yield
    finally:
        for module, name, reader in reversed(before):
            setattr(module, name, reader)


def _modules(dataset: Any) -> list[ModuleType]:
    """Return the modules of the classes of a dataset, and of those it is a part of."""
    found: list[str] = []
    while isinstance(dataset, Dataset):
        found += [base.__module__ for base in type(dataset).__mro__]
        dataset = getattr(dataset, "dataset", None)
    return [sys.modules[name] for name in dict.fromkeys(found) if name in sys.modules]
