"""Features of a frozen upstream on disk, computed once and read for ever after.

    FOLDER/store.json            the format
    FOLDER/audio/*.audio         which content a piece of audio on disk had when it was last read
    FOLDER/<space>/space.json    of which upstream, and what of it: a `FeatureKind`
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
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from mt4ssl_core import files
from mt4ssl_core.files import read_json
from mt4ssl_core.settings.precisions import PRECISIONS
from mt4ssl_core.store.append_log import AppendLog
from mt4ssl_core.store.space import (
    FRAMES,
    INDEX,
    JSON_LIMIT,
    PATIENCE,
    POOLED,
    FeatureKind,
    Space,
    write_once,
)

__all__ = [
    "FRAMES",
    "INDEX",
    "POOLED",
    "PRECISIONS",
    "FeatureKind",
    "FeatureStore",
    "Space",
    "content_key",
]

FORMAT = 1
AUDIO = "<16s16sQ"  # identity, key, samples
GB = 1e9
SPACE = re.compile(r"[0-9a-f]{24}")  # what `Kind.name` returns
_WRITER = r".+-[0-9]{1,10}-[0-9a-f]{8}"  # of `append_log.writer_name`
OWN = re.compile(
    rf"space\.json|notes\.json|used|{_WRITER}\.(features|index|spoiled)|{files.TEMPORARY.pattern}"
)


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

    def space(self, kind: FeatureKind) -> Space:
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
        write_once(self.folder / "store.json", {"format": FORMAT})

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
        self._log = AppendLog(store.folder / "audio", "audio", AUDIO, store.say)
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
        if self._known.get(identity) == (key, samples):
            return
        self._known[identity] = (key, samples)
        if self._store.broken:
            return
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


def check_format(folder: Path) -> None:
    """Raise ValueError unless a folder is a store of our format, empty, or not there."""
    path = folder / "store.json"
    if path.exists():
        try:
            found = read_json(path, JSON_LIMIT)["format"]
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
    """Yield the folders of all spaces: those with a name of ours, and no links."""
    for path in sorted(folder.glob("*")):
        if SPACE.fullmatch(path.name) and path.is_dir() and not path.is_symlink():
            yield path


def own_files(folder: Path) -> Iterator[Path]:
    """Yield the files that we wrote to a space: regular files, by the form of their names."""
    for path in sorted(folder.glob("*")) + sorted(folder.glob(".*.tmp")):
        if OWN.fullmatch(path.name) and path.is_file() and not path.is_symlink():
            yield path


def bytes_of(folder: Path) -> int:
    """Return how many bytes our files of a space take."""
    total = 0
    for path in own_files(folder):
        with contextlib.suppress(OSError):  # removed a moment ago
            total += path.stat().st_size
    return total
