"""Fully sharded training (FSDP2): each process keeps its part of weights, moments and teacher.

A block's weights are brought together while it computes, and gradients are summed where they are
kept. What is learned is what `DistributedDataParallel` learns, in less memory and for more traffic.
Each process writes its part of a checkpoint, which goes on with or without all this.
"""

from typing import Any

from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, Shard, distribute_tensor
from torch.utils._pytree import register_dataclass, tree_map_with_path

from mt4ssl_core.distributed import World
from mt4ssl_core.model.context import Layer
from mt4ssl_core.model.mt4ssl import MT4SSL
from mt4ssl_core.model.targets import TargetLoss

register_dataclass(TargetLoss)  # or FSDP does not see where a backward begins


def shard(model: MT4SSL, world: World) -> None:
    """Share the parameters of ``model`` out among all processes, in place; all call it.

    They must be alike everywhere. Each transformer layer, of the teacher too, is brought together
    by itself, and all else at once.
    """
    mesh = init_device_mesh(world.device.type, (world.size,))
    layers = [module for module in model.modules() if isinstance(module, Layer)]
    for module in [*layers, model]:  # resharded also where no backward follows: teacher, validation
        fully_shard(module, mesh=mesh, reshard_after_forward=True)
    model.sharded = True


def is_sharded(model: nn.Module) -> bool:
    """Whether `shard` was called with it."""
    return isinstance(model, FSDPModule)


def part_like(value: Tensor, parameter: Tensor) -> Tensor:
    """This process's part of a whole ``value``, shared out as ``parameter`` is."""
    assert isinstance(parameter, DTensor)
    mesh, places = parameter.device_mesh, parameter.placements
    return distribute_tensor(value, mesh, places, src_data_rank=None)


def whole(tensor: Tensor) -> Tensor:
    """The whole of a tensor that may be shared out; then all processes call it."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def parted(state: dict[str, Any]) -> tuple[dict[str, Any], list[Tensor], list[dict[str, Any]]]:
    """Take what is shared out from ``state``.

    Returns:
        ``state`` with None in these places; this process's rows of each such tensor; and where each
        belongs, with the whole shape and the dtype (see `mt4ssl_core.checkpoints.parts`).
    """
    rows: list[Tensor] = []
    places: list[dict[str, Any]] = []

    def taken(path: Any, value: Any) -> Any:
        if not isinstance(value, DTensor):
            return value
        assert value.placements == (Shard(0),), value.placements
        kind = str(value.dtype).removeprefix("torch.")
        at = [step.key for step in path]
        rows.append(value.to_local())
        places.append({"at": at, "shape": list(value.shape), "dtype": kind})
        return None

    rest: dict[str, Any] = tree_map_with_path(taken, state)
    return rest, rows, places
