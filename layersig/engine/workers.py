"""Worker processes on this machine, each with a GPU of its own, or with its share of the processor's threads."""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Self

from layersig.engine.remote import Died, Finished, Message, Occupied, Refused, Setting, Site, Task
from layersig.engine.template import no_interrupts, spawning, variables_set
from layersig.errors import MachineError, one_line

_PATIENCE = 20.0
"""Seconds that a worker has to clean up after an interruption."""


class Workers:
    """A number of worker processes; each starts with its first task, and again after it died.

    Args:
        count: How many.
        settings: What tasks refer to.
        environment: Variables that each worker gets besides those of this process.
        context: How a worker starts.
    """

    most_starts = 2
    advice = "if memory ran out, use fewer workers"

    def __init__(
        self,
        count: int,
        settings: Sequence[Setting],
        environment: Sequence[Mapping[str, str]] = (),
        context: BaseContext | None = None,
    ) -> None:
        self._settings = tuple(settings)
        self._environment = environment or [{}] * count
        self._context = spawning() if context is None else context
        self._processes: list[tuple[BaseProcess, Connection] | None] = [None] * count
        self._busy: set[int] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        processes = []
        for number, (process, pipe) in ((n, pair) for n, pair in enumerate(self._processes) if pair is not None):
            processes.append(process)
            if number in self._busy:
                process.terminate()
            pipe.close()  # ends a worker without a task
        try:
            for process in processes:
                process.join(_PATIENCE)
        finally:
            for process in processes:
                process.kill()
                process.join()

    @property
    def idle(self) -> list[int]:
        """Workers without a task."""
        return [number for number in range(len(self._processes)) if number not in self._busy]

    def start(self, number: int, task: Task) -> None:
        """Give an idle worker a task.

        Raises:
            MachineError: Its process cannot be started.
        """
        try:
            pipe = self._connection(number)
        except (OSError, EOFError) as error:
            raise MachineError(f"a worker process cannot be started ({one_line(error)}); use fewer workers") from error
        self._busy.add(number)
        with contextlib.suppress(OSError):  # a worker that just died: `messages` finds out
            pipe.send(task)

    def messages(self, timeout: float | None) -> Iterator[tuple[int, Message | Died]]:
        """Messages of workers with tasks: at least one, unless the time runs out."""
        pipes = {pair[1]: number for number, pair in enumerate(self._processes) if pair and number in self._busy}
        for pipe in wait(list(pipes), timeout):
            assert isinstance(pipe, Connection)
            number = pipes[pipe]
            try:
                message: Message | Died = pipe.recv()
            except (EOFError, OSError):
                message = self._remove(number)
            if isinstance(message, Finished | Occupied | Refused | Died):
                self._busy.discard(number)
            yield number, message

    def _connection(self, number: int) -> Connection:
        pair = self._processes[number]
        if pair is not None and not pair[0].is_alive():
            self._remove(number)
            pair = None
        if pair is None:
            here, there = self._context.Pipe()
            with variables_set(self._environment[number]), no_interrupts():
                arguments = (there, self._settings, dict(os.environ))
                process = self._context.Process(target=_serve, args=arguments, name=f"layersig-worker-{number}")  # type: ignore[attr-defined]
                process.start()
            there.close()
            pair = self._processes[number] = (process, here)
        return pair[1]

    def _remove(self, number: int) -> Died:
        pair = self._processes[number]
        assert pair is not None
        process, pipe = pair
        pipe.close()
        process.join(_PATIENCE)  # its end of the pipe is closed a moment before it is gone
        process.kill()
        process.join()
        self._processes[number] = None
        return Died(_cause(process.exitcode))


def environments(count: int, threads: int, cards: Sequence[str]) -> list[dict[str, str]]:
    """Variables of the environment by which workers share the machine.

    Args:
        count: Number of workers.
        threads: Threads of each.
        cards: GPUs as `CUDA_VISIBLE_DEVICES` names them, given out in turn.
    """
    shared = {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    return [
        {**shared, **({"CUDA_VISIBLE_DEVICES": cards[number % len(cards)]} if cards else {})} for number in range(count)
    ]


def _cause(exitcode: int | None) -> str:
    """Why a process is gone."""
    if exitcode is None or exitcode >= 0:
        return f"exit code {exitcode}"
    memory = ", as the system does when memory runs out" if -exitcode == signal.SIGKILL else ""
    return f"killed by {signal.Signals(-exitcode).name}{memory}"


def _serve(pipe: Connection, settings: Sequence[Setting], environment: Mapping[str, str]) -> None:
    """Run tasks until the process that started this one closes the pipe, ends or interrupts it."""
    os.environ.clear()
    os.environ.update(environment)
    if "torch" in sys.modules and "OMP_NUM_THREADS" in environment:  # it was imported with other variables
        sys.modules["torch"].set_num_threads(int(environment["OMP_NUM_THREADS"]))
    # Ctrl-C in a terminal reaches every process of the group; the driver alone decides what ends, and how.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    gc.freeze()  # what was imported before the fork stays, and its memory shared
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with contextlib.suppress(EOFError, KeyboardInterrupt, BrokenPipeError, ConnectionResetError):
        site = Site(settings, pipe.send)
        while True:
            site.run(pipe.recv())
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)  # its locks on the cache are freed only now, so nobody builds beside it
