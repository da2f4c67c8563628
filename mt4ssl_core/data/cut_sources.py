"""Where a lhotse cut's audio comes from: only out of files, since a manifest may be anybody's.

lhotse runs a source of type "command" in a shell and fetches one of type "url"; a source may lie
deep inside a cut, e.g. in the impulse response of a transform. lhotse's reader of ``.sph`` also
runs a shell, with the file's name as it is.
"""

from collections.abc import Iterator
from typing import Any

from lhotse import AudioSource
from lhotse.cut import Cut

_WHAT = {
    "command": "is the output of a shell command, which is not run",
    "url": "is at a URL, which is not fetched",
    "memory": "should be inside the manifest, which is not read",
    "shar": "is in a Shar folder; give the folder",
}
_REMEDY = "if you trust the manifest, write its audio to files with lhotse (CutSet.save_audios)"
_UNUSED = {"custom", "features", "supervisions"}  # fields that loading the audio does not read
_BY_SHELL = (".sph", ".opus")  # decoders of lhotse that put the file's name into a shell command


def file_sources(cut: Cut) -> list[str]:
    """Return the files that hold the audio of a cut, with those of its transforms.

    Raises ValueError naming the first source that is no file (nor bytes that somebody put there).
    """
    files = []
    for type, source in _sources(cut):
        if type == "memory" and isinstance(source, bytes):
            continue
        if type != "file":
            shown = source if isinstance(source, str) else "bytes"
            what = _WHAT.get(type, f"is of the type {type!r}, which is unknown")
            raise ValueError(
                f"its audio ({shown[:100]}) {what}; {_REMEDY} and give what it returns"
            )
        if not isinstance(source, str) or not source or "\0" in source:
            raise ValueError(f"its audio should be a file, not {source!r:.100}; write it again")
        files.append(source)
    return files


def _sources(item: Any) -> Iterator[tuple[str, Any]]:
    """Yield (type, source) of every audio source in a cut, however deep."""
    todo = [item]
    while todo:
        part = todo.pop()
        if isinstance(part, AudioSource):
            yield str(part.type), part.source
        elif isinstance(part, dict):
            if {"type", "source", "channels"} <= part.keys():
                yield str(part["type"]), part["source"]
            todo.extend(value for name, value in part.items() if name not in _UNUSED)
        elif isinstance(part, list | tuple):
            todo.extend(part)
        elif hasattr(part, "__dict__") and type(part).__module__.startswith("lhotse."):
            todo.extend(value for name, value in vars(part).items() if name not in _UNUSED)


def check_shell(files: list[str]) -> None:
    """Raise ValueError if lhotse would put the name of one of these files into a shell command."""
    for file in files:
        if file.lower().endswith(_BY_SHELL):
            raise ValueError(
                f"{file}: where a cut mixes or transforms such files, lhotse reads them by a shell "
                "command; convert it to FLAC or WAV"
            )
