"""A model split among processes by FSDP2, for what does not fit on one device.

Blocks are split: each process holds some rows of every weight, and a block is gathered only while it runs.
Embedding, final norm and output head stay whole in every process. So do parameters that are added afterwards, such as
the factors of LoRA and the scores of a mask: they are small, and summing their gradients is the runner's business.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor


def split_blocks(model: nn.Module, blocks: Iterable[nn.Module], device: torch.device, dtype: torch.dtype) -> None:
    """Split the parameters of blocks among all processes, in place, block by block; it cannot be undone.

    Parameters that require a gradient may be wider than `dtype`: they are cast while they are gathered, and their
    gradients are summed, not averaged, in their own type.

    Args:
        model: The model, on the CPU or on `device`, where all of it lies afterwards.
        blocks: Modules of it that run one after the other.
        device: The device of this process.
        dtype: What the model computes in.
    """
    mesh = init_device_mesh(device.type, (dist.get_world_size(),))
    outside = set(model.parameters())
    for block in blocks:
        outside -= set(block.parameters())
        wide = torch.promote_types(dtype, torch.float32)
        policy = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=wide, cast_forward_inputs=False)
        part = fully_shard(block, mesh=mesh, mp_policy=policy, reshard_after_forward=True)
        part.set_force_sum_reduction_for_comms(True)
        part.set_gradient_divide_factor(1.0)
    # The model is a root without parameters, so that blocks are gathered ahead of their turn.
    fully_shard(model, mesh=mesh, ignored_params=outside)
    model.to(device)


def whole(tensor: Tensor) -> Tensor:
    """The tensor itself, gathered if it is split: all processes must ask for it together."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def local(tensor: Tensor) -> Tensor:
    """What this process holds of a tensor."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def split_like(value: Tensor, other: Tensor) -> Tensor:
    """A tensor that all processes have, split like another one of its shape; where that is not split, on its device."""
    value = value.to(other.device)
    if not isinstance(other, DTensor) or value.shape != other.shape:
        return value
    return distribute_tensor(value, other.device_mesh, other.placements, src_data_rank=None)
