"""Looking after a feature store: what is in it, whether it is sound, and making room."""

import contextlib
import os
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mt4ssl_core.files import TEMPORARY, read_json
from mt4ssl_core.store.append_log import AppendLog
from mt4ssl_core.store.space import JSON_LIMIT
from mt4ssl_core.store.store import (
    GB,
    INDEX,
    FeatureKind,
    FeatureStore,
    bytes_of,
    own_files,
    space_folders,
)

DAY = 86400.0  # seconds; what was left half done for longer belongs to nobody
REMOVED = re.compile(r"\.removed-[0-9a-f]{8}")


@dataclass(frozen=True)
class SpaceInfo:
    """A space as a listing shows it; ``kind`` is None where it is not readable."""

    folder: Path
    kind: FeatureKind | None
    utterances: int
    bytes: int
    used: float  # seconds since 1970


@dataclass(frozen=True)
class Report:
    """What `verify` found: records that are good and spoiled, bytes that belong to none, and spaces
    whose space.json is not readable.
    """

    good: int
    spoiled: int
    lost_bytes: int
    unreadable: int = 0


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
    store, good, spoiled, lost, unreadable = _store(folder, say), 0, 0, 0, 0
    for info in spaces(folder):
        if info.kind is None:
            say(
                f"{info.folder}: its space.json is not readable, or of another space; look what is "
                "in the folder, and remove it"
            )
            unreadable += 1
            continue
        space = store.space(info.kind)
        for path in space.spoiled_lists():
            say(f"store: {path}: an entry is spoiled; what it listed is computed again when needed")
        with contextlib.suppress(OSError):  # to verify is not to use
            os.utime(info.folder / "used", (info.used, info.used))
        for key, size in space.sizes().items():
            sound = space.get(key) is not None
            good, spoiled = good + sound, spoiled + (not sound)
            progress(size)
        lost += space.lost_bytes()
    return Report(good, spoiled, lost, unreadable)


def prune(
    folder: str | Path, gigabytes: float | None = None, days: float | None = None
) -> list[SpaceInfo]:
    """Remove spaces and return them: those not used for ``days``, then the least recently used
    until ``gigabytes`` are left; also what killed processes left half done.

    Only our files are removed, of folders whose space.json is valid, and nothing through links.

    Raises:
        ValueError: there is no store of our format.
    """
    found, now, removed = spaces(folder), time.time(), []
    left = sum(info.bytes for info in found)
    for info in reversed(found):
        old = days is not None and now - info.used > days * DAY
        if old or (gigabytes is not None and left > gigabytes * GB):
            if info.kind is None:
                continue
            removed.append(info)
            left -= info.bytes
            _remove(info.folder)
    for path in Path(folder).glob(".removed-*"):
        if REMOVED.fullmatch(path.name) and path.is_dir() and not path.is_symlink():
            _empty(path)
    for place in (Path(folder), Path(folder) / "audio", *space_folders(Path(folder))):
        for path in own_files(place):
            with contextlib.suppress(OSError):
                if TEMPORARY.fullmatch(path.name) and now - path.stat().st_mtime > DAY:
                    path.unlink()
    return removed


def remove(folder: str | Path, which: str) -> list[SpaceInfo]:
    """Remove the spaces whose name or whose upstream's fingerprint begins with ``which``.

    Only our files are removed, and the folder if there are no others in it.

    Raises:
        ValueError: there is no store of our format.
    """
    removed = []
    for info in spaces(folder):
        if info.kind is None:
            continue
        names = (info.folder.name, info.kind.fingerprint)
        if which and any(name.startswith(which) for name in names):
            _remove(info.folder)
            removed.append(info)
    return removed


def _store(folder: str | Path, say: Callable[[str], Any] = print) -> FeatureStore:
    if not (Path(folder) / "store.json").is_file():
        raise ValueError(f"{folder}: no feature store; name another folder with --store-dir")
    return FeatureStore(folder, say=say)


def _kind(path: Path) -> FeatureKind | None:
    """What the space in a folder holds; None unless its space.json says so, and all of it."""
    try:
        found = read_json(path / "space.json", JSON_LIMIT)
        layers = found["layers"]
        kind = FeatureKind(**{**found, "layers": None if layers is None else tuple(layers)})
        return kind if kind.name() == path.name and isinstance(kind.upstream, str) else None
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _remove(folder: Path) -> bool:
    """Remove our files of a space that others may be reading, and the folder if nothing is left in
    it; returns whether that is so.

    A folder that holds nothing else goes at once, as far as others can see.
    """
    if len(list(own_files(folder))) == len(list(folder.iterdir())):
        away = folder.with_name(f".removed-{secrets.token_hex(4)}")
        os.rename(folder, away)
        folder = away
    return _empty(folder)


def _empty(folder: Path) -> bool:
    for path in own_files(folder):
        with contextlib.suppress(OSError):
            path.unlink()
    with contextlib.suppress(OSError):  # the user's files stay
        folder.rmdir()
        return True
    return False
