"""One stage in another process: what it is sent, and what it reports back while it runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Any

from filelock import Timeout

from layersig.engine.execute import Ended, Executor
from layersig.engine.nodes import Node
from layersig.errors import LayersigError, StageFailed, machine_error, one_line
from layersig.pipeline import Stage
from layersig.plugin.components import Kind
from layersig.plugin.manager import with_files
from layersig.store.cache import Cache


@dataclass(frozen=True)
class Setting:
    """What the stages of one graph need besides the stages themselves; it can be pickled.

    Attributes:
        cache: Root of the cache.
        numerics: What results depend on besides their inputs, asked where the stage runs.
        root_seed: Root of all random streams.
        declarations: As `Executor` has it.
        plugin_files: Plugin files of the recipe.
        reuse: As `Executor` has it.
    """

    cache: Path
    numerics: Callable[[], Mapping[str, Any]]
    root_seed: int
    declarations: Sequence[str]
    plugin_files: tuple[Path, ...] = ()
    reuse: bool = True


@dataclass(frozen=True)
class Task:
    """A stage to run.

    Attributes:
        setting: Index of its setting.
        stage: The stage without its components: those of plugin files cannot be pickled.
        components: Kind and name of the components.
        nodes: What it reads.
        key: Its fingerprint as its sender knows it.
    """

    setting: int
    stage: Stage
    components: tuple[tuple[Kind, str], ...]
    nodes: Mapping[str, Node]
    key: str

    @classmethod
    def of(cls, setting: int, stage: Stage, nodes: Mapping[str, Node], key: str) -> Task:
        """The task of running a stage, with those of the nodes that it reads."""
        read = {each.node: nodes[each.node] for each in stage.inputs.values()}
        names = tuple((each.kind, each.name) for each in stage.components)
        return cls(setting, replace(stage, components=()), names, read, key)


@dataclass(frozen=True)
class Progressed:
    """The stage called its reporter."""

    method: str
    arguments: tuple[Any, ...]
    named: Mapping[str, Any]


@dataclass(frozen=True)
class Warned:
    """The cache has something to say."""

    message: str


@dataclass(frozen=True)
class Started:
    """The stage is not in the cache, and begins to run."""


@dataclass(frozen=True)
class Finished:
    """The stage ended."""

    how: Ended


@dataclass(frozen=True)
class Occupied:
    """Another process is building the same output."""


@dataclass(frozen=True)
class Refused:
    """The stage ended with an error that ends the run."""

    how: Ended | None
    error: LayersigError


@dataclass(frozen=True)
class Died:
    """A worker is gone without having said how its stage ended; its pool says so."""

    cause: str


Message = Progressed | Warned | Started | Finished | Occupied | Refused
Send = Callable[[Message], None]


class Site:
    """Runs tasks in the process where it is made, by the executor that a run in one process uses.

    Args:
        settings: Settings that tasks refer to.
        send: Gets the messages; it may be called from any thread, by one at a time.
    """

    def __init__(self, settings: Sequence[Setting], send: Send) -> None:
        self._settings = settings
        self._lock = Lock()
        self._to = send
        self._executors = [self._executor(each) for each in settings]
        self._components = [with_files(each.plugin_files) for each in settings]

    def run(self, task: Task) -> None:
        """Run a task; the last message says how it ended."""
        components = tuple(self._components[task.setting].get(*each) for each in task.components)
        stage = replace(task.stage, components=components)
        executor, listener = self._executors[task.setting], _Listener(self._send)
        try:
            if executor.key(stage, task.nodes) != task.key:
                raise StageFailed(
                    "a worker has other devices, package versions or plugin files than the process that started it"
                )
            self._send(Finished(executor.end(stage, task.nodes, listener, patience=0)))
        except Timeout:
            self._send(Occupied())
        except LayersigError as error:
            self._send(Refused(listener.failed, error))
        except OSError as error:
            self._send(Refused(listener.failed, machine_error(error)))
        except Exception as error:
            self._send(Refused(listener.failed, StageFailed(f"{type(error).__name__}: {one_line(error)}")))

    def _executor(self, setting: Setting) -> Executor:
        return Executor(
            Cache(setting.cache, lambda message: self._send(Warned(message))),
            setting.numerics,
            setting.root_seed,
            setting.declarations,
            lambda stage: _Reporter(self._send),
            reuse=setting.reuse,
        )

    def _send(self, message: Message) -> None:
        with self._lock:
            self._to(message)


class _Listener:
    """Reports that a stage starts; its end is the last message of the task."""

    def __init__(self, send: Send) -> None:
        self.failed: Ended | None = None
        self._send = send

    def started(self, stage: Stage, fingerprint: str) -> None:
        """It is not in the cache."""
        self._send(Started())

    def ended(self, stage: Stage, how: Ended) -> None:
        """It failed by an error that ends the run, which follows."""
        self.failed = how


class _Reporter:
    """Passes on what a stage reports, and keeps its warnings for its entry in the cache."""

    def __init__(self, send: Send) -> None:
        self.warnings: list[str] = []
        self._send = send

    def start(self, task: str, total: int, unit: str) -> None:
        """A piece of work begins."""
        self._send(Progressed("start", (task, total, unit), {}))

    def advance(self, amount: int, *, tokens: int = 0, note: str = "") -> None:
        """Some of it is done."""
        self._send(Progressed("advance", (amount,), {"tokens": tokens, "note": note}))

    def warn(self, message: str) -> None:
        """Something the user should know."""
        self.warnings.append(message)
        self._send(Progressed("warn", (message,), {}))
