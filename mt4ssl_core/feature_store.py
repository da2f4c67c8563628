"""Features of a frozen upstream on disk, computed once and read for ever after.

    FOLDER/store.json            the format
    FOLDER/audio/*.audio         which content a piece of audio on disk had when it was last read
    FOLDER/<space>/space.json    of which upstream, and what of it: a `Kind`
    FOLDER/<space>/*.features    records, one after another
    FOLDER/<space>/*.index       key, place, shape and checksum of each record

A record is found by the content of its waveform, in the space of its upstream's weights: another
checkpoint, another crop or a changed file has another key, so that nothing stale can be read. Every
writing process has its own files and only appends to them, the record first and then its index
entry; what was cut off by a kill is not in the index, and what a disk has spoiled fails its
checksum. So any number of processes read and write at once, without locks.
"""

import contextlib
import errno
import hashlib
import json
import mmap
import os
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from mt4ssl_core.append_log import AppendLog, write_all
from mt4ssl_core.feature_codec import PRECISIONS, decode, encode, roundtrip
from mt4ssl_core.files import write_json

__all__ = ["FRAMES", "POOLED", "PRECISIONS", "FeatureStore", "Kind", "Space", "content_key"]

FORMAT = 1
POOLED, FRAMES = "pooled", "frames"
INDEX = "<16sQQIIIBI"  # key, offset, bytes, L, T, D, precision, checksum
SPOILED = "<120sQ"  # writer, offset of a record that is not to be read
INDEX_BYTES = 64  # of an entry, about
AUDIO = "<16s16sQ"  # identity, key, samples
ALIGNMENT = 64  # bytes
SHARD = 4 * 2**30  # bytes after which a writer begins a new file
PATIENCE = 5.0  # seconds between two looks at what others have written
GB = 1e9


@dataclass(frozen=True)
class Kind:
    """What is kept of which upstream; each kind has a space of its own.

    Args:
        upstream: its name, for the reader of a listing.
        fingerprint: of its weights, configuration and whatever else decides its features.
        selection: which of its outputs, such as "hidden_states".
        kind: `POOLED`, means over time (L, 1, D), or `FRAMES`, (L, T, D).
        layers: which; None: all.
        normalized: of means: each frame was brought to mean 0 and variance 1 before.
        precision: one of `PRECISIONS`.
    """

    upstream: str
    fingerprint: str
    selection: str
    kind: str
    layers: tuple[int, ...] | None
    normalized: bool
    precision: str

    def name(self) -> str:
        """Return the name of the space: the same for all names of one upstream."""
        parts = {key: value for key, value in asdict(self).items() if key != "upstream"}
        text = json.dumps(parts, sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def content_key(wave: np.ndarray) -> bytes:
    """Return the 16-byte key of a waveform (N,): equal for equal float32 samples."""
    samples = np.ascontiguousarray(wave, np.float32)
    return hashlib.blake2b(samples.data, digest_size=16).digest()


def warn(text: str) -> None:
    """Say what the user should know."""
    print(text, file=sys.stderr)


class FeatureStore:
    """The spaces in a folder, and what is known of audio files.

    Args:
        folder: made when something is stored.
        gigabytes: the most that all spaces may take together; None: no limit.
        say: told, once each, of a full disk and of spoiled records.

    Raises:
        ValueError: the folder holds a store of another format, or something else.
    """

    def __init__(
        self,
        folder: str | Path,
        gigabytes: float | None = None,
        say: Callable[[str], None] = warn,
    ) -> None:
        self.folder, self.gigabytes, self.say = Path(folder), gigabytes, say
        check_format(self.folder)
        self.audio = AudioIndex(self)
        self._spaces: dict[str, Space] = {}
        self._others, self._measured = 0, -PATIENCE  # bytes in the folder, when it was looked at
        self._written = 0  # bytes since then, by this process
        self.broken = False  # nothing can be written any more

    def space(self, kind: Kind) -> "Space":
        """Return the space of a kind."""
        name = kind.name()
        if name not in self._spaces:
            self._spaces[name] = Space(self, kind)
        return self._spaces[name]

    def size(self) -> int:
        """Return how many bytes all spaces take."""
        now = time.monotonic()
        if now - self._measured > PATIENCE:
            self._others = sum(bytes_of(path) for path in space_folders(self.folder))
            self._measured, self._written = now, 0
        return self._others + self._written

    def fits(self, size: int) -> bool:
        """Tell whether so many bytes more may be written."""
        if self.broken:
            return False
        return self.gigabytes is None or self.size() + size <= self.gigabytes * GB

    def wrote(self, size: int) -> None:
        """Count what a space wrote."""
        self._written += size

    def make(self) -> None:
        """Make the folder, if it is not there.

        Raises:
            OSError: it cannot be made.
        """
        if not (self.folder / "store.json").exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            write_json(self.folder / "store.json", {"format": FORMAT})

    def give_up(self, error: OSError) -> None:
        """Say, once, that nothing more is stored."""
        if not self.broken:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
            why = "the disk is full" if full else str(error)
            self.say(
                f"store: {self.folder}: {why}; going on without storing more: make room, or name "
                "another folder with --store-dir"
            )
        self.broken = True

    def close(self) -> None:
        """Let go of all files; the store can still be used."""
        for space in self._spaces.values():
            space.close()
        self.audio.close()


class AudioIndex:
    """Which content a piece of audio has, by an identity that changes when the file does."""

    def __init__(self, store: FeatureStore) -> None:
        self._store = store
        self._log = AppendLog(store.folder / "audio", "audio", AUDIO)
        self._known: dict[bytes, tuple[bytes, int]] = {}
        self._looked = -PATIENCE
        self._look()

    def find(self, identity: bytes) -> tuple[bytes, int] | None:
        """Return (content key, samples) of the audio with this 16-byte identity, if known."""
        if identity not in self._known and time.monotonic() - self._looked > PATIENCE:
            self._look()
        return self._known.get(identity)

    def add(self, identity: bytes, key: bytes, samples: int) -> None:
        """Remember what a piece of audio holds."""
        if self._known.get(identity) == (key, samples) or self._store.broken:
            return
        self._known[identity] = (key, samples)
        try:
            self._store.make()
            self._log.append(identity, key, samples)
        except OSError as error:
            self._store.give_up(error)

    def close(self) -> None:
        """Let go of the file."""
        self._log.close()

    def _look(self) -> None:
        for _, (identity, key, samples) in self._log.new():
            self._known[identity] = (key, samples)
        self._looked = time.monotonic()


@dataclass
class _Entry:
    """Where a record is."""

    writer: str
    offset: int
    size: int
    shape: tuple[int, int, int]
    precision: str
    checksum: int
    verified: bool = False


class Space:
    """The records of one kind, by content key."""

    def __init__(self, store: FeatureStore, kind: Kind) -> None:
        self.store, self.kind = store, kind
        self.folder = store.folder / kind.name()
        self._log = AppendLog(self.folder, "index", INDEX)
        self._entries: dict[bytes, _Entry] = {}
        self._spoiled: set[tuple[str, int]] = set()
        self._spoiled_log = AppendLog(self.folder, "spoiled", SPOILED)
        self._maps: dict[str, mmap.mmap] = {}
        self._shard: tuple[int, str, int] | None = None  # file, name, process
        self._looked = -PATIENCE
        self.refresh()
        if self.folder.is_dir():
            _touch(self.folder / "used")

    def __getstate__(self) -> dict[str, Any]:
        """Leave out open files: another process opens its own."""
        return {**vars(self), "_maps": {}, "_shard": None}

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: bytes) -> bool:
        return key in self._entries or (self._look_again() and key in self._entries)

    def get(self, key: bytes) -> Tensor | None:
        """Return the features (L, T, D), float32 or float16; None when they are not there.

        fp32 and fp16 are views of the file. A record that fails its checksum, looked at when it is
        first read, is forgotten, so that it can be stored again.
        """
        if key not in self:
            return None
        entry = self._entries[key]
        data = self._data(entry)
        if data is None or not (entry.verified or zlib.crc32(data) == entry.checksum):
            self._forget(key, entry, spoiled=data is not None)
            return None
        entry.verified = True
        return decode(data, entry.shape, entry.precision)

    def put(self, key: bytes, features: Tensor) -> bool:
        """Store features (L, T, D); False when that cannot be, or is not needed.

        That is when they are stored already, not finite, over the limit, or the disk is full.
        """
        if key in self._entries or self.store.broken or not bool(features.isfinite().all()):
            return False
        data, precision = encode(features, self.kind.precision)
        if not self.store.fits(len(data) + INDEX_BYTES + ALIGNMENT):
            return False
        try:
            file, name = self._own_shard()
            offset = os.lseek(file, 0, os.SEEK_END)
            padding = -len(data) % ALIGNMENT  # so that the next one is aligned
            write_all(file, data + bytes(padding))
            layers, frames, dim = features.shape
            shape, number = (layers, frames, dim), PRECISIONS.index(precision)
            entry = _Entry(name, offset, len(data), shape, precision, zlib.crc32(data))
            self._log.append(key, entry.offset, entry.size, *entry.shape, number, entry.checksum)
        except OSError as error:
            self.store.give_up(error)
            return False
        self._entries[key] = entry
        self.store.wrote(padding + len(data) + INDEX_BYTES)
        return True

    def roundtrip(self, features: Tensor) -> Tensor:
        """Return what `get` gives of features after `put`, as float32."""
        return roundtrip(features, self.kind.precision)

    def refresh(self) -> None:
        """See what other processes have written, and found to be spoiled."""
        for _, (writer, offset) in self._spoiled_log.new():
            self._spoiled.add((writer.rstrip(b"\0").decode(errors="replace"), offset))
        for writer, (key, offset, size, *shape, number, checksum) in self._log.new():
            if (writer, offset) not in self._spoiled and number < len(PRECISIONS):
                entry = _Entry(writer, offset, size, tuple(shape), PRECISIONS[number], checksum)
                self._entries.setdefault(key, entry)
        self._looked = time.monotonic()

    def notes(self) -> dict[str, Any]:
        """Return what `note` was told."""
        try:
            found = json.loads((self.folder / "notes.json").read_text())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def note(self, **facts: Any) -> None:
        """Remember facts beside the records, for every process."""
        try:
            self._make()
            write_json(self.folder / "notes.json", {**self.notes(), **facts})
        except OSError as error:
            self.store.give_up(error)

    def sizes(self) -> dict[bytes, int]:
        """Return the bytes of each record, by its key."""
        return {key: entry.size for key, entry in self._entries.items()}

    def lost_bytes(self) -> int:
        """Return how many bytes belong to no record: cut off by a kill, spoiled or stored twice."""
        shards = sum(path.stat().st_size for path in self.folder.glob("*.features"))
        return shards - sum(
            entry.size + -entry.size % ALIGNMENT for entry in self._entries.values()
        )

    def close(self) -> None:
        """Let go of all files."""
        self._log.close()
        self._spoiled_log.close()
        if self._shard is not None and self._shard[2] == os.getpid():
            os.close(self._shard[0])
        self._shard = None
        self._maps.clear()  # views of them keep theirs open

    def _look_again(self) -> bool:
        if time.monotonic() - self._looked <= PATIENCE:
            return False
        self.refresh()
        return True

    def _data(self, entry: _Entry) -> memoryview | None:
        """Return the bytes of a record; None when the file has not so many."""
        end = entry.offset + entry.size
        if not entry.size:
            return memoryview(b"")
        found = self._maps.get(entry.writer)
        if found is None or len(found) < end:
            try:
                with open(self.folder / f"{entry.writer}.features", "rb") as file:
                    found = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
            except (OSError, ValueError):  # removed, or empty
                return None
            self._maps[entry.writer] = found
        return memoryview(found)[entry.offset : end] if len(found) >= end else None

    def _forget(self, key: bytes, entry: _Entry, spoiled: bool) -> None:
        """Use a record no more; one that fails its checksum in no other process either."""
        path = self.folder / f"{entry.writer}.features"
        what = "a record is spoiled" if spoiled else "a record is gone"
        self.store.say(f"store: {path}: {what}; it is computed again (see mt4ssl store verify)")
        self._entries.pop(key, None)
        self._spoiled.add((entry.writer, entry.offset))
        if spoiled:
            with contextlib.suppress(OSError):  # a store that may only be read
                self._spoiled_log.append(entry.writer.encode(), entry.offset)

    def _make(self) -> None:
        self.store.make()
        if not (self.folder / "space.json").exists():
            write_json(self.folder / "space.json", asdict(self.kind))
            _touch(self.folder / "used")

    def _own_shard(self) -> tuple[int, str]:
        """Return this process's file of records, open, and its name."""
        if self._shard is not None and self._shard[2] == os.getpid():
            if os.lseek(self._shard[0], 0, os.SEEK_END) < SHARD:
                return self._shard[:2]
            os.close(self._shard[0])
            self._log.close()  # the next file has an index of its own
        self._make()
        name = self._log.name
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        file = os.open(self.folder / f"{name}.features", flags, 0o644)
        self._shard = (file, name, os.getpid())
        return file, name


def check_format(folder: Path) -> None:
    """Raise ValueError unless a folder is a store of our format, empty, or not there."""
    path = folder / "store.json"
    if path.exists():
        try:
            found = json.loads(path.read_text())["format"]
        except (OSError, ValueError, TypeError, KeyError):
            found = "unknown"
        if found != FORMAT:
            raise ValueError(
                f"{folder}: a feature store of format {found}, this version reads {FORMAT}; remove "
                "it, or name another folder with --store-dir"
            )
    elif folder.is_dir() and any(folder.glob("[!.]*")):  # of a killed beginner: a hidden file
        raise ValueError(
            f"{folder}: neither empty nor a feature store; name another folder with --store-dir"
        )
    elif folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder}: not a folder; name another with --store-dir")


def space_folders(folder: Path) -> Iterator[Path]:
    """Yield the folders of all spaces."""
    for path in sorted(folder.glob("*/")):
        if path.name != "audio" and not path.name.startswith("."):
            yield path


def bytes_of(folder: Path) -> int:
    """Return how many bytes the files of a space take."""
    total = 0
    for path in folder.glob("*"):
        try:
            total += path.stat().st_size
        except OSError:  # removed a moment ago
            continue
    return total


def _touch(path: Path) -> None:
    with contextlib.suppress(OSError):  # a store that may only be read
        path.touch()
