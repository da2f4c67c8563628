"""How a process that trains holds its memory, and how exactly it multiplies."""

import ctypes
import platform
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4  # mallopt's names, of glibc's malloc.h
_STEP = 1 << 28  # bytes that the heap grows by


def keep_memory() -> bool:
    """Keep freed memory for what comes next; True where this C library can.

    By default glibc asks the kernel for each large tensor and gives it back at once; every update
    then waits for millions of pages to be cleared. The process stays as large as it ever was.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return all(
        mallopt(*pair) for pair in ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, -1), (_TOP_PAD, _STEP))
    )


@contextmanager
def tuned(device: torch.device) -> Iterator[None]:
    """Train on ``device``: on a CPU keep memory, on CUDA multiply float32 matrices in TF32."""
    before = torch.get_float32_matmul_precision()
    if device.type == "cpu":
        keep_memory()
    elif device.type == "cuda":
        torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
