"""Where the SID task keeps its list of files.

What: s3prl writes the list of VoxCeleb1 files into its own installed package, under a name that
    depends on the split alone: a second data root silently gets the first one's files, an
    installation that cannot be written fails, and an interrupted write breaks every later run. A
    listed file that is missing is "list index out of range".
Why: the cache's key leaves out the root and the list, and it is written in place.
Since: s3prl 0.4.18.
Here: the list lives in the user's cache, in a folder named after the root and the content of the
    list file, appears there only when complete, and a missing file is named.
Delete when: s3prl's voxceleb1/dataset.py keys its cache by its arguments.
"""

import functools
import hashlib
import os
import tempfile
from pathlib import Path
from typing import Any

from upstream import cache


def install() -> bool:
    """Redirect the cache of s3prl's SpeakerClassifiDataset."""
    from s3prl.downstream.voxceleb1 import dataset

    if getattr(dataset.SpeakerClassifiDataset.__init__, "redirected", False):
        return False
    dataset.SpeakerClassifiDataset.__init__ = _redirect(
        dataset, dataset.SpeakerClassifiDataset.__init__
    )
    return True


def _redirect(module: Any, original: Any) -> Any:
    @functools.wraps(original)
    def init(
        self: Any, mode: str, file_path: Any, meta_data: Any, *args: Any, **kwargs: Any
    ) -> None:
        final = folder(file_path, meta_data)
        if (final / f"{mode}.pkl").is_file():
            module.CACHE_PATH = str(final)
            original(self, mode, file_path, meta_data, *args, **kwargs)
            return
        final.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=final) as temporary:
            module.CACHE_PATH = temporary
            try:
                original(self, mode, file_path, meta_data, *args, **kwargs)
            except IndexError as error:
                raise ValueError(_first_missing(Path(file_path), Path(meta_data))) from error
            os.replace(Path(temporary, f"{mode}.pkl"), final / f"{mode}.pkl")

    init.redirected = True  # type: ignore[attr-defined]
    return init


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
