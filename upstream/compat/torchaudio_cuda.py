"""The import of torchaudio beside a torch for another CUDA version.

What: ``import torchaudio`` fails with ``RuntimeError: ... compiled with different CUDA versions``.
Why: torchaudio compares the CUDA version it was built for with torch's, down to the minor number,
    although any version of the same major number will do. torchaudio 2.11.0 is its last release.
Since: torch 2.15 (CUDA 13.2) with torchaudio 2.11.0 (CUDA 13.0).
Here: torch does not tell its CUDA version while torchaudio is imported; then the major numbers are
    compared.
Delete when: a torchaudio is out that compares the major numbers only (pytorch/audio PR 4226).
"""

import sys

import torch


def install() -> bool:
    """Import torchaudio; tell whether it would have refused.

    Raises:
        ValueError: torchaudio is for another major version of CUDA than torch.
    """
    told = torch.version.cuda
    if "torchaudio" in sys.modules or told is None:
        return False
    torch.version.cuda = None
    try:
        import torchaudio
    finally:
        torch.version.cuda = told
    built = torch.ops._torchaudio.cuda_version()  # 13000 is 13.0
    if built is None:
        return False
    check(told, built, torchaudio.__version__)
    return told.split(".")[:2] != [str(built // 1000), str(built // 10 % 100)]


def check(told: str, built: int, torchaudio_version: str) -> None:
    """See that torch's CUDA version and the one torchaudio was built for have the same major.

    Raises:
        ValueError: they have not.
    """
    if int(told.split(".")[0]) != built // 1000:
        raise ValueError(
            f"torch {torch.__version__} is for CUDA {told}, torchaudio {torchaudio_version} for "
            f"CUDA {built // 1000}.{built // 10 % 100}; install a pair for the same CUDA: "
            "https://pytorch.org/get-started"
        )
