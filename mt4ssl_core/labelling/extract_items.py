"""Which utterances ``mt4ssl extract`` encodes, and which file the features of each go to."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lhotse import CutSet
from lhotse.cut import Cut

from mt4ssl_core.data.audio import MIN_SAMPLES, SAMPLE_RATE, audio_name, num_samples, read_header
from mt4ssl_core.data.audio_folder import is_audio
from mt4ssl_core.data.ffmpeg_audio import SUFFIXES as FFMPEG
from mt4ssl_core.data.manifest import Manifest, open_manifest
from mt4ssl_core.files import user_path

_LONGEST = 255  # bytes of a file's name


@dataclass(frozen=True)
class Item:
    """One utterance to be done: its audio, its length in samples at 16 kHz, the file to write."""

    source: Path | Cut
    samples: int
    target: Path


def items_of(
    sources: Sequence[str | Path], out: Path, format: str, strict: bool
) -> tuple[list[Item], Manifest]:
    """What there is to do; and, without its cuts, what was found wrong on the way."""
    items: dict[Path, Item] = {}
    found = Manifest(CutSet([]), 0.0)
    for source in map(user_path, sources):
        if source.is_dir() or not (is_audio(source.name) or source.suffix.lower() in FFMPEG):
            manifest = open_manifest(source, min_seconds=MIN_SAMPLES / SAMPLE_RATE, strict=strict)
            found.skipped += manifest.skipped
            found.unreadable += manifest.unreadable
            found.notes += manifest.notes
            entries = [(cut.id, cut, num_samples(cut)) for cut in manifest.cuts]
        else:
            entries = _single(source, strict, found)
        for name, audio, samples in entries:
            target = _target(out, name, format)
            if target in items:
                raise ValueError(
                    f"{audio_name(audio)} and {audio_name(items[target].source)}: both would be "
                    f"written to {target}; extract them to two folders"
                )
            items[target] = Item(audio, samples, target)
    if not items:
        skipped = found.skipped
        first = f", first {skipped[0][0]}: {skipped[0][1]}" if skipped else ""
        raise ValueError(f"no usable audio ({len(skipped)} skipped{first}); give other files")
    return list(items.values()), found


def _single(path: Path, strict: bool, found: Manifest) -> list[tuple[str, Path | Cut, int]]:
    """The entry of one audio file; none, and a line in ``found``, when it cannot be read."""
    try:
        rate, _, frames = read_header(path)
    except ValueError as error:
        if strict or not path.exists():
            raise
        found.skipped.append((str(path), str(error).removeprefix(f"{path}: ")))
        found.unreadable += 1
        return []
    return [(path.name, path, round(frames * SAMPLE_RATE / rate))]


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
