"""How worker processes start: forked from a process that has imported what stages need, or from nothing.

The imports of one worker take seconds, and more where all workers import at once. The process that they are forked from
imports while the run is still being prepared, and shares its memory with them. It must not have touched a GPU, so
workers with GPUs start from nothing.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from multiprocessing.context import BaseContext

logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # as the command line does


def spawning() -> BaseContext:
    """Workers that start from nothing."""
    return multiprocessing.get_context("spawn")


def forking(modules: Sequence[str], threads: int) -> BaseContext:
    """Workers that are forked from a process with these modules, which starts now; on Linux only.

    Args:
        modules: What it imports.
        threads: Threads of a worker.
    """
    if not sys.platform.startswith("linux"):
        return spawning()
    from multiprocessing import forkserver

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, *modules])
    # A pool of OpenMP threads does not survive a fork, so none may be started; numpy's own pool does.
    variables = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    with variables_set(variables), no_interrupts():
        forkserver.ensure_running()
    return context


@contextlib.contextmanager
def variables_set(more: Mapping[str, str]) -> Iterator[None]:
    """Within the block, processes start with these variables of the environment."""
    before = {name: os.environ.get(name) for name in more}
    os.environ.update(more)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextlib.contextmanager
def no_interrupts() -> Iterator[None]:
    """Within the block, Ctrl-C waits, here and in processes that start; Windows has nothing like it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
