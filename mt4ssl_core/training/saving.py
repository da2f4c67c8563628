"""A run's checkpoints: last.pt, the one before, and copies that stay."""

import secrets
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_map

from mt4ssl_core.checkpoints import checkpoint, parts
from mt4ssl_core.files import duplicate
from mt4ssl_core.training.progress import read_progress
from mt4ssl_core.training.resuming import Resumable
from mt4ssl_core.training.sharding import parted

Work = Callable[[], None]
Hold = Callable[[Any], Any]  # a state -> what is written of it
LAST, PREVIOUS, BEST = "last.pt", "previous.pt", "best.pt"
_LOOKS, _LOOK = 100, 0.1  # for the parts of other processes, so many times, in seconds


class Saver:
    """Writes last.pt; what it replaces stays as previous.pt, unless that is known to be damaged.

    A thread writes while updates go on, one checkpoint at a time. `wait` says what went wrong. Each
    process of a sharded run writes its own part, and what names them appears when all are there.
    """

    def __init__(self, training: Resumable, folder: Path, keep_previous: bool = True):
        self.training, self.folder, self.keep_previous = training, folder, keep_previous
        self.saved: dict | None = None  # the progress in last.pt, when that is written
        self.check: Work = _nothing  # raises OSError: the folder is lost
        self._writer = ThreadPoolExecutor(1, "checkpoint")
        # what is being written, and what the first process does when all have written; all
        # processes have one, or none has
        self._begun: tuple[Future[None], Work] | None = None

    @property
    def last(self) -> Path:
        """The checkpoint that a run goes on from."""
        return self.folder / LAST

    @property
    def is_writing(self) -> bool:
        """Whether this process has begun to write and not ended."""
        return self._begun is not None and not self._begun[0].done()

    def save(self, keep: bool = False, best: bool = False, at_once: bool = False) -> None:
        """Begin to write last.pt; ``keep``: also as update_N.pt; ``best``: also as best.pt.

        All processes call it. What is begun here ends before the next one, in `wait`, or before
        this returns: with ``at_once``, or without run.save_in_background.

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
            at_once |= not training.cfg.run.save_in_background
            self._begin(self.last, at_once, self.folder / PREVIOUS if stays else None, copies)
            self.saved, self.keep_previous = progress, True
            if at_once:
                self.wait()
        else:
            training.world.on_main(partial(self._finish, copies))

    def save_aside(self, name: str) -> None:
        """Write a file of another name, which no run goes on from by itself, and wait for it."""
        self.wait()
        self._begin(self.folder / name, at_once=True)
        self.wait()

    def wait(self) -> None:
        """Wait until what was begun is on disk; all processes call it.

        Raises:
            OSError: it cannot be written.
        """
        if self._begun is None:
            return
        writing, publish = self._begun
        try:
            self.training.world.each(writing.result)
            self.training.world.on_main(publish)
        except Exception:
            self._begun = None
            raise
        self._begun = None  # but after Ctrl-C: `close` ends it, then

    def close(self) -> str | None:
        """Let this process end what it writes; returns what went wrong and `wait` did not say."""
        while True:
            with suppress(KeyboardInterrupt):
                self._writer.shutdown()
                break
        if self._begun is None:
            return None
        writing, publish = self._begun
        try:
            writing.result()
            _soon(publish)
        except Exception as error:
            return str(error) or type(error).__name__
        return None

    def _begin(
        self,
        path: Path,
        at_once: bool,
        previous: Path | None = None,
        copies: Sequence[str] = (),
    ) -> None:
        held = _same if at_once else on_host  # no update changes what is waited for
        prepared = self._part if self.training.sharded else self._whole
        write, publish = prepared(held, path, previous, copies)
        self._begun = self._writer.submit(write), publish

    def _whole(
        self, held: Hold, path: Path, previous: Path | None, copies: Sequence[str]
    ) -> tuple[Work, Work]:
        """What to write of a checkpoint in one file, which the first process does."""
        if not self.training.world.is_main:
            return _nothing, _nothing
        state = held(self.training.state_dict())

        def write() -> None:
            checkpoint.save(path, state, previous)
            self._finish(copies)

        return write, _nothing

    def _part(
        self, held: Hold, path: Path, previous: Path | None, copies: Sequence[str]
    ) -> tuple[Work, Work]:
        """What to write of a checkpoint in parts, and what makes these one."""
        training, world = self.training, self.training.world
        name = f"update_{training.progress.update}-{world.gather(secrets.token_hex(4))[0]}"
        state, rows, tensors = parted(checkpoint.named(training.state_dict()))
        state, rows = held((state if world.is_main else {}, rows))

        def publish() -> None:
            self.check()
            parts.write_index(path, name, world.size, tensors, previous)
            self._finish(copies)

        mine = parts.part_path(path, name, world.rank, world.size)
        write = partial(parts.write, mine, name, state, rows)
        return write, publish if world.is_main else _nothing

    def _finish(self, copies: Sequence[str]) -> None:
        # copies, not links: what damages one must not damage the other (parts are shared, though)
        for name in copies:
            duplicate(self.last, self.folder / name)
        parts.tidy(self.folder)


def _nothing() -> None:
    """What a process does for which there is nothing to do."""


def _same(state: Any) -> Any:
    return state


def _soon(publish: Work) -> None:
    """Publish when the other processes, which may be ending too, have written their parts."""
    for _ in range(_LOOKS):
        with suppress(FileNotFoundError):
            return publish()
        time.sleep(_LOOK)
    return publish()


def on_host(state: Any) -> Any:
    """A copy of ``state``, any nest of tensors, in the CPU's memory: no later update changes it."""

    def copied(value: Any) -> Any:
        return value.detach().to("cpu", copy=True) if isinstance(value, Tensor) else value

    return tree_map(copied, state)


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
