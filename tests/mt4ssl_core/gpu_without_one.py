"""A GPU that only pretends, and a count of what a program asks of it.

Tensors of the CPU are real. Those of ``cuda`` have shapes and types and no values: an operation
that mixes devices, or asks for a value (which on a GPU would wait for it), raises and names our
line.
"""

from collections import Counter

import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

CUDA = torch.device("cuda", 0)
ASKING = {  # operations that a GPU answers, so that the program waits for it
    "aten._local_scalar_dense.default",
    "aten.nonzero.default",
    "aten.masked_select.default",
    "aten.bincount.default",
    "aten._unique2.default",
    "aten.is_nonzero.default",
    "aten.equal.default",
}


class PretendedGpu(TorchDispatchMode):
    """Run what touches ``cuda`` on shapes alone, and everything else as it is."""

    def __init__(self):
        super().__init__()
        self.shapes = FakeTensorMode(allow_non_fake_inputs=True)

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        leaves = tree_leaves((args, kwargs or {}))
        device = (kwargs or {}).get("device")
        there = device is not None and torch.device(device).type == "cuda"
        if there or any(isinstance(leaf, FakeTensor) for leaf in leaves):
            with self.shapes:
                return function(*args, **(kwargs or {}))
        return function(*args, **(kwargs or {}))


class Asked(TorchDispatchMode):
    """Count the operations that would wait for a GPU, were it the device of what they are of."""

    def __init__(self):
        super().__init__()
        self.counts = Counter()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        indices = args[1] if str(function).startswith("aten.index") and len(args) > 1 else ()
        masks = isinstance(indices, list | tuple) and any(
            isinstance(i, torch.Tensor) and i.dtype in (torch.bool, torch.uint8) for i in indices
        )
        if str(function) in ASKING or masks:
            self.counts[str(function)] += 1
        return function(*args, **(kwargs or {}))
