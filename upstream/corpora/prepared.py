"""Files made from a corpus: made once, and again when the corpus changes."""

import errno
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from mt4ssl_core.files import write_json

FOLDER, STAMP = "prepared", "stamp.json"


def stamp_of(files: Iterable[Path]) -> dict[str, int]:
    """Return what changes when one of ``files`` is added, removed or written again."""
    states = [file.stat() for file in files]
    return {
        "files": len(states),
        "bytes": sum(state.st_size for state in states),
        "newest": max((state.st_mtime_ns for state in states), default=0),
    }


def remake(folder: Path, stamp: dict[str, Any], make: Callable[[], None]) -> None:
    """Call ``make`` to fill ``folder``, unless it was filled for the same ``stamp`` before.

    Raises:
        ValueError: ``folder`` cannot be written to.
    """
    if _stored(folder) == stamp:
        return
    try:
        (folder / STAMP).unlink(missing_ok=True)
        make()
        write_json(folder / STAMP, stamp)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        raise ValueError(
            f"{folder}: cannot be written to ({error.strerror}); make a folder of your own with a "
            "symbolic link to the corpus in it, and give that as root"
        ) from error


def _stored(folder: Path) -> Any:
    try:
        return json.loads((folder / STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
