"""Threads for many small torch operations on a CPU."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def thread_pool(workers: int, split_operations: bool = False) -> Iterator[ThreadPoolExecutor]:
    """Give a pool whose threads each run whole operations, and wait for it at the end.

    Torch would split every operation over all cores and make each wait for the slowest part: where
    operations take less than a millisecond or other programs are running, that can cost tenfold.
    ``split_operations`` leaves it so (for large operations in the calling thread).
    """
    import torch  # here: a command line that counts cores does without

    before = torch.get_num_threads()
    pool = ThreadPoolExecutor(workers)
    try:
        if not split_operations:
            torch.set_num_threads(1)
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(before)
