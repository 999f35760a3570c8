"""What a process does that was started as one of several; torch is imported only then."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from layersig.distributed.launch import Launch

if TYPE_CHECKING:
    from layersig.distributed.crew import Driver


def follow(launch: Launch) -> None:
    """As one of the processes after the first: run stages with it until the run has ended.

    Raises:
        UserError: As `Launch.take_card`.
    """
    launch.take_card()
    from layersig.distributed.crew import follow as run_along

    run_along(launch)


@contextmanager
def driving(launch: Launch | None, *, sharded: bool) -> Iterator[Driver | None]:
    """Within this context the first process of a launch drives the others; None for a single process.

    Args:
        launch: How this process was started; None for a single one.
        sharded: Whether the model is split among the processes.

    Raises:
        UserError: As `Launch.take_card`.
    """
    if launch is None:
        yield None
        return
    launch.take_card()
    from layersig.distributed.crew import Driver

    with Driver(launch, sharded=sharded) as driver:
        yield driver
