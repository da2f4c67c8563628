"""How a process that trains on a CPU holds its memory."""

import ctypes
import platform

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
