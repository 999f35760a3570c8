"""Engines whose drivers and workers are killed."""

from __future__ import annotations

import importlib.util
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import psutil

from tests.ray_nodes import two_nodes
from tests.torture.lives import Stuck, descendants

GONE = 30.0
"""Seconds that workers have to notice that their driver is gone."""


@dataclass(frozen=True)
class Engine:
    """An engine.

    Attributes:
        name: What `--engine` takes.
        workers: Processes that run stages of a driver, given its number.
    """

    name: str
    workers: Callable[[int], Sequence[psutil.Process]]

    def idle(self, driver: int) -> None:
        """Wait until no worker of a driver that is gone runs a stage.

        Raises:
            Stuck: One does not end.
        """
        until = time.monotonic() + GONE
        while left := self.workers(driver):
            if time.monotonic() > until:
                raise Stuck(f"workers go on without their driver: {left}")
            time.sleep(0.2)


@contextmanager
def engine(name: str) -> Iterator[Engine | None]:
    """An engine, and for Ray its nodes; None where Ray is not installed."""
    if not name.startswith("ray"):
        yield Engine(name, _forked)
    elif importlib.util.find_spec("ray") is None:
        yield None
    else:
        with two_nodes() as nodes:
            os.environ["RAY_ADDRESS"] = nodes.address
            try:
                yield Engine(name, lambda driver: nodes.stages())
            finally:
                del os.environ["RAY_ADDRESS"]


def _forked(driver: int) -> list[psutil.Process]:
    return [each for each in descendants(driver) if _is_worker(each)]


def _is_worker(process: psutil.Process) -> bool:
    """Whether it started from nothing as a worker, or was forked from the process that workers are forked from."""
    try:
        parent = process.parent()
        lines = [process.cmdline(), parent.cmdline() if parent is not None else []]
    except psutil.Error:
        return False
    own, above = (" ".join(line) for line in lines)
    return "spawn_main" in own or "multiprocessing.forkserver" in above
