"""``SHA256SUMS`` of a folder: one line per file, as ``sha256sum -c SHA256SUMS`` takes it."""

import os
from pathlib import Path

from mt4ssl_core.files import atomic_path, sha256_of, writing

NAME = "SHA256SUMS"


class Checksums:
    """The checksums of the files below a folder; lines are appended as files are written."""

    def __init__(self, folder: Path) -> None:
        """Read what is there; lines that are not ours (or cut off) are as good as absent."""
        self.folder, self._path = folder, folder / NAME
        self._sums: dict[str, str] = {}
        if self._path.is_file():
            for line in self._path.read_bytes().split(b"\n"):
                escaped = line.startswith(b"\\")
                digest, _, name = line[escaped:].partition(b"  ")
                if len(digest) == 64 and name:
                    self._sums[os.fsdecode(_plain(name) if escaped else name)] = digest.decode(
                        "ascii", "replace"
                    )

    def whole(self, path: Path) -> bool:
        """Whether a file of the folder is as it was written; False also if nothing is known."""
        known = self._sums.get(self._name(path))
        return known is not None and known == sha256_of(path)

    def add(self, path: Path, content: Path) -> None:
        """Note the checksum of ``path``, whose bytes are in ``content`` until it gets its name.

        Raises OSError naming the list when it cannot be written.
        """
        name, digest = self._name(path), sha256_of(content)
        before = self._sums.get(name)
        self._sums[name] = digest
        if before is None:
            with writing(self._path), open(self._path, "ab") as file:
                file.write(_line(name, digest))
        elif before != digest:  # the old line would be an error
            with atomic_path(self._path) as temporary:
                temporary.write_bytes(b"".join(_line(*pair) for pair in self._sums.items()))

    def _name(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()


def _line(name: str, digest: str) -> bytes:
    raw = os.fsencode(name)
    quoted = raw.replace(b"\\", b"\\\\").replace(b"\n", b"\\n").replace(b"\r", b"\\r")
    return (b"\\" if quoted != raw else b"") + digest.encode() + b"  " + quoted + b"\n"


def _plain(name: bytes) -> bytes:
    """Undo the escapes of line breaks and backslashes in a name."""
    parts = name.split(b"\\\\")
    return b"\\".join(p.replace(b"\\n", b"\n").replace(b"\\r", b"\r") for p in parts)
