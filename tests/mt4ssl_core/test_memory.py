import platform
import subprocess
import sys

import pytest
import torch

from mt4ssl_core.memory import tuned

FAULTS = """
import ctypes, resource, sys
from mt4ssl_core.memory import keep_memory
if sys.argv[1] == "kept":
    assert keep_memory()
libc, size = ctypes.CDLL(None), 1 << 26
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
for number in range(4):
    if number == 1:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    place = libc.malloc(size)
    libc.memset(place, 1, size)
    libc.free(place)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc")
def test_freed_memory_is_used_again_without_asking_the_kernel():
    def faults(word):
        command = [sys.executable, "-c", FAULTS, word]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    assert faults("kept") < 0.1 * faults("given back")


def test_matrices_are_multiplied_in_tf32_on_cuda_alone_and_only_in_a_run():
    before = torch.get_float32_matmul_precision()
    for device, wanted in (("cuda", "high"), ("cpu", before)):
        with tuned(torch.device(device)):
            assert torch.get_float32_matmul_precision() == wanted
        assert torch.get_float32_matmul_precision() == before
