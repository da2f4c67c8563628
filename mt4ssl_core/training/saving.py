"""A run's checkpoints: last.pt, the one before, and copies that stay."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_map

from mt4ssl_core.checkpoints import checkpoint
from mt4ssl_core.files import duplicate
from mt4ssl_core.training.progress import read_progress
from mt4ssl_core.training.resuming import Resumable

LAST, PREVIOUS, BEST = "last.pt", "previous.pt", "best.pt"


class Saver:
    """Writes last.pt; what it replaces stays as previous.pt, unless that is known to be damaged.

    A thread writes while updates go on, one checkpoint at a time. `wait` says what went wrong.
    """

    def __init__(self, training: Resumable, folder: Path, keep_previous: bool = True):
        self.training, self.folder, self.keep_previous = training, folder, keep_previous
        self.saved: dict | None = None  # the progress in last.pt, when that is written
        self.check: Callable[[], None] = lambda: None  # raises OSError: the folder is lost
        self._writer = ThreadPoolExecutor(1, "checkpoint")
        self._writing: Future[None] | None = None  # all processes have one, or none has

    @property
    def last(self) -> Path:
        """The checkpoint that a run goes on from."""
        return self.folder / LAST

    @property
    def is_writing(self) -> bool:
        """Whether this process has begun to write and not ended."""
        return self._writing is not None and not self._writing.done()

    def save(self, keep: bool = False, best: bool = False) -> None:
        """Begin to write last.pt; ``keep``: also as update_N.pt; ``best``: also as best.pt.

        All processes call it. What is begun here ends before the next one, in `wait`, or at once
        without run.save_in_background.

        Raises:
            OSError: this one, or the one before, cannot be written; the last one is whole, then.
        """
        self.wait()
        training, progress = self.training, asdict(self.training.progress)
        training.world.on_main(self.check)
        update = progress["update"]
        copies = [f"update_{update}.pt"] * keep + [BEST] * best
        if progress != self.saved:
            again = self.saved is not None and self.saved["update"] == update
            stays = self.keep_previous and not again  # so that it is of another update
            previous = self.folder / PREVIOUS if stays else None
            state = training.whole_state()
            if training.world.is_main and training.cfg.run.save_in_background:
                state = on_host(state)
            self._begin(partial(self._write, state, previous, copies))
            self.saved, self.keep_previous = progress, True
        elif copies:
            self._begin(partial(self._copy, copies))
        if not training.cfg.run.save_in_background:
            self.wait()

    def wait(self) -> None:
        """Wait until what was begun is on disk; all processes call it.

        Raises:
            OSError: it cannot be written.
        """
        writing, self._writing = self._writing, None
        if writing is not None:
            self.training.world.each(writing.result)

    def close(self) -> str | None:
        """Let this process end what it writes; returns what went wrong and `wait` did not say."""
        self._writer.shutdown()
        error = None if self._writing is None else self._writing.exception()
        return None if error is None else str(error)

    def _begin(self, work: Callable[[], None]) -> None:
        mine = work if self.training.world.is_main else lambda: None
        self._writing = self._writer.submit(mine)

    def _write(self, state: dict[str, Any], previous: Path | None, copies: Sequence[str]) -> None:
        checkpoint.save(self.last, state, previous)
        self._copy(copies)

    def _copy(self, names: Sequence[str]) -> None:
        for name in names:  # copies, not links: what damages one must not damage the other
            duplicate(self.last, self.folder / name)


def on_host(state: dict[str, Any]) -> dict[str, Any]:
    """A copy of ``state`` in the CPU's memory, which no later update changes."""

    def copied(value: Any) -> Any:
        return value.detach().to("cpu", copy=True) if isinstance(value, Tensor) else value

    copy: dict[str, Any] = tree_map(copied, state)
    return copy


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
