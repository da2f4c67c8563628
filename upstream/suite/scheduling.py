"""Batches of jobs: what starts them, and in which order, as each waits for what it needs."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass
class JobBatch:
    """Jobs that one process does in order, once those of ``needs`` are done."""

    name: str
    work: Callable[[str | None], Callable[[], None]]  # from the GPU to use to what is to be done
    needs: Sequence[str] = ()
    jobs: Sequence[str] = field(default_factory=list)  # names, for `needs` of others


class Handle(Protocol):
    """A batch that was started."""

    def over(self) -> bool:
        """Whether it ended, in whatever way."""

    def stop(self) -> None:
        """End it soon; it can be started again later."""

    def error(self) -> str:
        """What the process wrote to stderr last, if it did not get as far as a log of its own."""

    def clean(self) -> None:
        """Remove what starting it left behind."""


class Executor(Protocol):
    """Starts batches."""

    slots: int  # batches at the same time

    def start(self, batch: JobBatch) -> Handle:
        """Start a batch."""


def schedule(
    batches: Sequence[JobBatch],
    executor: Executor,
    is_done: Callable[[str], bool],
    begun: Callable[[JobBatch], None],
    ended: Callable[[JobBatch, Handle], None],
    interval: float = 0.2,
) -> None:
    """Start every batch once what it needs is done, and wait for all that were started.

    A batch that needs something that failed is left out. When this is interrupted, what runs is
    stopped first.
    """
    waiting, running = list(batches), dict[str, tuple[JobBatch, Handle]]()
    open_jobs = {job for batch in batches for job in batch.jobs}
    try:
        while waiting or running:
            for name in [name for name, (_, handle) in running.items() if handle.over()]:
                batch, handle = running.pop(name)
                open_jobs -= set(batch.jobs)
                ended(batch, handle)
            for batch in [b for b in waiting if not set(b.needs) & open_jobs]:
                if len(running) >= executor.slots:
                    break
                waiting.remove(batch)
                if all(is_done(need) for need in batch.needs):
                    begun(batch)
                    running[batch.name] = (batch, executor.start(batch))
                else:
                    open_jobs -= set(batch.jobs)
            if running and not any(handle.over() for _, handle in running.values()):
                time.sleep(interval)
    except BaseException:
        for _, handle in running.values():
            handle.stop()
        raise
