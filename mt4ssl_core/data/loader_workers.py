"""Processes that load audio: which signals they heed, and what is said when one is killed."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

# A signal to the whole process group is for the main process: it finishes its update first.
# Workers leave when it closes the iterator, or within seconds when it is gone.
_OF_THE_GROUP = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}


@contextmanager
def signals_wait() -> Iterator[None]:
    """Hold such signals back while workers start, which inherit that and then ignore them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _OF_THE_GROUP)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def start_worker(_: int) -> None:
    """Set a new worker up."""
    for number in _OF_THE_GROUP:
        signal.signal(number, signal.SIG_IGN)
    torch.set_num_threads(1)


def deaths_wait() -> None:
    """Notice a dead worker when its batch is waited for, and not, as torch does, at once: its
    handler of SIGCHLD would raise in the middle of an update or of a checkpoint.
    """
    main = threading.current_thread() is threading.main_thread()
    if main and getattr(signal.getsignal(signal.SIGCHLD), "__module__", "").startswith("torch."):
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def obituary(pid: int | None, code: int | None) -> str:
    """What is said of a worker that ended by itself, and what to do."""
    assert code is not None
    if code > 0:
        cause, remedy = f"exited with code {code}", "run again with data.workers=0 to see why"
    else:
        cause = f"was killed by signal {-code} ({signal.strsignal(-code)})"
        remedy = "if memory ran out, lower data.workers or data.batch_seconds"
        if -code == signal.SIGBUS:
            remedy = "shared memory (/dev/shm) ran out: enlarge it or lower data.workers"
    return f"a process that loads audio (pid {pid}) {cause}; {remedy}"
