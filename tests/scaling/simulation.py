"""The scheduler of the engines over cards and a clock that are simulated."""

from __future__ import annotations

import heapq
import io
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np
from rich.console import Console

from layersig.engine import together
from layersig.engine.execute import Ended, Executor
from layersig.engine.nodes import Node
from layersig.engine.progress import Display
from layersig.engine.remote import Finished, Message, Started, Task
from layersig.engine.together import Part, Together
from layersig.pipeline import Graph, Stage
from layersig.store.cache import Cache, StageEntry
from layersig.store.hashing import sha256_bytes
from tests.scaling.study import Planned

NOISE = 0.1
"""Standard deviation of the logarithm of a stage's time around its plan."""


@dataclass(frozen=True)
class Outcome:
    """How a study went.

    Attributes:
        seconds: Its length by the simulated clock.
        busy: Share of the cards' time that they were busy.
        busy_until_last: The same until fewer stages were left than there are cards.
        peak_reading: Bytes of weights that were asked for at most in a second of an hour's mean.
        starts: Stages that started at most in a minute.
        driver: Seconds of this process for a stage.
    """

    seconds: float
    busy: float
    busy_until_last: float
    peak_reading: float
    starts: int
    driver: float


class Cards:
    """Workers that take a stage's planned time, more or less, by a clock that jumps to the next end."""

    most_starts = 2
    advice = ""

    def __init__(self, count: int, studies: Sequence[Planned]) -> None:
        self.clock = 0.0
        self.runs: list[tuple[float, float, int, str]] = []
        self._count = count
        self._studies = studies
        self._ends: list[tuple[float, int, Task]] = []
        graphs = [study.graph for study in studies]
        self._read = {each.path for graph in graphs for stage in graph.stages for each in stage.inputs.values()}
        self._random = np.random.default_rng(0)

    @property
    def idle(self) -> list[int]:
        taken = {number for _, number, _ in self._ends}
        return [number for number in range(self._count) if number not in taken]

    def start(self, number: int, task: Task) -> None:
        seconds = self._studies[task.setting].seconds[task.stage.id]
        seconds *= float(np.exp(self._random.normal(scale=NOISE)))
        heapq.heappush(self._ends, (self.clock + seconds, number, task))
        self.runs.append((self.clock, self.clock + seconds, task.setting, task.stage.id))

    def messages(self, timeout: float | None) -> Iterator[tuple[int, Message]]:
        self.clock, number, task = heapq.heappop(self._ends)
        digest = sha256_bytes(task.key.encode())
        about = {"seconds": 0.0, "digest": digest, "files": dict.fromkeys(self._read, digest)}
        yield number, Started()
        yield number, Finished(Ended("done", task.key, entry=StageEntry(Path("simulated"), about)))  # type: ignore[arg-type]


class _Nobody:
    def started(self, stage: Stage, fingerprint: str) -> None:
        pass

    def ended(self, stage: Stage, how: Ended) -> None:
        assert how.status == "done", stage.id


def simulated(
    studies: Sequence[Planned], count: int, folder: Path, weigh: Callable[[Planned], dict[str, float]] | None = None
) -> Outcome:
    """Run a study on so many cards.

    Args:
        studies: Its models.
        count: Cards.
        folder: Where a cache that stays empty lies.
        weigh: Weights of stages by id that stand for the scheduler's own.
    """
    cards = Cards(count, studies)
    parts = [
        Part(
            each.name,
            each.graph,
            Executor(Cache(folder, print), lambda name=each.name: {"model": name}, 0, (), _no_reporter),
            {name: Node(Path(name), sha256_bytes(f"{each.name} {name}".encode())) for name in each.graph.sources},
            _Nobody(),
        )
        for each in studies
    ]
    began = time.process_time()
    display = Display(Console(file=io.StringIO(), width=200))
    weights = iter([weigh(each) for each in studies] if weigh else [])
    own = together.path_weights
    with mock.patch.object(together, "path_weights", lambda graph: next(weights, None) or own(graph)):
        Together(parts, cards, display, reuse=False).run()
    took = time.process_time() - began
    assert len(cards.runs) == sum(len(each.graph.stages) for each in studies)
    return _outcome(cards, studies, count, took)


def _outcome(cards: Cards, studies: Sequence[Planned], count: int, took: float) -> Outcome:
    starts, ends = (np.array([run[index] for run in cards.runs]) for index in (0, 1))
    last = np.sort(ends)[max(0, len(ends) - count)]
    busy = float((ends - starts).sum()) / (count * cards.clock)
    until = float(np.clip(np.minimum(ends, last) - starts, 0, None).sum()) / (count * last)
    computing = [
        studies[setting].weights if _computes(studies[setting].graph, name) else 0.0
        for _, _, setting, name in cards.runs
    ]
    hours = np.bincount((starts // 3600).astype(int), weights=computing)
    minutes = np.bincount((starts // 60).astype(int))
    return Outcome(cards.clock, busy, until, float(hours.max()) / 3600, int(minutes.max()), took / len(cards.runs))


def _computes(graph: Graph, name: str) -> bool:
    return name.partition("/")[0] not in ("select", "data", "layers", "overlap")


def longest_by_time(study: Planned) -> dict[str, float]:
    """Weights by planned seconds: the longest path that begins with a stage."""
    weights: dict[str, float] = {}
    after: dict[str, float] = {}
    for stage in reversed(study.graph.stages):
        weights[stage.id] = after.get(stage.id, 0.0) + study.seconds[stage.id]
        for each in stage.inputs.values():
            after[each.node] = max(after.get(each.node, 0.0), weights[stage.id])
    return weights


def _no_reporter(stage: Stage) -> None:  # type: ignore[misc]
    raise AssertionError(stage.id)
