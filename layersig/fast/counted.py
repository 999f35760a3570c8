"""Dropout masks as a function of counters, so that they are computed wherever they are needed and never kept.

Whether an entry is dropped is a hash of its column and of a key of its row, in 32-bit integers alone: the same bits on
every device, whatever its number of multiprocessors, and in any cut into batches. The hash is Wellons' `lowbias32`
(https://github.com/skeeto/hash-prospector), applied twice with one half of a 64-bit key before each; keys are mixed by
the finalizer of SplitMix64 (Steele et al., OOPSLA 2014).

On a GPU with Triton the functions are compiled by torch, each into one kernel. Plain twin: the same functions, not
compiled.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

LEVELS = 1 << 16
"""Probabilities are multiples of 1 / LEVELS."""


def row_keys(rows: Tensor, module: Tensor) -> Tensor:
    """Keys of the rows of one module's input.

    Args:
        rows: int64 [n], one number for each row, unique to its example, step and place in the example.
        module: int64 scalar, unique to the module.

    Returns:
        int32 [2, n].
    """
    return _call(_row_keys, rows, module)


def masked(x: Tensor, keys: Tensor, threshold: int) -> Tensor:
    """The entries of x that are kept, and 0 in place of those that are dropped.

    Args:
        x: [n, width].
        keys: int32 [2, n], of `row_keys`.
        threshold: Of `LEVELS` entries so many are dropped.
    """
    if x.is_meta:  # where memory is counted: the one kernel allocates its result alone
        return torch.empty_like(x)
    return _call(_masked, x, keys, threshold)


def _row_keys(rows: Tensor, module: Tensor) -> Tensor:
    z = rows ^ module
    z = (z ^ ((z >> 30) & 0x3FFFFFFFF)) * -0x40A7B892E31B1A47
    z = (z ^ ((z >> 27) & 0x1FFFFFFFFF)) * -0x6B2FB644ECCEEE15
    z = z ^ ((z >> 31) & 0x1FFFFFFFF)
    # Halves as signed numbers: where a number is out of range, what a conversion gives is the device's business.
    halves = torch.stack([z & 0xFFFFFFFF, (z >> 32) & 0xFFFFFFFF])
    return torch.where(halves >= 1 << 31, halves - (1 << 32), halves).to(torch.int32)


def _masked(x: Tensor, keys: Tensor, threshold: int) -> Tensor:
    columns = torch.arange(x.shape[-1], dtype=torch.int32, device=x.device)
    first, second = keys[0][:, None], keys[1][:, None]
    draws = _lowbias32(_lowbias32(columns + first) ^ second) & (LEVELS - 1)
    return torch.where(draws >= threshold, x, torch.zeros_like(x))


def _lowbias32(z: Tensor) -> Tensor:
    # Shifts of signed integers repeat the sign, which is cut off again; products wrap around.
    z = (z ^ ((z >> 16) & 0xFFFF)) * 0x7FEB352D
    z = (z ^ ((z >> 15) & 0x1FFFF)) * -0x7B935975
    return z ^ ((z >> 16) & 0xFFFF)


def _call(function: Callable[..., Tensor], x: Tensor, *args: Any) -> Tensor:
    return (_compiled(function) if x.is_cuda and _compiles(x.device) else function)(x, *args)


@cache
def _compiled(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return torch.compile(function, dynamic=True)


@cache
def _compiles(device: torch.device) -> bool:
    """Whether compiled functions run on a device and give the same bits: they need Triton, and Triton a C compiler."""
    if find_spec("triton") is None:
        return False
    rows = torch.arange(7, device=device)
    module, x = torch.tensor(5, device=device), torch.ones(7, 33, device=device)
    plain = _row_keys(rows, module)
    try:
        keys = _compiled(_row_keys)(rows, module)
        found = _compiled(_masked)(x, keys, LEVELS // 2)
    except (torch.OutOfMemoryError, torch.AcceleratorError):
        raise
    except Exception:  # what a compiler may raise is beyond knowing
        return False
    return torch.equal(keys, plain) and torch.equal(found, _masked(x, plain, LEVELS // 2))
