"""Fully sharded training (FSDP2): each process keeps its part of weights, moments and teacher.

A block's weights are brought together while it computes, and gradients are summed where they are
kept. What is learned is what `DistributedDataParallel` learns, in less memory and for more traffic.
Checkpoints are whole: they are gathered on the first process, and go on with or without it.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.utils._pytree import register_dataclass, tree_map

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


def gathered(state: dict[str, Any], keep: bool) -> dict[str, Any]:
    """``state`` with whole tensors, those that were shared out on the CPU; all processes call it.

    keep: False where they are not wanted, for which None stands then.
    """

    def found(value: Any) -> Any:
        if not isinstance(value, DTensor):
            return value
        full = value.full_tensor()
        return full.cpu() if keep else None

    with torch.no_grad():
        values: dict[str, Any] = tree_map(found, state)
    return values
