"""How many operators a piece of work dispatches, and how often it asks for a value."""

from torch.utils._python_dispatch import TorchDispatchMode

_READS = {"aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select", "aten::equal"}


class Dispatched(TorchDispatchMode):
    """Counts what is dispatched inside, backward too.

    Attributes:
        operators: that compute, a kernel or more each on a GPU; views are free.
        reads: of a value or of a size that depends on values, for which a GPU would be waited for
            if the tensor were there (lengths are on the CPU).
    """

    def __init__(self) -> None:
        super().__init__()
        self.operators, self.reads = 0, 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        self.operators += not function.is_view
        self.reads += function.name().split(".")[0] in _READS
        return function(*args, **(kwargs or {}))
