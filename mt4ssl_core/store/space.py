"""One space of a feature store: the records of one kind, by the content of their waveforms."""

import contextlib
import hashlib
import json
import mmap
import os
import time
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from mt4ssl_core.files import read_json, write_json
from mt4ssl_core.settings.precisions import PRECISIONS
from mt4ssl_core.store.append_log import AppendLog, write_all
from mt4ssl_core.store.codec import decode, encode, encoded_size, roundtrip

if TYPE_CHECKING:
    from mt4ssl_core.store.store import FeatureStore

POOLED, FRAMES = "pooled", "frames"
INDEX = "<16sQQIIIBI"  # key, offset, bytes, L, T, D, precision, checksum
SPOILED = "<120sQ"  # writer, offset of a record that is not to be read
INDEX_BYTES = 64  # of an entry, about
ALIGNMENT = 64  # bytes
SHARD = 4 * 2**30  # bytes after which a writer begins a new file
JSON_LIMIT = 1 << 16  # bytes of a store's JSON files
PATIENCE = 5.0  # seconds between two looks at what others have written


@dataclass(frozen=True)
class FeatureKind:
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


Entry = tuple[str, tuple[Any, ...]]  # name of a writer's files, record of its index


class Space:
    """The records of one kind, by content key. Threads may read while one of them writes."""

    def __init__(self, store: "FeatureStore", kind: FeatureKind) -> None:
        self.store, self.kind = store, kind
        self.folder = store.folder / kind.name()
        self._log = AppendLog(self.folder, "index", INDEX, store.say)
        self._entries: dict[bytes, Entry] = {}
        self._verified: set[bytes] = set()  # read before, in this process
        self._spoiled: set[tuple[str, int]] = set()
        self._told: set[str] = set()  # files of which was said that records are spoiled
        self._spoiled_log = AppendLog(self.folder, "spoiled", SPOILED, store.say)
        self._maps: dict[str, mmap.mmap] = {}
        self._shard: tuple[int, str, int] | None = None  # file, name, process
        self._looked = -PATIENCE
        self.refresh()
        if self.folder.is_dir():
            _touch(self.folder / "used")

    def __getstate__(self) -> dict[str, Any]:
        """Leave out open files: another process opens its own."""
        return {**vars(self), "_maps": {}, "_shard": None, "_verified": set()}

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: bytes) -> bool:
        return self._entry(key) is not None

    def get(self, key: bytes) -> Tensor | None:
        """Return the features (L, T, D), float32 or float16; None when they are not there.

        fp32 and fp16 are views of the file, not to be changed in place. A record that fails its
        checksum, looked at when it is first read, is forgotten, so that it can be stored again.
        """
        entry = self._entry(key)
        if entry is None:
            return None
        writer, (_, offset, size, layers, frames, dim, precision, checksum) = entry
        data = self._data(writer, offset, size)
        if data is None or not (key in self._verified or zlib.crc32(data) == checksum):
            self._forget(key, writer, offset, spoiled=data is not None)
            return None
        self._verified.add(key)
        return decode(data, (layers, frames, dim), PRECISIONS[precision])

    def put(self, key: bytes, features: Tensor) -> bool:
        """Store features (L, T, D); False when that cannot be, or is not needed.

        That is when they are stored already, not finite, over the limit, or the disk is full.
        """
        layers, frames, dim = features.shape
        shape = (layers, frames, dim)
        size = encoded_size(shape, self.kind.precision) + INDEX_BYTES + ALIGNMENT
        if key in self._entries or not self.store.fits(size) or not features.isfinite().all():
            return False
        data, precision = encode(features, self.kind.precision)
        try:
            file, name = self._own_shard()
            offset = os.lseek(file, 0, os.SEEK_END)
            padding = -len(data) % ALIGNMENT  # so that the next one is aligned
            write_all(file, data + bytes(padding))
            number = PRECISIONS.index(precision)
            record = (key, offset, len(data), *shape, number, zlib.crc32(data))
            self._log.append(*record)
        except OSError as error:
            self.store.give_up(error)
            return False
        self._entries[key] = (name, record)
        self.store.wrote(padding + len(data) + INDEX_BYTES)
        return True

    def roundtrip(self, features: Tensor) -> Tensor:
        """Return what `get` gives of features after `put`, as float32."""
        return roundtrip(features, self.kind.precision)

    def refresh(self) -> None:
        """See what other processes have written, and found to be spoiled."""
        for _, (writer, offset) in self._spoiled_log.new():
            self._spoiled.add((writer.rstrip(b"\0").decode(errors="replace"), offset))
        for entry in self._log.new():
            writer, (key, offset, *_) = entry
            if not _possible(entry[1]):
                self._tell(writer, "a record is impossible")
            elif (writer, offset) not in self._spoiled:
                self._entries.setdefault(key, entry)
        self._looked = time.monotonic()

    def notes(self) -> dict[str, Any]:
        """Return what `note` was told."""
        try:
            found = read_json(self.folder / "notes.json", JSON_LIMIT)
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
        return {key: record[2] for key, (_, record) in self._entries.items()}

    def spoiled_lists(self) -> list[Path]:
        """Return the files of which an entry fails its checksum, so that its record is lost."""
        return sorted(self._log.spoiled)

    def lost_bytes(self) -> int:
        """Return how many bytes belong to no record: cut off by a kill, spoiled or stored twice."""
        shards = sum(path.stat().st_size for path in self.folder.glob("*.features"))
        return shards - sum(size + -size % ALIGNMENT for size in self.sizes().values())

    def close(self) -> None:
        """Let go of all files."""
        self._log.close()
        self._spoiled_log.close()
        if self._shard is not None and self._shard[2] == os.getpid():
            os.close(self._shard[0])
        self._shard = None
        self._maps.clear()  # views of them keep theirs open

    def _entry(self, key: bytes) -> Entry | None:
        """Where a record is; asked for once, since another thread may forget it meanwhile."""
        found = self._entries.get(key)
        if found is None and self._look_again():
            found = self._entries.get(key)
        return found

    def _look_again(self) -> bool:
        if time.monotonic() - self._looked <= PATIENCE:
            return False
        self.refresh()
        return True

    def _data(self, writer: str, offset: int, size: int) -> memoryview | None:
        """Return the bytes of a record; None when the file has not so many."""
        end = offset + size
        if not size:
            return memoryview(b"")
        found = self._maps.get(writer)
        if found is None or len(found) < end:
            try:
                path = self.folder / f"{writer}.features"
                if not path.is_file():
                    return None
                with open(path, "rb") as file:
                    found = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
            except (OSError, ValueError):  # removed, or empty
                return None
            self._maps[writer] = found
        return memoryview(found)[offset:end] if len(found) >= end else None

    def _forget(self, key: bytes, writer: str, offset: int, spoiled: bool) -> None:
        """Use a record no more; one that fails its checksum in no other process either."""
        self._tell(writer, "a record is spoiled" if spoiled else "records are gone")
        self._entries.pop(key, None)
        self._verified.discard(key)
        self._spoiled.add((writer, offset))
        if spoiled:
            with contextlib.suppress(OSError):  # a store that may only be read
                self._spoiled_log.append(writer.encode(), offset)

    def _tell(self, writer: str, what: str) -> None:
        """Say, once for each file, that records cannot be used."""
        if writer not in self._told:
            self._told.add(writer)
            path = self.folder / f"{writer}.features"
            self.store.say(
                f"store: {path}: {what}; what cannot be read is computed again (see mt4ssl store "
                "verify)"
            )

    def _make(self) -> None:
        self.store.make()
        if not (self.folder / "used").exists():
            write_once(self.folder / "space.json", asdict(self.kind))
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


def _possible(record: tuple[Any, ...]) -> bool:
    """Whether an entry of an index says what `Space.put` can have written."""
    _, _, size, layers, frames, dim, precision, _ = record
    return precision < len(PRECISIONS) and size == encoded_size(
        (layers, frames, dim), PRECISIONS[precision]
    )


def write_once(path: Path, value: Any) -> None:
    """Write ``value`` as JSON unless the file is there.

    Raises:
        OSError: it cannot be written.
    """
    if not path.exists():
        with contextlib.suppress(FileNotFoundError):  # another host's process of our number did
            write_json(path, value)


def _touch(path: Path) -> None:
    with contextlib.suppress(OSError):  # a store that may only be read
        path.touch()
