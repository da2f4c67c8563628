"""The import of torchaudio beside the torch that is there.

What: ``import torchaudio`` fails: ``OSError: Could not load this library`` (an undefined symbol, or
    a CUDA library that is not there), or ``RuntimeError: ... compiled with different CUDA
    versions``.
Why: torchaudio is compiled against torch. 2.11.0 fits every later torch, but compares the CUDA
    version it was built for with torch's, down to the minor number, although any version of the
    same major number will do.
Since: torch 2.15 (CUDA 13.2) with torchaudio 2.11.0 (CUDA 13.0); torch 2.12 or older with
    torchaudio 2.11.1.
Here: torch does not tell its CUDA version while torchaudio is imported; then the major numbers are
    compared. A torchaudio that still does not load is an error that names the one to install.
Delete when: torchaudio 2.11.0 is no longer supported (2.11.1 compares the major numbers only) and
    pip can tell which torch a torchaudio was built for.
"""

import importlib.util
import re
import sys

import torch

from upstream.door import packages

_STABLE, _NEXT = (2, 11), (2, 13)  # since these versions of torch 2.11.0 and 2.11.1 can be loaded


def install() -> bool:
    """Import torchaudio; tell whether it would have refused.

    Raises:
        ValueError: it is not installed, or not the one that belongs to this torch.
    """
    told = torch.version.cuda
    if "torchaudio" in sys.modules:
        return False
    if importlib.util.find_spec("torchaudio") is None:
        raise ValueError(f"torchaudio is not installed; install it with: {install_command()}")
    torch.version.cuda = None
    try:
        import torchaudio
    except Exception as error:
        raise ValueError(
            f"torchaudio {packages.version_of('torchaudio')} does not load beside torch "
            f"{torch.__version__} ({_reason(error)}); install the one for it: {install_command()}"
        ) from error
    finally:
        torch.version.cuda = told
    if told is None or not hasattr(torch.ops._torchaudio, "cuda_version"):  # nothing compiled
        return False
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
            f"CUDA {built // 1000}.{built // 10 % 100}; install the one that belongs to it: "
            f"{install_command()}"
        )


def belonging(torch_version: str) -> str:
    """Return the version of torchaudio for one of torch: "2.12.1+cu130" -> "2.11.0"."""
    found = re.match(r"(\d+)\.(\d+)(?:\.\d+)?", torch_version)
    if not found:
        return "2.11.0"
    release = int(found[1]), int(found[2])
    if release < _STABLE:  # both were released together
        return found[0]
    return "2.11.0" if release < _NEXT else "2.11.1"


def install_command() -> str:
    """Return the command that installs the torchaudio for this torch, and nothing else."""
    build = (packages.version_of("torch") or "").partition("+")[
        2
    ]  # cu130, cpu; nothing for that of PyPI
    command = f"pip install --no-deps torchaudio=={belonging(torch.__version__)}"
    known = re.fullmatch(r"cpu|cu\d+|rocm[\d.]+", build)
    return command + f" --index-url https://download.pytorch.org/whl/{build}" * bool(known)


def _reason(error: BaseException) -> str:
    """Return what the loader of libraries said, which torch hides behind its own error."""
    inner = error.__cause__ or error
    return " ".join(f"{type(inner).__name__}: {inner}".split())[:300]
