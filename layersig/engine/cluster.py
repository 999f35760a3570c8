"""Workers of a Ray cluster: a stage is a task of Ray, with the resources that it needs."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, Self

from layersig.engine.remote import Died, Finished, Message, Occupied, Refused, Setting, Site, Task
from layersig.errors import MachineError, StageFailed, one_line
from layersig.pipeline import Stage

_AHEAD = 2
"""Stages handed to the cluster beyond its room: the next one starts at once, and autoscalers see the demand."""
_REFRESH = 2.0
"""Seconds for which what is known of the nodes is used."""
_GATHER = 0.5
"""Seconds for which a stage's messages are gathered."""
_LAG = 90.0
"""Seconds after which every node sees what another one has written: attributes on NFS are cached for up to 60."""


@dataclass(frozen=True)
class Nodes:
    """What the nodes of a cluster have.

    Attributes:
        every: Resources of each, as Ray names them.
    """

    every: tuple[Mapping[str, float], ...]

    @classmethod
    def alive(cls) -> Self:
        """The nodes of the cluster that this process has joined."""
        import ray

        return cls(tuple(node["Resources"] for node in ray.nodes() if node["Alive"]))

    def largest(self, resource: str) -> float:
        """What the node has that has most of it."""
        return max((node.get(resource, 0.0) for node in self.every), default=0.0)

    def share(self) -> int:
        """CPUs that come with a GPU on every node that has one."""
        shares = [node.get("CPU", 0.0) / node["GPU"] for node in self.every if node.get("GPU", 0.0)]
        return max(1, int(min(shares, default=1.0)))

    def room(self, cpus: int, gpus: int) -> int:
        """How many stages run at once that take so much each, whatever memory they need."""
        wanted = {"CPU": float(cpus), "GPU": float(gpus)}
        return sum(
            min(int(node.get(name, 0.0) // amount) for name, amount in wanted.items() if amount) for node in self.every
        )


@dataclass(frozen=True)
class Needs:
    """What the stages of a graph need.

    Attributes:
        cpus: CPUs of a stage that runs a model; others need one.
        gpus: GPUs of a stage that runs a model.
        memory: Bytes of main memory by stage, where known.
    """

    cpus: int
    gpus: int
    memory: Mapping[str, float]

    def of(self, stage: Stage, most: float) -> dict[str, float]:
        """Options of a task of Ray; its memory is an estimate, so none asks for more than the largest node has."""
        memory = min(self.memory.get(stage.id, 0.0), most)
        resources = (self.cpus, self.gpus) if stage.computes else (1, 0)
        return {"num_cpus": resources[0], "num_gpus": resources[1], **({"memory": int(memory)} if memory else {})}


class Cluster:
    """Workers on a Ray cluster: one for each stage that fits on it; a busy worker is a task of Ray.

    Args:
        settings: What tasks refer to.
        needs: What their stages need.
    """

    most_starts = 4  # nodes come and go
    advice = "if memory ran out, use nodes with more of it"

    def __init__(self, settings: Sequence[Setting], needs: Sequence[Needs]) -> None:
        import ray

        self._settings = ray.put(tuple(settings))
        self._needs = needs
        self._cpus, self._gpus = max(each.cpus for each in needs), max(each.gpus for each in needs)
        self._streams: dict[int, Any] = {}
        self._nodes, self._asked = Nodes(()), float("-inf")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        import ray

        for stream in self._streams.values():
            ray.cancel(stream, force=True)
        deadline = time.monotonic() + 20.0
        for stream in self._streams.values():  # so that its locks are free when this process ends
            ray.wait([stream.completed()], timeout=max(0.0, deadline - time.monotonic()))

    @property
    def idle(self) -> list[int]:
        """Numbers that are free."""
        if time.monotonic() - self._asked > _REFRESH:
            self._nodes, self._asked = Nodes.alive(), time.monotonic()
        room = self._nodes.room(self._cpus, self._gpus) + _AHEAD
        return [number for number in range(room) if number not in self._streams]

    def start(self, number: int, task: Task) -> None:
        """Give the cluster a task."""
        import ray

        needs = self._needs[task.setting]
        run = ray.remote(_run).options(
            **needs.of(task.stage, self._nodes.largest("memory")),
            max_retries=0,
            num_returns="streaming",
            name=task.stage.id,
        )
        self._streams[number] = run.remote(self._settings, task, needs.cpus)

    def messages(self, timeout: float | None) -> Iterator[tuple[int, Message | Died]]:
        """Messages of the stages: at least one, unless the time runs out."""
        import ray

        numbers = {stream: number for number, stream in self._streams.items()}
        ready, _ = ray.wait(list(numbers), timeout=timeout)
        for stream in ready:
            for message in _received(stream):
                if isinstance(message, Finished | Occupied | Refused | Died):
                    del self._streams[numbers[stream]]
                yield numbers[stream], message


def _received(stream: Any) -> Sequence[Message | Died]:
    """What a stage says next."""
    import ray

    try:
        messages: Sequence[Message | Died] = ray.get(next(stream))
    except StopIteration:
        return [Died("it ended without a result")]
    except ray.exceptions.RayTaskError as error:  # before or beside the stage: what cannot be imported there, say
        return [Refused(None, MachineError(f"a node cannot run it: {one_line(error.cause or error)}"))]
    except ray.exceptions.RayError as error:
        return [Died(one_line(error))]
    last = messages[-1]
    if isinstance(last, Finished) and last.how.entry is not None and not appears(last.how.entry.out):
        return [Refused(None, not_shared(last.how.entry.out))]
    return messages


def _run(settings: Sequence[Setting], task: Task, threads: int) -> Iterator[list[Message]]:
    """On a node: run a task in a thread of its own, and hand its messages on as they come."""
    use_threads(threads)
    queue: SimpleQueue[Message] = SimpleQueue()

    def work() -> None:
        try:
            Site(settings, queue.put).run(task)
        except BaseException as error:
            queue.put(Refused(None, StageFailed(f"{type(error).__name__}: {one_line(error)}")))

    threading.Thread(target=work, name="stage", daemon=True).start()
    while True:
        messages = _gathered(queue)
        yield messages
        if isinstance(messages[-1], Finished | Occupied | Refused):
            return


def _gathered(queue: SimpleQueue[Message]) -> list[Message]:
    """The next messages, at least one and at most up to the last one of the stage."""
    messages = [queue.get()]
    until = time.monotonic() + _GATHER
    while not isinstance(messages[-1], Finished | Occupied | Refused):
        try:
            messages.append(queue.get(timeout=max(0.0, until - time.monotonic())))
        except Empty:
            break
    return messages


def use_threads(count: int) -> None:
    """Compute with so many threads, as fingerprints say."""
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # as the command line does
    os.environ |= {"OMP_NUM_THREADS": str(count), "MKL_NUM_THREADS": str(count)}
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(count)


def appears(path: Path) -> bool:
    """Whether a path that another node has written is here, or comes within the time that file systems take."""
    until = time.monotonic() + (_LAG if path.parent.parent.exists() else 0.0)
    while not path.exists():
        if time.monotonic() > until:
            return False
        time.sleep(1.0)
    return True


def not_shared(path: Path, who: str = "this machine") -> MachineError:
    """What is wrong where a node does not see what another one wrote."""
    return MachineError(
        f"{who} does not see {path}: LAYERSIG_CACHE has to name a folder on storage that all nodes share, at the "
        "same path"
    )
