"""s3prl's checkpoints, written whole and with all that an exact continuation needs.

s3prl's runner writes them in place, after it has removed the older ones: a run killed at that
moment leaves half a file, or no checkpoint at all. Here a file appears when it is whole, and only
then do older ones go.
"""

import argparse
import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from mt4ssl_core.checkpoints import checkpoint
from mt4ssl_core.files import atomic_path
from upstream import compat
from upstream.door import tasks
from upstream.door.stand_in import StandIn

NAMESPACE = [(argparse.Namespace, "argparse.Namespace")]  # what s3prl pickles
POSITION, RECORDS = "Position", "Records"  # our keys beside s3prl's
FINGERPRINT = "Fingerprint"  # of the encoder's checkpoint


@contextlib.contextmanager
def whole_checkpoints(more: Callable[[], dict[str, Any]]) -> Iterator[None]:
    """Let s3prl's runner write its checkpoints whole, with the entries of ``more()`` added."""
    from s3prl.downstream import runner

    outdated: list[str] = []

    def save(states: dict[str, Any], path: str) -> None:
        with atomic_path(path) as temporary:
            torch.save({**states, **more()}, temporary)
        if not Path(path).name.startswith("states-"):  # a best one; the new states come later
            return
        for old in outdated:
            if old != path:
                os.remove(old)
        outdated.clear()

    before = {"torch": runner.torch, "os": runner.os}
    try:
        runner.torch = StandIn(runner.torch, save=save)
        runner.os = StandIn(os, remove=outdated.append)
        yield
    finally:
        vars(runner).update(before)


def newest(expdir: str | Path) -> list[Path]:
    """Return the experiment's states-N.ckpt files, oldest step first."""
    found = [path for path in Path(expdir).glob("states-*.ckpt") if path.stem[7:].isdecimal()]
    return sorted(found, key=lambda path: int(path.stem[7:]))


def read(path: Path, flag: str = "-e ") -> dict[str, Any]:
    """Read the checkpoint that -e names: a file, or a folder for its newest.

    Messages begin with ``flag``.

    Raises:
        ValueError: there is none, or it is not s3prl's.
    """
    if path.is_dir():
        if not (found := newest(path)):
            raise ValueError(
                f"{flag}{path}: the folder holds no states-*.ckpt; give a checkpoint file"
            )
        path = found[-1]
    if not path.is_file():
        raise ValueError(f"{flag}{path}: no such checkpoint; check the path")
    compat.install()
    stored = checkpoint.read(path, NAMESPACE, mmap=True)
    if not is_head(stored):
        raise ValueError(
            f"{flag}{path}: not an s3prl checkpoint; an upstream is given with -u mt4ssl -k"
        )
    if not isinstance(getattr(stored["Args"], "upstream", None), str):
        raise ValueError(f"{flag}{path}: does not say of which upstream it is; give another head")
    weights, layers = stored.get("Downstream"), stored.get("Featurizer", {})
    if not isinstance(weights, dict) or not weights or not isinstance(layers, dict):
        raise ValueError(f"{flag}{path}: has no weights of a trained head; give another head")
    tasks.check_sections(stored["Config"], f"{flag}{path}")
    compat.install_for(stored["Args"].downstream)
    return stored


def is_head(stored: Any) -> bool:
    """Whether a file's content has the form of s3prl's checkpoints."""
    return (
        isinstance(stored, dict)
        and isinstance(stored.get("Args"), argparse.Namespace)
        and isinstance(stored.get("Config"), dict)
        and isinstance(vars(stored["Args"]).get("downstream"), str)
    )


def best_checkpoint(expdir: str | Path, newer_than: float | None = None) -> Path:
    """Return the head that did best on the dev split, else the newest one.

    s3prl writes a best checkpoint only when the first evaluation already beats its starting value.
    A best checkpoint of the dev split comes before that of any other. Files older than
    ``newer_than`` (seconds since 1970) belong to an earlier experiment in the same folder and are
    left out.

    Raises:
        ValueError: there is none.
    """
    folder = Path(expdir)
    found = [*newest(folder), *sorted(folder.glob("*best*.ckpt"), key=_dev_last)]
    found = [path for path in found if newer_than is None or path.stat().st_mtime >= newer_than - 1]
    if not found:
        raise ValueError(f"{folder}: no checkpoint was written; train longer than runner.save_step")
    return found[-1]


def _dev_last(path: Path) -> tuple[bool, str]:
    return "dev" in path.name, path.name


def plain_records(records: Any) -> dict[str, list[Any]]:
    """Return a task's running records, or {} where they are more than numbers and text.

    Only these can be read back without running code.
    """
    kept = {key: list(values) for key, values in records.items()}
    return kept if all(_is_plain(value) for value in kept.values()) else {}


def _is_plain(value: Any) -> bool:
    if type(value) in (list, tuple):
        return all(map(_is_plain, value))
    return type(value) in (int, float, str, bool, type(None))
