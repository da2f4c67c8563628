"""The processes that align queries with recordings.

What: the QbE expert starts a process for every core of the machine, also where only a few may be
    used; and where processes are not forked but started afresh, each of them fails to import the
    expert, since our patches are those of the parent.
Why: ``ProcessPoolExecutor(max_workers=None)`` takes ``os.cpu_count()``, and a fresh process knows
    only what it imports.
Since: s3prl 0.4.18; Python 3.14 no longer forks by default.
Here: the expert gets an executor that takes the cores this process may use, or $MT4SSL_CORES of
    them, and patches each process first. ``max_workers`` in the config still wins.
Delete when: s3prl asks for the cores it may use and imports on today's stack.
"""

import functools
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.context import BaseContext

from mt4ssl_core.threads import cores
from upstream import compat

CORES = "MT4SSL_CORES"


class Workers(ProcessPoolExecutor):
    """Processes with our patches, not more than there are cores for."""

    def __init__(
        self, max_workers: int | None = None, mp_context: BaseContext | None = None
    ) -> None:
        super().__init__(
            max_workers or processes(),
            mp_context or _context(),
            initializer=functools.partial(compat.install_for, "quesst14_dtw"),
        )


def processes() -> int:
    """Return how many may work at once.

    Raises:
        ValueError: $MT4SSL_CORES is not a whole number above 0.
    """
    asked = os.environ.get(CORES)
    if asked:
        if not asked.isdigit() or int(asked) < 1:
            raise ValueError(f"${CORES} is {asked!r}; give a whole number above 0")
        return int(asked)
    return cores()


def _context() -> BaseContext:
    """Forked processes start at once; others import torch first."""
    methods = multiprocessing.get_all_start_methods()
    return multiprocessing.get_context("fork" if "fork" in methods else "spawn")


def install() -> bool:
    """Give s3prl's QbE expert our executor."""
    from s3prl.downstream.quesst14_dtw import expert

    if expert.ProcessPoolExecutor is Workers:
        return False
    expert.ProcessPoolExecutor = Workers
    return True
