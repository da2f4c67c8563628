import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys, torch
from mt4ssl_core.memory import keep_memory
if sys.argv[1] == "kept":
    assert keep_memory()
torch.set_num_threads(1)
def tensors():
    return [torch.ones(1 << 22) for _ in range(4)]
for _ in range(40):
    tensors()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    tensors()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc")
def test_freed_memory_is_used_again_without_asking_the_kernel():
    def faults(word):
        command = [sys.executable, "-c", FAULTS, word]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    assert faults("kept") < 0.1 * faults("given back")
