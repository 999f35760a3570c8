"""Runs the stages of several graphs in several processes: what is ready starts, the longest path first."""

from __future__ import annotations

import time
from bisect import insort
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from layersig.engine.alike import AlikeFailures
from layersig.engine.execute import Ended, Executor, Listener
from layersig.engine.nodes import Node, output_node
from layersig.engine.progress import Display, StageReporter
from layersig.engine.remote import Died, Finished, Message, Occupied, Progressed, Refused, Started, Task, Warned
from layersig.errors import LayersigError
from layersig.pipeline import Graph, Stage

_AGAIN = 0.5
"""Seconds after which an output that another process is building is looked for again."""
_LIGHT = 0.01
"""What a stage that runs no model counts on a path, where one that does counts 1."""


class Pool(Protocol):
    """Workers, wherever they are.

    Attributes:
        most_starts: How often a stage is started whose worker dies.
        advice: What helps where a stage's workers die again and again.
    """

    most_starts: int
    advice: str

    @property
    def idle(self) -> Sequence[int]:
        """Numbers of the workers that can take a task."""

    def start(self, number: int, task: Task) -> None:
        """Give an idle worker a task."""

    def messages(self, timeout: float | None) -> Iterator[tuple[int, Message | Died]]:
        """Messages of workers with tasks: at least one, unless the time runs out."""


@dataclass
class Part:
    """One graph among those that run together.

    Attributes:
        name: For messages, where there are several.
        graph: The graph.
        executor: Finds what the cache holds.
        nodes: Sources, and the outputs of finished stages.
        publisher: Is informed of every stage.
        ended: Status of every stage that ended.
    """

    name: str
    graph: Graph
    executor: Executor
    nodes: dict[str, Node]
    publisher: Listener
    ended: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._readers: dict[str, list[Stage]] = {}
        for stage in self.graph.stages:
            for node in {each.node for each in stage.inputs.values()}:
                self._readers.setdefault(node, []).append(stage)

    @property
    def complete(self) -> bool:
        """Whether every stage is done."""
        return all(self.ended.get(stage.id) == "done" for stage in self.graph.stages)

    def readers(self, stage: Stage) -> Sequence[Stage]:
        """The stages that read its output."""
        return self._readers.get(stage.id, ())

    def end(self, stage: Stage, how: Ended) -> None:
        """A stage ended."""
        self.ended[stage.id] = how.status
        if how.entry is not None:
            self.nodes[stage.id] = output_node(how.entry)
        self.publisher.ended(stage, how)


@dataclass(eq=False)
class _Waiting:
    """A stage whose inputs are there, and whose output was not."""

    part: int
    stage: Stage
    key: str
    weight: float
    starts: int = 0
    occupied_until: float = 0.0
    look_again: bool = False
    reporter: StageReporter | None = None


class Together:
    """Runs several graphs on the same workers.

    Args:
        parts: The graphs; a setting of the workers has the same index.
        workers: Where stages run.
        display: Shows them all.
        reuse: False runs every stage again.
        stop_after: How many stages of a kind may fail in a row with the same error.
    """

    def __init__(
        self, parts: Sequence[Part], workers: Pool, display: Display, *, reuse: bool = True, stop_after: int = 5
    ) -> None:
        self._parts = parts
        self._workers = workers
        self._display = display
        self._reuse = reuse
        self._failures = AlikeFailures(stop_after)
        self._weights = [path_weights(part.graph) for part in parts]
        self._decided: deque[tuple[int, Stage]] = deque(
            (number, stage) for number, part in enumerate(parts) for stage in part.graph.stages
        )
        self._collected: set[tuple[int, str]] = set()
        self._ready: list[_Waiting] = []
        self._running: dict[int, _Waiting] = {}

    def run(self) -> None:
        """Run what is missing; a stage that fails stops only what reads it.

        Raises:
            LayersigError: As `Executor.run` has it, or too many stages failed alike.
            KeyboardInterrupt: As `Executor.run` has it.
        """
        while True:
            self._collect()
            self._start()
            if not self._running and not self._ready:
                return
            if not self._running:
                time.sleep(_AGAIN)  # other processes are building all that is ready
                continue
            timeout = _AGAIN if self._ready and self._workers.idle else None
            for number, message in self._workers.messages(timeout):
                self._handle(number, message)

    def _collect(self) -> None:
        """Find the stages whose inputs are decided by now: at first among all, then among readers of what ended."""
        while self._decided:
            number, stage = self._decided.popleft()
            if (number, stage.id) not in self._collected and self._is_collected(number, stage):
                self._collected.add((number, stage.id))

    def _is_collected(self, number: int, stage: Stage) -> bool:
        part = self._parts[number]
        read = {each.node for each in stage.inputs.values()}
        if any(part.ended.get(node, "done") != "done" for node in read):
            self._end(number, stage, Ended("missing"))
            return True
        if not read <= part.nodes.keys():
            return False
        waiting = _Waiting(
            number, stage, part.executor.key(stage, part.nodes), self._weights[number][stage.id], look_again=True
        )
        if not self._found(waiting):
            self._put(waiting)
        return True

    def _end(self, number: int, stage: Stage, how: Ended) -> None:
        part = self._parts[number]
        part.end(stage, how)
        self._decided.extend((number, reader) for reader in part.readers(stage))
        self._failures.count(stage, how)

    def _put(self, waiting: _Waiting) -> None:
        """Let a stage wait for a worker, the longest path first, else in the order of the graphs."""
        insort(self._ready, waiting, key=lambda each: -each.weight)

    def _found(self, waiting: _Waiting) -> bool:
        """Whether the cache holds the output by now, if that is not known."""
        part = self._parts[waiting.part]
        entry = part.executor.find(waiting.stage, part.nodes) if self._reuse and waiting.look_again else None
        waiting.look_again = False
        if entry is not None:
            self._end(waiting.part, waiting.stage, Ended("done", waiting.key, cached=True, entry=entry))
        return entry is not None

    def _start(self) -> None:
        """Give idle workers what is ready; stages of the same fingerprint run once, the others find its output."""
        now, idle = time.monotonic(), list(self._workers.idle)
        keys = {waiting.key for waiting in self._running.values()}
        passed: list[_Waiting] = []
        while idle and self._ready:
            waiting = self._ready.pop(0)
            if waiting.occupied_until > now:
                passed.append(waiting)
            elif waiting.key in keys:
                waiting.look_again = True
                passed.append(waiting)
            elif self._found(waiting):
                self._collect()
            elif (part := self._parts[waiting.part]).executor.at_work(waiting.key):
                waiting.occupied_until, waiting.look_again = now + _AGAIN, True
                passed.append(waiting)
            else:
                number = idle.pop(0)
                keys.add(waiting.key)
                self._running[number] = waiting
                waiting.starts += 1
                self._workers.start(number, Task.of(waiting.part, waiting.stage, part.nodes, waiting.key))
        for waiting in passed:
            self._put(waiting)

    def _handle(self, number: int, message: Message | Died) -> None:
        waiting = self._running[number]
        part = self._parts[waiting.part]
        match message:
            case Started():
                waiting.reporter = self._display.stage(waiting.stage, number, self._label(part), self._done)
                part.publisher.started(waiting.stage, waiting.key)
            case Progressed(method, arguments, named):
                getattr(waiting.reporter, method)(*arguments, **named)
            case Warned(text):
                self._display.say(f"warning: {text}")
            case Finished(how):
                self._release(number)
                self._end(waiting.part, waiting.stage, how)
            case Occupied():
                self._release(number)
                waiting.starts -= 1
                waiting.occupied_until, waiting.look_again = time.monotonic() + _AGAIN, True
                self._put(waiting)
            case Refused(how, error):
                self._release(number)
                raise self._error(part, waiting.stage, how, error)
            case Died():
                self._release(number)
                self._start_again(waiting, message.cause)

    def _start_again(self, waiting: _Waiting, cause: str) -> None:
        if waiting.starts < self._workers.most_starts:
            label = f"{self._label(self._parts[waiting.part])} {waiting.stage.id}".strip()
            self._display.say(f"warning: {label}: its worker process ended ({cause}); it runs again")
            self._put(waiting)
            return
        times = "twice" if waiting.starts == 2 else f"{waiting.starts} times"
        error = f"its worker process ended {times} ({cause}); {self._workers.advice}"
        self._end(waiting.part, waiting.stage, Ended("failed", waiting.key, error=error))

    def _error(self, part: Part, stage: Stage, how: Ended | None, error: LayersigError) -> LayersigError:
        if how is None:
            return error.at(stage.id)
        part.publisher.ended(stage, how)
        return error

    def _release(self, number: int) -> None:
        del self._running[number]
        self._display.clear(number)

    @property
    def _done(self) -> str:
        """How many stages of all graphs have ended."""
        ended = sum(len(part.ended) for part in self._parts)
        every = sum(len(part.graph.stages) for part in self._parts)
        return f"[{ended}/{every} done]"

    def _label(self, part: Part) -> str:
        return part.name if len(self._parts) > 1 else ""


def path_weights(graph: Graph) -> Mapping[str, float]:
    """How long the longest path is that begins with a stage, in stages that run a model."""
    weights: dict[str, float] = {}
    after: dict[str, float] = {}
    for stage in reversed(graph.stages):
        weights[stage.id] = after.get(stage.id, 0.0) + (1.0 if stage.computes else _LIGHT)
        for each in stage.inputs.values():
            after[each.node] = max(after.get(each.node, 0.0), weights[stage.id])
    return weights
