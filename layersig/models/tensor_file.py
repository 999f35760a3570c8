"""Writes files of safetensors one tensor at a time, so that no second copy of all of them is ever in memory."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from layersig.distributed.sharding import whole

_KINDS = {
    torch.bool: "BOOL",
    torch.uint8: "U8",
    torch.int8: "I8",
    torch.int16: "I16",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int32: "I32",
    torch.float32: "F32",
    torch.float64: "F64",
    torch.int64: "I64",
}
"""Names of types, in the order in which safetensors counts them."""
_ORDER = {dtype: number for number, dtype in enumerate(_KINDS)}
_ALIGNMENT = 8


@dataclass(frozen=True, slots=True, eq=False)
class Later:
    """A tensor that is made when its turn to be written comes.

    Attributes:
        dtype: Its type.
        shape: Its shape.
        make: Makes it.
    """

    dtype: torch.dtype
    shape: tuple[int, ...]
    make: Callable[[], Tensor]

    @property
    def nbytes(self) -> int:
        """Its bytes."""
        return self.dtype.itemsize * torch.Size(self.shape).numel()


def later(tensor: Tensor) -> Later:
    """A tensor that exists; one that is split among processes is gathered."""
    return Later(tensor.dtype, tuple(tensor.shape), partial(whole, tensor))


def write_tensors(path: Path, tensors: Mapping[str, Later], metadata: Mapping[str, str] | None = None) -> None:
    """Write the bytes that `safetensors.torch.save_file` writes, with one tensor at a time on the CPU.

    Args:
        path: Target; it is on the disk when this returns.
        tensors: What to write, by name.
        metadata: Entries of the header.

    Raises:
        ValueError: A tensor is not what its `Later` says.
    """
    order = sorted(tensors, key=lambda name: (-_ORDER[tensors[name].dtype], name))
    header: dict[str, object] = {} if not metadata else {"__metadata__": dict(metadata)}
    start = 0
    for name in order:
        each = tensors[name]
        header[name] = {
            "dtype": _KINDS[each.dtype],
            "shape": list(each.shape),
            "data_offsets": [start, start + each.nbytes],
        }
        start += each.nbytes
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little"))
        file.write(text)
        for name in order:
            _put(file, name, tensors[name])
        file.flush()
        os.fsync(file.fileno())


def _put(file: BinaryIO, name: str, each: Later) -> None:
    value = each.make().detach()
    if value.dtype != each.dtype or tuple(value.shape) != each.shape:
        raise ValueError(f"{name} is {value.dtype} {tuple(value.shape)}, not {each.dtype} {each.shape}")
    file.write(value.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
