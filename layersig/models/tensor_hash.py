"""Hashes of tensors' values, to prove that something was left as it was."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


def hash_values(tensors: Iterable[Tensor]) -> tuple[int, ...]:
    """One 64-bit number per tensor, the same for the same values; computed where the tensor lies."""
    # torch has the kernel for CPU and CUDA alone
    here = (tensor.detach().cpu() if tensor.is_mps else tensor.detach() for tensor in tensors)
    return tuple(int(torch.hash_tensor(tensor).view(torch.int64)) for tensor in here)
