"""Which utterances ``mt4ssl extract`` encodes, and which file the features of each go to."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mt4ssl_core.data.audio import audio_name
from mt4ssl_core.data.audio_folder import is_audio
from mt4ssl_core.data.manifest import Manifest
from mt4ssl_core.labelling import utterances
from mt4ssl_core.labelling.utterances import Utterance

_LONGEST = 255  # bytes of a file's name


@dataclass(frozen=True)
class Item(Utterance):
    """One utterance to be done, and the file to write."""

    target: Path


def items_of(
    sources: Sequence[str | Path], out: Path, format: str, strict: bool
) -> tuple[list[Item], Manifest]:
    """What there is to do; and, without its cuts, what was found wrong on the way."""
    found, problems = utterances.find(sources, strict)
    items: dict[Path, Item] = {}
    for one in found:
        target = _target(out, one.name, format)
        if target in items:
            raise ValueError(
                f"{audio_name(one.source)} and {audio_name(items[target].source)}: both would be "
                f"written to {target}; extract them to two folders"
            )
        items[target] = Item(one.name, one.source, one.samples, target)
    return list(items.values()), problems


def _target(out: Path, name: str, format: str) -> Path:
    """Where the features of an utterance go; never outside ``out``.

    An absolute path goes below ``out`` as it is. A name that would be too long for the file system
    is cut, and ends with a hash of all of it.
    """
    relative = name.lstrip("/")
    stem = os.path.splitext(relative)[0] if is_audio(relative) else relative
    folder, _, last = stem.rpartition("/")
    room = _LONGEST - len(format) - 1
    if len(os.fsencode(last)) > room:
        mark = "-" + hashlib.sha256(os.fsencode(stem)).hexdigest()[:16]
        last = os.fsencode(last)[: room - len(mark)].decode("utf-8", "ignore") + mark
    target = out / folder / f"{last}.{format}"
    if not target.resolve().is_relative_to(out.resolve()):
        raise ValueError(f"{name}: its features would be written outside {out}; rename it")
    return target
