"""Looking after a feature store: what is in it, whether it is sound, and making room."""

import contextlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mt4ssl_core.append_log import AppendLog
from mt4ssl_core.feature_store import GB, INDEX, FeatureStore, Kind, bytes_of, space_folders

DAY = 86400.0  # seconds; what was left half done for longer belongs to nobody


@dataclass(frozen=True)
class SpaceInfo:
    """A space as a listing shows it; ``kind`` is None where it is not readable."""

    folder: Path
    kind: Kind | None
    utterances: int
    bytes: int
    used: float  # seconds since 1970


@dataclass(frozen=True)
class Report:
    """What `verify` found: records that are good and spoiled, and bytes that belong to none."""

    good: int
    spoiled: int
    lost_bytes: int


def spaces(folder: str | Path) -> list[SpaceInfo]:
    """Return what is in a store, most recently used first.

    Raises:
        ValueError: there is no store of our format.
    """
    found = []
    for path in space_folders(_store(folder).folder):
        keys = {record[0] for _, record in AppendLog(path, "index", INDEX).new()}
        with contextlib.suppress(OSError):  # removed a moment ago
            marked = path / "used"
            used = (marked if marked.exists() else path).stat().st_mtime  # killed before the mark
            found.append(SpaceInfo(path, _kind(path), len(keys), bytes_of(path), used))
    return sorted(found, key=lambda info: -info.used)


def verify(folder: str | Path, say: Callable[[str], Any], progress: Callable[[int], Any]) -> Report:
    """Read every record; those that fail their checksum are not used any more.

    ``say`` is told of each file with such, ``progress`` of the bytes read.

    Raises:
        ValueError: there is no store of our format.
    """
    store, good, spoiled, lost = _store(folder, say), 0, 0, 0
    for info in spaces(folder):
        if info.kind is None:
            say(f"{info.folder}: space.json is not readable; remove the folder")
            continue
        space = store.space(info.kind)
        with contextlib.suppress(OSError):  # to verify is not to use
            os.utime(info.folder / "used", (info.used, info.used))
        for key, size in space.sizes().items():
            sound = space.get(key) is not None
            good, spoiled = good + sound, spoiled + (not sound)
            progress(size)
        lost += space.lost_bytes()
    return Report(good, spoiled, lost)


def prune(
    folder: str | Path, gigabytes: float | None = None, days: float | None = None
) -> list[SpaceInfo]:
    """Remove spaces and return them: those not used for ``days``, then the least recently used
    until ``gigabytes`` are left; also what killed processes left half done.

    Raises:
        ValueError: there is no store of our format.
    """
    found, now, removed = spaces(folder), time.time(), []
    left = sum(info.bytes for info in found)
    for info in reversed(found):
        old = days is not None and now - info.used > days * DAY
        if old or (gigabytes is not None and left > gigabytes * GB):
            removed.append(info)
            left -= info.bytes
            _remove(info.folder)
    for path in Path(folder).glob(".removed-*"):
        shutil.rmtree(path, ignore_errors=True)
    for path in (*Path(folder).glob("*/.*.tmp"), *Path(folder).glob(".*.tmp")):
        with contextlib.suppress(OSError):
            if now - path.stat().st_mtime > DAY:
                path.unlink()
    return removed


def remove(folder: str | Path, which: str) -> list[SpaceInfo]:
    """Remove the spaces whose name or whose upstream's fingerprint begins with ``which``.

    Raises:
        ValueError: there is no store of our format.
    """
    removed = []
    for info in spaces(folder):
        fingerprint = info.kind.fingerprint if info.kind else ""
        if which and (info.folder.name.startswith(which) or fingerprint.startswith(which)):
            _remove(info.folder)
            removed.append(info)
    return removed


def _store(folder: str | Path, say: Callable[[str], Any] = print) -> FeatureStore:
    if not (Path(folder) / "store.json").is_file():
        raise ValueError(f"{folder}: no feature store; name another folder with --store-dir")
    return FeatureStore(folder, say=say)


def _kind(path: Path) -> Kind | None:
    try:
        found = json.loads((path / "space.json").read_text())
        layers = found["layers"]
        return Kind(**{**found, "layers": None if layers is None else tuple(layers)})
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _remove(folder: Path) -> None:
    """Remove a folder that others may be reading: at once, as far as they can see."""
    away = folder.with_name(f".removed-{secrets.token_hex(4)}")
    os.rename(folder, away)
    shutil.rmtree(away, ignore_errors=True)
