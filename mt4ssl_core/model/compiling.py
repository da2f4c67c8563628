"""torch.compile for the blocks that take a model's time, with few compiled shapes."""

import os
import shutil

import torch
from torch import nn

from mt4ssl_core.model.context import Layer, PosConvBlock
from mt4ssl_core.model.extractor import ConvBlock

BACKEND = "inductor"
_FORMS = 64  # compiled forms of all blocks together; beyond, the rest would run uncompiled, unsaid
_COMPILERS = ("g++", "clang++", "c++")


def wanted(setting: str, device: torch.device) -> bool:
    """Whether ``run.compile`` asks for it on ``device``; ``auto`` does on CUDA alone.

    Raises:
        ValueError: asked for on a CPU without a C++ compiler.
    """
    if setting == "auto":
        return device.type == "cuda"
    found = "CXX" in os.environ or any(shutil.which(name) for name in _COMPILERS)
    if setting == "true" and device.type == "cpu" and BACKEND == "inductor" and not found:
        raise ValueError(
            "run.compile=true: on a CPU this needs a C++ compiler, and none of "
            f"{', '.join(_COMPILERS)} is here; install one, or set run.compile=auto"
        )
    return setting == "true"


def compile_blocks(model: nn.Module) -> None:
    """Compile each block of the extractor, each positional convolution and each layer, in place.

    Names of weights stay. Sizes of batches and lengths are symbols, so that a block is compiled a
    few times in all and not for each length. What decides from lengths is between the blocks.
    """
    settings = torch._dynamo.config  # counts the forms of all blocks as one function's
    settings.recompile_limit = max(settings.recompile_limit, _FORMS)
    for module in model.modules():
        if isinstance(module, ConvBlock | PosConvBlock | Layer):
            module.compile(backend=BACKEND, dynamic=True)
