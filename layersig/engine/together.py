"""Runs the stages of several graphs in several processes: what is ready starts, the longest path first."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from layersig.engine.execute import Ended, Executor, Listener, Node, output_node
from layersig.engine.progress import Display, StageReporter
from layersig.engine.remote import Finished, Message, Occupied, Progressed, Refused, Started, Task, Warned
from layersig.engine.workers import Died, Workers
from layersig.errors import LayersigError, StageFailed
from layersig.pipeline import Graph, Stage

_AGAIN = 0.5
"""Seconds after which an output that another process is building is looked for again."""
_MOST_STARTS = 2
"""How often a stage is started whose worker dies."""
_LIGHT = 0.01
"""What a stage that runs no model counts on a path, where one that does counts 1."""


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

    @property
    def complete(self) -> bool:
        """Whether every stage is done."""
        return all(self.ended.get(stage.id) == "done" for stage in self.graph.stages)

    def end(self, stage: Stage, how: Ended) -> None:
        """A stage ended."""
        self.ended[stage.id] = how.status
        if how.entry is not None:
            self.nodes[stage.id] = output_node(how.entry)
        self.publisher.ended(stage, how)


@dataclass
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
    """

    def __init__(self, parts: Sequence[Part], workers: Workers, display: Display, *, reuse: bool = True) -> None:
        self._parts = parts
        self._workers = workers
        self._display = display
        self._reuse = reuse
        self._weights = [path_weights(part.graph) for part in parts]
        self._unready = [(number, stage) for number, part in enumerate(parts) for stage in part.graph.stages]
        self._ready: list[_Waiting] = []
        self._running: dict[int, _Waiting] = {}

    def run(self) -> None:
        """Run what is missing; a stage that fails stops only what reads it.

        Raises:
            LayersigError: As `Executor.run` has it.
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
        """Move stages on whose inputs are decided, until no other stage follows from it."""
        before = None
        while before != len(self._unready):
            before = len(self._unready)
            self._unready = [entry for entry in self._unready if not self._moved(*entry)]

    def _moved(self, number: int, stage: Stage) -> bool:
        part = self._parts[number]
        read = {each.node for each in stage.inputs.values()}
        if any(part.ended.get(node, "done") != "done" for node in read):
            part.end(stage, Ended("missing"))
            return True
        if not read <= part.nodes.keys():
            return False
        waiting = _Waiting(
            number, stage, part.executor.key(stage, part.nodes), self._weights[number][stage.id], look_again=True
        )
        if not self._found(waiting):
            self._ready.append(waiting)
        return True

    def _found(self, waiting: _Waiting) -> bool:
        """Whether the cache holds the output by now, if that is not known."""
        part = self._parts[waiting.part]
        entry = part.executor.find(waiting.stage, part.nodes) if self._reuse and waiting.look_again else None
        waiting.look_again = False
        if entry is not None:
            part.end(waiting.stage, Ended("done", waiting.key, cached=True, entry=entry))
        return entry is not None

    def _start(self) -> None:
        """Give idle workers what is ready; stages of the same fingerprint run once, the others find its output."""
        now, found = time.monotonic(), False
        self._ready.sort(key=lambda waiting: -waiting.weight)  # stable: else in the order of the graphs
        idle = self._workers.idle
        for waiting in list(self._ready):
            if not idle:
                break
            if waiting.occupied_until > now:
                continue
            if any(other.key == waiting.key for other in self._running.values()):
                waiting.look_again = True
                continue
            self._ready.remove(waiting)
            if self._found(waiting):
                found = True
                continue
            number, part = idle.pop(0), self._parts[waiting.part]
            self._running[number] = waiting
            waiting.starts += 1
            self._workers.start(number, Task.of(waiting.part, waiting.stage, part.nodes, waiting.key))
        if found:
            self._collect()
            self._start()

    def _handle(self, number: int, message: Message | Died) -> None:
        waiting = self._running[number]
        part = self._parts[waiting.part]
        match message:
            case Started():
                waiting.reporter = self._display.stage(waiting.stage, number, self._label(part))
                part.publisher.started(waiting.stage, waiting.key)
            case Progressed(method, arguments, named):
                getattr(waiting.reporter, method)(*arguments, **named)
            case Warned(text):
                self._display.say(f"warning: {text}")
            case Finished(how):
                self._release(number)
                part.end(waiting.stage, how)
            case Occupied():
                self._release(number)
                waiting.starts -= 1
                waiting.occupied_until, waiting.look_again = time.monotonic() + _AGAIN, True
                self._ready.append(waiting)
            case Refused(how, error):
                self._release(number)
                raise self._error(part, waiting.stage, how, error)
            case Died():
                self._release(number)
                self._start_again(part, waiting, message.cause)

    def _start_again(self, part: Part, waiting: _Waiting, cause: str) -> None:
        if waiting.starts < _MOST_STARTS:
            self._display.say(
                f"warning: {self._label(part)} {waiting.stage.id}: its worker process ended ({cause}); it runs again"
            )
            self._ready.append(waiting)
            return
        error = StageFailed(f"its worker process ended twice ({cause}); if memory ran out, use fewer workers")
        part.end(waiting.stage, Ended("failed", waiting.key, error=str(error)))

    def _error(self, part: Part, stage: Stage, how: Ended | None, error: LayersigError) -> LayersigError:
        if how is None:
            return type(error)(f"{stage.id}: {error}")
        part.publisher.ended(stage, how)
        return error

    def _release(self, number: int) -> None:
        del self._running[number]
        self._display.clear(number)

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
