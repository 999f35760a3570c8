"""The same bits every time on CUDA: what must be set, and for how long."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

_FILLED = "fill_uninitialized_memory"  # nothing here reads memory that it has not written, so it need not be filled


@contextmanager
def deterministic(device: torch.device) -> Iterator[None]:
    """Within this context a GPU gives the same bits whenever it computes the same.

    The backward passes of fused attention are deterministic in torch's strict mode only, where an operation without a
    deterministic kernel raises an error. The mode belongs to the process, threads of autograd included. Nothing changes
    on other devices, which are deterministic anyway.
    """
    if device.type != "cuda":
        yield
        return
    strict = torch.are_deterministic_algorithms_enabled()
    only_warned = torch.is_deterministic_algorithms_warn_only_enabled()
    filled = getattr(torch.utils.deterministic, _FILLED)
    torch.use_deterministic_algorithms(True)
    setattr(torch.utils.deterministic, _FILLED, False)
    try:
        yield
    finally:
        setattr(torch.utils.deterministic, _FILLED, filled)
        torch.use_deterministic_algorithms(strict, warn_only=only_warned)
