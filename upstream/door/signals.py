"""The signals that end a run from outside, as Ctrl-C does: what runs is stopped in order."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

ENDING = (signal.SIGTERM, signal.SIGHUP)


@contextmanager
def like_ctrl_c() -> Iterator[None]:
    """Treat SIGTERM, and SIGHUP of a closed terminal, as Ctrl-C; one that is ignored stays so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.getsignal(number) for number in ENDING}
    for number, action in before.items():
        if action != signal.SIG_IGN:
            signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, action in before.items():
            signal.signal(number, action)
