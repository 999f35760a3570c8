"""What CUDA does with operations in torch's deterministic mode, on a CPU: some are refused, and some wait."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten


def _floating(tensor: Tensor, *_: Any) -> bool:
    return tensor.is_floating_point()


def _always(*_: Any) -> bool:
    return True


def _weighted(_: Tensor, weights: Tensor | None = None, *__: Any) -> bool:
    return weights is not None


def _masked(_: Tensor, indices: Sequence[Tensor | None], *__: Any) -> bool:
    return any(each is not None and each.dtype in (torch.bool, torch.uint8) for each in indices)


def _in_a_matrix(tensor: Tensor, *_: Any) -> bool:
    return tensor.ndim > 1


REFUSED: Mapping[Any, Callable[..., bool]] = {
    aten.kthvalue: _always,  # before torch 2.11
    aten.cumsum: _floating,
    aten.cumsum_: _floating,
    aten.histc: _floating,
    aten.bincount: _weighted,
    aten.put_: _always,
    aten.median: lambda tensor, dim=None, *_: dim is not None,
    aten.nll_loss2d_forward: _always,
}
"""By operation, for which arguments torch raises an error; see `torch.use_deterministic_algorithms`."""
WAITS: Mapping[Any, Callable[..., bool]] = {
    aten._local_scalar_dense: _always,
    aten.nonzero: _always,
    aten.masked_select: _always,
    aten._unique2: _always,
    aten.equal: _always,
    aten.index: _masked,
    aten.index_put: _masked,
    aten.index_put_: _masked,
    # Their deterministic forms copy the strides of the tensor to the device.
    aten.scatter: _in_a_matrix,
    aten.scatter_: _in_a_matrix,
    aten.scatter_add: _in_a_matrix,
    aten.scatter_add_: _in_a_matrix,
}
"""By operation, for which arguments the host waits until the device has done all that it was asked for."""


class Strict(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Within this context, what CUDA refuses is refused, and what waits for it is counted, in this thread.

    Attributes:
        waits: How often, by operation.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.waits: Counter[str] = Counter()

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        packet = function.overloadpacket
        if packet in REFUSED and REFUSED[packet](*args):
            raise RuntimeError(f"{packet} does not have a deterministic implementation")
        if packet in WAITS and WAITS[packet](*args):
            self.waits[str(packet)] += 1
        return function(*args, **(kwargs or {}))
