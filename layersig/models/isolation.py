"""Seeds the global random generators for code that knows no others, and puts them back."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def isolated(seed: int) -> Iterator[None]:
    """Run a block with the global generators of torch (every device), NumPy and Python seeded, then restore them.

    Args:
        seed: Any non-negative integer below 2**63, such as `Streams.number` gives.
    """
    python_state = random.getstate()
    numpy_state = np.random.get_state()  # noqa: NPY002
    mps_state = torch.mps.get_rng_state() if torch.backends.mps.is_available() else None
    # named, since torch warns on machines with several GPUs otherwise; unused ones have no state to keep
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()  # type: ignore[no-untyped-call]
    with torch.random.fork_rng(devices):
        try:
            random.seed(seed)
            # a third word, since Python's generator is the same and would be seeded with the first two
            np.random.seed([seed % 2**32, seed >> 32, 1])  # noqa: NPY002
            torch.manual_seed(seed)
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)  # noqa: NPY002
            if mps_state is not None:
                torch.mps.set_rng_state(mps_state)
