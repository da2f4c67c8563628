"""What an audio file claims to hold, compared with the bytes that are in it.

Decoders take a file that was cut short for a shorter one, and a header written before the length
was known (a pipe, a recorder that crashed) for an empty one. Only headers are read here.
"""

import io
import os
import stat
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

_KINDS = {
    stat.S_ISFIFO: "a pipe (FIFO)",
    stat.S_ISSOCK: "a socket",
    stat.S_ISCHR: "a device",
    stat.S_ISBLK: "a device",
    stat.S_ISDIR: "a folder",
}
_TAIL = 1 << 17  # bytes at the end of an Ogg file that hold a whole page
_LARGEST = 1 << 32  # bytes of a RIFF file


def check_regular(path: str | Path) -> None:
    """Raise unless ``path`` is a regular file, or a link to one: opening others may wait for ever.

    Raises FileNotFoundError (missing, or a link to nothing), other OSError, ValueError.
    """
    mode = os.stat(path).st_mode
    if not stat.S_ISREG(mode):
        kind = next((name for is_kind, name in _KINDS.items() if is_kind(mode)), "no regular file")
        raise ValueError(f"{kind}, expected a file")


def claimed_and_present(file: BinaryIO) -> tuple[int, int] | None:
    """Return how many bytes of audio a file's header claims, and how many of these are there.

    None where that cannot be told: other containers, and headers that leave the length open.
    """
    file.seek(0, os.SEEK_END)
    size = file.tell()
    file.seek(0)
    head = file.read(1024)
    found = None
    try:
        for magic, look in _LOOKS.items():
            if head.startswith(magic):
                found = look(file, head, size)
                break
    except (struct.error, ValueError, UnicodeDecodeError):  # the decoder will say what it is
        found = None
    file.seek(0)
    return found


def finished(path: str | Path) -> str | bytes | io.BytesIO:
    """Return ``path`` as soundfile takes it (in bytes where it is no text), or, if a WAV's header
    has no length yet, its content with the length filled in.

    Raises ValueError: such a file of more than 4 GB.
    """
    name = str(path)
    openable = name if name.isprintable() else os.fsencode(name)
    with open(path, "rb") as file:
        head = file.read(12)
        if head[:4] != b"RIFF" or head[8:12] != b"WAVE":
            return openable
        size = os.fstat(file.fileno()).st_size
        (whole,) = struct.unpack("<I", head[4:8])
        data = next((place for name, place, length in _riff(file, size, "<")
                     if name == b"data" and length == 0), None)  # fmt: skip
        if data is None or data >= size or data < whole + 8 <= size:
            return openable
        if size > _LARGEST:
            raise ValueError(f"{size:,} bytes, but its header has no length; write it again")
        file.seek(0)
        content = bytearray(file.read())
    content[4:8] = struct.pack("<I", size - 8)
    content[data - 4 : data] = struct.pack("<I", size - data)
    return io.BytesIO(content)


def _open_ended(length: int) -> bool:
    """Whether a 32-bit length is one that programs write into a pipe."""
    return length == 0 or 0x7FFF0000 <= length <= 0x80000000 or length >= 0xFFFF0000


def _riff(file: BinaryIO, size: int, order: str) -> Iterator[tuple[bytes, int, int]]:
    """Name, place of the content and length of each chunk behind a 12-byte header."""
    place = 12
    while place + 8 <= size:
        file.seek(place)
        name, length = struct.unpack(f"{order}4sI", file.read(8))
        yield name, place + 8, length
        place += 8 + length + length % 2


def _wav(file: BinaryIO, head: bytes, size: int) -> tuple[int, int] | None:
    long = None
    for name, place, length in _riff(file, size, "<"):
        if name == b"ds64":
            file.seek(place + 8)
            (long,) = struct.unpack("<Q", file.read(8))
        if name == b"data":
            if length == 0xFFFFFFFF and long:
                return long, min(long, size - place)
            return None if _open_ended(length) else (length, min(length, size - place))
    return None


def _aiff(file: BinaryIO, head: bytes, size: int) -> tuple[int, int] | None:
    for name, place, length in _riff(file, size, ">"):
        if name in (b"SSND", b"BODY"):
            return None if _open_ended(length) else (length, min(length, size - place))
    return None


def _au(file: BinaryIO, head: bytes, size: int) -> tuple[int, int] | None:
    order = ">" if head.startswith(b".snd") else "<"
    place, length = struct.unpack(f"{order}II", head[4:12])
    return None if _open_ended(length) else (length, max(0, min(length, size - place)))


def _w64(file: BinaryIO, head: bytes, size: int) -> tuple[int, int] | None:
    place = 40
    while place + 24 <= size:
        file.seek(place)
        name, length = struct.unpack("<4s12xq", file.read(24))
        if name == b"data":
            return (length - 24, min(length - 24, size - place - 24)) if length > 24 else None
        place += max(24, length + -length % 8)
    return None


def _sphere(file: BinaryIO, head: bytes, size: int) -> tuple[int, int] | None:
    lines = head.decode("ascii", "replace").split("\n")
    fields = dict(line.split()[::2] for line in lines[2:] if len(line.split()) == 3)
    if fields.get("sample_coding", "pcm") not in ("pcm", "ulaw", "alaw"):
        return None
    names = ("sample_count", "channel_count", "sample_n_bytes")
    count, channels, width = (int(fields[name]) if name in fields else 0 for name in names)
    claimed = count * channels * width
    return (claimed, max(0, min(claimed, size - int(lines[1])))) if claimed else None


def _voc(file: BinaryIO, head: bytes, size: int) -> tuple[int, int] | None:
    (place,) = struct.unpack("<H", head[20:22])
    claimed = 0
    while place + 4 <= size:
        file.seek(place)
        (block,) = struct.unpack("<I", file.read(4))
        if block & 0xFF == 0:
            return claimed, claimed
        claimed += block >> 8
        place += 4 + (block >> 8)
    return (claimed, max(0, claimed - (place - size))) if place > size else None


def _ogg(file: BinaryIO, head: bytes, size: int) -> tuple[int, int] | None:
    """Whether the last page is whole; what is missing behind a page that is, nobody can tell."""
    file.seek(max(0, size - _TAIL))
    tail = file.read()
    page = tail.rfind(b"OggS")
    if page < 0 or page + 27 > len(tail):
        return None if page < 0 else (size + 1, size)
    segments = tail[page + 27 : page + 27 + tail[page + 26]]
    end = page + 27 + tail[page + 26] + sum(segments)
    return (end, min(end, len(tail))) if len(segments) == tail[page + 26] else (size + 1, size)


_LOOKS: dict[bytes, Callable[[BinaryIO, bytes, int], tuple[int, int] | None]] = {
    b"RIFF": _wav,
    b"RF64": _wav,
    b"FORM": _aiff,
    b".snd": _au,
    b"dns.": _au,
    b"riff\x2e\x91\xcf\x11": _w64,
    b"NIST_1A": _sphere,
    b"Creative Voice File": _voc,
    b"OggS": _ogg,
}
