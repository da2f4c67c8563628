"""The audio files below a folder, and what else is there: nothing vanishes without a word."""

import os
import stat
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from mt4ssl_core.data import ffmpeg_audio
from mt4ssl_core.data.audio import SUFFIXES

_HEADERLESS = {".raw", ".pcm", ".s16", ".ulaw", ".alaw", ".sln"}
_TEXT = {".txt", ".csv", ".json", ".jsonl", ".tsv", ".yaml", ".yml", ".md", ".lab", ".textgrid"}
_TEXT |= {".trn", ".phn", ".wrd", ".xml", ".npy", ".pt", ".py", ".log", ".html", ".pdf", ".gz"}
_MAGIC: tuple[bytes, ...] = (
    b"RIFF",
    b"RF64",
    b"fLaC",
    b"OggS",
    b"FORM",
    b".snd",
    b"caff",
    b"NIST_1A",
    b"ID3",
)
_MAGIC += (b"\xff\xfb", b"\xff\xf3", b"\x1aE\xdf\xa3", b"#!AMR")
_LOOKED_INTO = 3  # files of an unknown suffix, to see whether they hold audio
_NAMED = 12  # suffixes in a note


def is_audio(name: str) -> bool:
    """Whether a file's suffix is one that can be decoded here."""
    suffix = os.path.splitext(name)[1].lower()
    return suffix in SUFFIXES or (suffix in ffmpeg_audio.SUFFIXES and ffmpeg_audio.available())


@dataclass
class AudioFolder:
    """What a look through a folder found; linked folders are followed, each real one once.

    audio: files that can be decoded, sorted. problems: (path, reason) of what could not be looked
    into. others: number of files of each other suffix. sounding: suffixes among these whose files
    hold audio. hidden: number of hidden audio files. loops: links to folders seen already.
    """

    root: Path
    audio: list[Path] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)
    others: Counter = field(default_factory=Counter)
    sounding: set[str] = field(default_factory=set)
    hidden: int = 0
    loops: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, root: Path) -> "AudioFolder":
        """Look through ``root`` and all its subfolders."""
        found = cls(root)
        seen: set[str] = set()
        for folder, below, files in os.walk(root, followlinks=True, onerror=found._closed):
            real = os.path.realpath(folder)
            if real in seen:
                below.clear()
                found.loops.append(folder)
                continue
            seen.add(real)
            below.sort()
            for name in files:
                found._take(folder, name)
        found.audio.sort()
        return found

    def note(self, texts: bool = False) -> str:
        """Return one line about what was not looked at, "" if nothing was left out.

        ``texts``: whether .txt files are looked at, by who reads transcripts.
        """
        groups: dict[str, list[str]] = {}
        others = Counter({k: n for k, n in self.others.items() if not (texts and k == ".txt")})
        for suffix, count in _largest_first(others)[:_NAMED]:
            remedy = _remedy(suffix, suffix in self.sounding)
            groups.setdefault(remedy, []).append(f"{count} {suffix or 'without suffix'}")
        parts = [", ".join(group) + remedy for remedy, group in groups.items()]
        if len(others) > _NAMED:
            parts.append(f"files of {len(others) - _NAMED} other suffixes")
        if self.hidden:
            parts.append(f"{self.hidden} hidden audio file(s)")
        if self.loops:
            parts.append(f"{len(self.loops)} link(s) to folders already seen ({self.loops[0]})")
        return f"{self.root}: not looked at: {', '.join(parts)}" if parts else ""

    def _take(self, folder: str, name: str) -> None:
        if name.startswith("."):
            self.hidden += is_audio(name)
        elif is_audio(name):
            self.audio.append(Path(folder, name))
        else:
            suffix = os.path.splitext(name)[1].lower()
            self.others[suffix] += 1
            known = suffix in ffmpeg_audio.SUFFIXES | _HEADERLESS | _TEXT
            if not known and self.others[suffix] <= _LOOKED_INTO and _sounds(folder, name):
                self.sounding.add(suffix)

    def _closed(self, error: OSError) -> None:
        reason = f"folder cannot be opened ({error.strerror}); change its permissions or remove it"
        self.problems.append((str(error.filename), reason))


def _largest_first(counts: Counter) -> list[tuple[str, int]]:
    """Suffixes that may hold audio first, then by how many there are."""
    return sorted(counts.items(), key=lambda item: (item[0] in _TEXT, -item[1], item[0]))


def _remedy(suffix: str, sounding: bool) -> str:
    if suffix in ffmpeg_audio.SUFFIXES:
        return f" (libsndfile does not decode these: {ffmpeg_audio.REMEDY})"
    if suffix in _HEADERLESS:
        return " (no header: convert with `ffmpeg -f s16le -ar RATE -i IN OUT.flac`)"
    return " (audio by their content: give them its suffix)" if sounding else ""


def _sounds(folder: str, name: str) -> bool:
    """Whether a file begins as audio does."""
    path = os.path.join(folder, name)
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return False
        with open(path, "rb") as file:
            head = file.read(12)
    except OSError:
        return False
    return head.startswith(_MAGIC) or head[4:8] == b"ftyp"
