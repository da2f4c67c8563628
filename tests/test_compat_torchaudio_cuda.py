import subprocess
import sys

import pytest

from upstream.compat import torchaudio_cuda

OTHER_MINOR = """
import torch
told = torch.version.cuda
torch.version.cuda = fake = told.split(".")[0] + ".99"
from upstream.compat import torchaudio_cuda
assert torchaudio_cuda.install() is True
assert torch.version.cuda == fake
import torchaudio
assert torchaudio.functional is not None
assert torchaudio_cuda.install() is False
"""


def test_torchaudio_beside_a_torch_of_another_minor_version():
    import torch

    if torch.version.cuda is None:
        pytest.skip("a torch without CUDA is compared with nothing")
    subprocess.run([sys.executable, "-c", OTHER_MINOR], check=True, timeout=120)


def test_another_major_version_is_an_error_that_names_both():
    torchaudio_cuda.check("13.2", 13000, "2.11.0")
    with pytest.raises(ValueError, match=r"for CUDA 14\.0, torchaudio 2\.11\.0 for CUDA 13\.0"):
        torchaudio_cuda.check("14.0", 13000, "2.11.0")
