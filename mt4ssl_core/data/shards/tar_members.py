"""Plain tar files, member by member: a foreign one can neither write, nor name files, nor fill the
memory, since only regular members with plain names are taken, and no claim is believed unseen.
"""

import io
import os
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from mt4ssl_core.data.containers import check_regular

BLOCK = 512  # bytes of a header; contents are filled up to whole blocks
REMEDY = "copy it again, or make the shards again with `mt4ssl data shard`"
_NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]*\.[0-9a-z]{1,10}")
_END = bytes(BLOCK)


class Member(NamedTuple):
    """A member of a tar: its name, the byte where its content begins, and how long that is."""

    name: str
    start: int
    size: int


def add_member(archive: tarfile.TarFile, name: str, content: bytes) -> tuple[int, int]:
    """Append a member to a USTAR archive; returns where its content begins, and its length."""
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    start = archive.offset + BLOCK  # such names need one header
    archive.addfile(entry, io.BytesIO(content))
    archive.members.clear()  # type: ignore[attr-defined]  # or it grows with every member
    return start, len(content)


def members(tar: Path) -> Iterator[Member]:
    """Yield the members of a tar in their order; contents are passed over.

    Raises:
        ValueError: naming it: damaged, cut short, or with a member that is no regular file or has
            no plain name (KEY.SUFFIX, no folders).
    """
    check_regular(tar)
    with open(tar, "rb") as file:
        size, place = os.fstat(file.fileno()).st_size, 0
        while (header := file.read(BLOCK)) != _END:
            member = _member(tar, header, place)
            if member.start + member.size > size:
                raise ValueError(
                    f"{tar}: truncated: {member.name} has {member.size:,} bytes, of which "
                    f"{max(0, size - member.start):,} are there; {REMEDY}"
                )
            yield member
            place = member.start + -(-member.size // BLOCK) * BLOCK
            file.seek(place)


def read_member(tar: str | Path, start: int, size: int) -> bytes:
    """Return the content of a member, whose header must say the same.

    Raises:
        ValueError: no member of that size is there.
        OSError: the tar cannot be read.
    """
    with open(tar, "rb") as file:
        content = _behind_header(file, Path(tar), start, size)
    if len(content) < size:
        raise ValueError(f"truncated: {len(content):,} of {size:,} bytes are there")
    return content


def _behind_header(file: BinaryIO, tar: Path, start: int, size: int) -> bytes:
    there = os.fstat(file.fileno()).st_size
    if start < BLOCK or start + size > there:
        raise ValueError(f"truncated: {there:,} bytes, a member ends at {start + size:,}")
    file.seek(start - BLOCK)
    found = _member(tar, file.read(BLOCK), start - BLOCK, plain=False)
    if found.size != size:
        raise ValueError(
            f"{found.name} has {found.size:,} bytes where its index has {size:,}; {REMEDY}"
        )
    return file.read(size)


def _member(tar: Path, header: bytes, place: int, plain: bool = True) -> Member:
    """What a header says; ``plain``: its name must be KEY.SUFFIX."""
    where = f"{tar}: byte {place:,}"
    if len(header) < BLOCK:
        raise ValueError(f"{tar}: truncated: its end is missing; {REMEDY}")
    try:
        entry = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
    except tarfile.HeaderError as error:
        raise ValueError(f"{where}: no member of a tar is there ({error}); {REMEDY}") from None
    if entry.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
        raise ValueError(f"{where}: {entry.name!r:.100} is no plain file; {REMEDY}")
    if plain and not _NAME.fullmatch(entry.name):
        raise ValueError(
            f"{where}: a member is called {entry.name!r:.100}, expected KEY.SUFFIX, no folders; "
            + REMEDY
        )
    if entry.size < 0:
        raise ValueError(f"{where}: {entry.name!r:.100} has a size below 0; {REMEDY}")
    return Member(entry.name, place + BLOCK, entry.size)
