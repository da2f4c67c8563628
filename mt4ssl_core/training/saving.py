"""A run's checkpoints: last.pt, the one before, and copies that stay."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mt4ssl_core.checkpoints import checkpoint
from mt4ssl_core.files import duplicate
from mt4ssl_core.training.progress import read_progress
from mt4ssl_core.training.resuming import Resumable

LAST, PREVIOUS, BEST = "last.pt", "previous.pt", "best.pt"


class Saver:
    """Writes last.pt; what it replaces stays as previous.pt, unless that is known to be damaged."""

    def __init__(self, folder: Path, keep_previous: bool = True):
        self.folder, self.keep_previous = folder, keep_previous
        self.saved: dict | None = None  # the progress in last.pt
        self.check: Callable[[], None] = lambda: None  # raises OSError: the folder is lost

    @property
    def last(self) -> Path:
        """The checkpoint that a run goes on from."""
        return self.folder / LAST

    def save(self, training: Resumable, keep: bool = False, best: bool = False) -> None:
        """Write last.pt; ``keep``: also as update_N.pt; ``best``: also as best.pt.

        All processes call it.

        Raises:
            OSError: it cannot be written; the last one is whole, then.
        """
        names = [f"update_{training.progress.update}.pt"] * keep + [BEST] * best
        progress = asdict(training.progress)
        state = training.whole_state() if progress != self.saved else None
        training.world.on_main(lambda: self._write(state, progress["update"], names))
        self.saved = progress

    def _write(self, state: dict[str, Any] | None, update: int, copies: list[str]) -> None:
        self.check()
        if state is not None:
            again = self.saved is not None and self.saved["update"] == update
            stays = self.keep_previous and not again  # so that it is of another update
            previous = self.folder / PREVIOUS if stays else None
            checkpoint.save(self.last, state, previous)
            self.keep_previous = True
        for name in copies:  # copies, not links: what damages one must not damage the other
            duplicate(self.last, self.folder / name)


def whole_ones(folder: Path, besides: Path, command: str) -> str:
    """Name the usable checkpoints of a run whose checkpoint ``besides`` is damaged, and what to
    do with them: `mt4ssl` has the ``command`` that goes on.
    """
    kept = sorted(folder.glob("update_*.pt"), key=lambda path: path.stat().st_mtime)
    found = []
    for path in [folder / PREVIOUS, folder / BEST, *kept[-1:]]:
        if path == besides or not path.exists():
            continue
        try:
            update = read_progress(checkpoint.load(path)["progress"], path).update
        except ValueError:
            continue
        found.append((update, path.name))
    if not found:
        return "no other whole checkpoint lies beside it; start again with another run.out"
    found.sort(key=lambda pair: -pair[0])
    listing = ", ".join(f"{name} (update {update})" for update, name in found)
    return f"whole: {listing}; go on with `mt4ssl {command} ... --from {found[0][1]}`"
