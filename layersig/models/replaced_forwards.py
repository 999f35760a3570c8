"""Forwards of single modules replaced for a while."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import nn


@contextmanager
def replaced_forwards(changed: Mapping[nn.Module, Callable[..., Any]]) -> Iterator[None]:
    """Within this context modules run the given functions; what else had wrapped them is put back afterwards."""
    with ExitStack() as stack:
        for module, forward in changed.items():
            if "forward" in vars(module):
                stack.callback(setattr, module, "forward", module.forward)
            else:
                stack.callback(delattr, module, "forward")
            module.forward = forward
        yield
