"""Where the ASV task keeps the lengths of VoxCeleb1's utterances.

What: s3prl measures every utterance without its silences, in 12 processes that fail on today's
    stack, and writes the list into its own installed package, under a name that does not depend on
    the data root: a second root silently gets the first one's files, an installation that cannot be
    written fails, and an interrupted write breaks every later run.
Why: fresh processes do not have our patches; the list's name is fixed; it is written in place.
Since: s3prl 0.4.18.
Here: threads, as many as there are cores (most of the work is outside Python); the list lives in
    the user's cache, in a folder named after the root, its speakers and when their folders last
    changed, and appears there only when complete.
Delete when: s3prl's sv_voxceleb1/dataset.py keys its list by its arguments.
"""

import contextlib
import functools
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mt4ssl_core.files import remove_leftovers, temporary_beside
from upstream.compat.qbe_workers import processes
from upstream.door import cache

LENGTHS = ".wav_lengths"  # s3prl's folder for the lists, beside its dataset.py


def install() -> bool:
    """Redirect the list of s3prl's SpeakerVerifi_train."""
    from s3prl.downstream.sv_voxceleb1 import dataset

    train = dataset.SpeakerVerifi_train
    if getattr(train.__init__, "redirected", False):
        return False
    train.__init__ = _redirect(dataset, train.__init__)
    return True


def _redirect(module: Any, original: Any) -> Any:
    own_place = module.__file__

    @functools.wraps(original)
    def init(self: Any, vad_config: Any, key_list: Any, file_path: Any, *rest: Any, **more: Any):
        import joblib

        final = folder(file_path)
        final.mkdir(parents=True, exist_ok=True)
        made = more | {"n_jobs": processes()}
        try:
            remove_leftovers(final)
            with _temporary(final) as temporary:
                place = final if (final / LENGTHS).is_dir() else temporary
                module.__file__ = str(place / "dataset.py")  # which s3prl puts its folder beside
                with joblib.parallel_config(backend="threading"):
                    original(self, vad_config, key_list, file_path, *rest, **made)
                if place != final:
                    _keep(place / LENGTHS, final / LENGTHS)
        finally:
            module.__file__ = own_place

    init.redirected = True  # type: ignore[attr-defined]
    return init


@contextlib.contextmanager
def _temporary(final: Path) -> Iterator[Path]:
    made = temporary_beside(final / LENGTHS)
    made.mkdir()
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _keep(made: Path, final: Path) -> None:
    try:
        os.replace(made, final)
    except OSError:
        if not final.is_dir():  # else another run was first
            raise


def folder(roots: Any) -> Path:
    """Return the cache folder of one or more folders of speakers.

    Raises:
        ValueError: there are no speakers.
    """
    key = hashlib.sha1()
    for root in map(Path, roots):
        speakers = sorted(path for path in root.glob("id*") if path.is_dir())
        if not speakers:
            raise ValueError(
                f"{root}: no folders of speakers (id10001, ...); unpack VoxCeleb1's wav files there"
            )
        states = [(path.name, path.stat().st_mtime_ns) for path in speakers]
        key.update(f"{root.resolve()} {states}".encode())
    return cache.folder() / "sv_voxceleb1" / key.hexdigest()
