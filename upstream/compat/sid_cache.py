"""Where the SID task keeps its list of files.

What: s3prl writes the list of VoxCeleb1 files into its own installed package, under a name that
    depends on the split alone: a second data root silently gets the first one's files, an
    installation that cannot be written fails, and an interrupted write breaks every later run. A
    listed file that is missing is "list index out of range". The list is a pickle, which runs code
    of whoever can write it.
Why: the cache's key leaves out the root and the list, and it is written in place.
Since: s3prl 0.4.18.
Here: the list lives in the user's cache as JSON, in a folder named after the root and the content
    of the list file, appears there only when complete, and a missing file is named.
Delete when: s3prl's voxceleb1/dataset.py keys its cache by its arguments.
"""

import functools
import hashlib
import tempfile
from pathlib import Path
from typing import Any

from mt4ssl_core.files import read_json, write_json
from upstream.door import cache

SPLITS = ("train", "dev", "test")


def install() -> bool:
    """Redirect the cache of s3prl's SpeakerClassifiDataset."""
    from s3prl.downstream.voxceleb1 import dataset

    kind = dataset.SpeakerClassifiDataset
    if getattr(kind.__init__, "redirected", False):
        return False
    kind.__init__ = _redirect(dataset, kind.__init__)
    for split in SPLITS:
        setattr(kind, split, _kept(split, getattr(kind, split)))
    return True


def _redirect(module: Any, original: Any) -> Any:
    @functools.wraps(original)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        with tempfile.TemporaryDirectory() as empty:  # s3prl finds no pickle in it
            module.CACHE_PATH = empty
            original(self, *args, **kwargs)

    init.redirected = True  # type: ignore[attr-defined]
    return init


def _kept(split: str, search: Any) -> Any:
    """Return the search for a split's files that remembers what it found."""

    @functools.wraps(search)
    def find(self: Any) -> list[str]:
        path = folder(self.root, self.meta_data) / f"{split}.json"
        kept = read(path)
        if kept is None:
            try:
                kept = list(search(self))
            except IndexError as error:
                raise ValueError(_first_missing(Path(self.root), Path(self.meta_data))) from error
            write_json(path, kept)
        return kept

    return find


def read(path: Path) -> list[str] | None:
    """Return a list of files as it was kept; None when there is none, or it is damaged."""
    try:
        found = read_json(path)
    except (ValueError, OSError):
        return None
    whole = isinstance(found, list) and all(type(name) is str for name in found)
    return found if whole else None


def folder(file_path: Any, meta_data: Any) -> Path:
    """Return the cache folder of one data root and one list of utterances."""
    key = hashlib.sha1(str(Path(file_path).resolve()).encode())
    key.update(Path(meta_data).read_bytes())
    return cache.folder() / "voxceleb1" / key.hexdigest()


def _first_missing(root: Path, meta: Path) -> str:
    for number, line in enumerate(meta.read_text().splitlines(), 1):
        fields = line.split()
        if len(fields) != 2:
            return f"{meta}, line {number}: expected '1|2|3 idXXXXX/VIDEO/UTT.wav', found {line!r}"
        if not any(root.glob(f"*/wav/{fields[1]}")):
            return (
                f"{meta}, line {number}: {fields[1]} is not under {root}/dev/wav or "
                f"{root}/test/wav; "
                "unpack all parts of VoxCeleb1, or remove the line"
            )
    return f"{meta}: a listed file vanished from {root} while it was read; run again"
