"""What an engine offers to recipes that run together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from layersig.engine.device import Device
from layersig.engine.study import Study
from layersig.engine.together import Pool
from layersig.recipe.load import LoadedRecipe
from layersig.recipe.schema import Recipe


@dataclass(frozen=True)
class Place:
    """Where stages run.

    Attributes:
        device: Describes the device there.
        pool: Makes the workers of studies; tasks refer to them by index.
        here: Whether it is this machine, so that its memory and devices can be asked about before anything runs.
    """

    device: Callable[[Recipe], Device]
    pool: Callable[[Sequence[Study]], AbstractContextManager[Pool]]
    here: bool


class Engine(Protocol):
    """A way to run stages in other processes."""

    def opened(self, every: Sequence[LoadedRecipe], say: Callable[[str], None]) -> AbstractContextManager[Place]:
        """Make the place ready.

        Args:
            every: The recipes that will run.
            say: Shows a line.

        Raises:
            LayersigError: The recipes cannot run there, or it cannot be reached.
        """
