"""Append-only files of fixed-size records: one per writing process, read by any number.

No locks and no file that two processes write, so that network file systems are fine. Every record
ends in a checksum of itself: one that a kill or a full disk cut off is never read.
"""

import errno
import os
import secrets
import socket
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

_CHECK = struct.Struct("<I")


def writer_name() -> str:
    """Return a file name that no other process, on any machine, gives to its files."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"


class AppendLog:
    """The records in all files ``FOLDER/*.SUFFIX``, and one of these for this process to append to.

    Args:
        folder: where the files are; made when the first record is appended.
        suffix: of the files.
        layout: of a record, as the `struct` module has it.
        say: told, once, of each file that cannot be read.
    """

    def __init__(
        self, folder: Path, suffix: str, layout: str, say: Callable[[str], Any] = print
    ) -> None:
        self.folder, self.suffix, self.layout, self._say = folder, suffix, layout, say
        self._body = struct.calcsize(layout)
        self._size = self._body + _CHECK.size
        self._seen: dict[str, int] = {}  # bytes read of each file
        self._unreadable: set[Path] = set()
        self.spoiled: set[Path] = set()  # files with records that fail their checksum
        self._file: int | None = None
        self._owner, self._name = 0, ""

    def __getstate__(self) -> dict[str, object]:
        """Leave out the open file: another process opens its own."""
        return {**vars(self), "_file": None, "_owner": 0}

    def new(self) -> Iterator[tuple[str, tuple]]:
        """Yield (writer, record) of what was appended since the last call, by any process."""
        for path in sorted(self.folder.glob(f"*.{self.suffix}")):
            writer = path.name.removesuffix(f".{self.suffix}")
            start = self._seen.get(writer, 0)
            try:
                if path.exists() and not path.is_file():  # to open a pipe is to wait for ever
                    raise OSError(errno.EINVAL, "not a regular file")
                with open(path, "rb") as file:
                    file.seek(start)
                    data = file.read()
            except FileNotFoundError:  # removed a moment ago
                continue
            except OSError as error:
                if path not in self._unreadable:
                    self._unreadable.add(path)
                    self._say(
                        f"store: {path}: {error.strerror}; what it lists is computed again: let "
                        "it be read, or remove it"
                    )
                continue
            whole = len(data) // self._size * self._size
            self._seen[writer] = start + whole
            for place in range(0, whole, self._size):
                body = data[place : place + self._body]
                (check,) = _CHECK.unpack_from(data, place + self._body)
                if zlib.crc32(body) == check:
                    yield writer, struct.unpack(self.layout, body)
                else:
                    self.spoiled.add(path)

    def append(self, *values: object) -> None:
        """Append one record.

        Raises:
            OSError: the disk is full, or the folder cannot be written.
        """
        body = struct.pack(self.layout, *values)
        write_all(self._own(), body + _CHECK.pack(zlib.crc32(body)))

    @property
    def name(self) -> str:
        """Name of this process's file, without suffix."""
        self._own()
        return self._name

    def close(self) -> None:
        """Let go of this process's file; the next record begins another."""
        if self._file is not None and self._owner == os.getpid():
            os.close(self._file)
        self._file = None

    def _own(self) -> int:
        if self._file is None or self._owner != os.getpid():
            self.folder.mkdir(parents=True, exist_ok=True)
            self._name, self._owner = writer_name(), os.getpid()
            path = self.folder / f"{self._name}.{self.suffix}"
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        return self._file


def write_all(file: int, data: bytes | memoryview) -> None:
    """Write all of ``data`` at the end of ``file``, or nothing.

    What was written of it is cut off again when the disk is full, or the user interrupts.

    Raises:
        OSError: as of `os.write`.
    """
    start = os.lseek(file, 0, os.SEEK_END)
    rest = memoryview(data)
    try:
        while rest:
            rest = rest[os.write(file, rest) :]
    except BaseException:
        os.ftruncate(file, start)
        raise
