"""The first process of a launch drives: it hands stages to the others, and collects how they ended.

Orders and outcomes go through the store of the launcher, so that a process waits for its next order without a timeout.
For every stage there is a process group of its own. A process that fails leaves it at once, which breaks the exchange
in which the others are, or next will be; the first to fail says why.
"""

from __future__ import annotations

import pickle
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple, Self

import torch
import torch.distributed as dist
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from layersig.distributed.launch import Launch
from layersig.distributed.world import Several, joined, world
from layersig.errors import LayersigError, MachineError, StageFailed, UserError, one_line
from layersig.plugin.components import Kind
from layersig.plugin.identity import Identity, identity
from layersig.plugin.manager import with_files
from layersig.stages.halving import undivided
from layersig.stages.job import Job, Silent
from layersig.stages.spec import StageSpec

_TURN = 0.1
"""Seconds between two looks at the store."""
_GRACE = 10.0
"""Seconds in which a process may say how a stage ended once another one has failed."""
_LONGEST = timedelta(hours=2)
"""How long an exchange may wait for the slowest process."""


class _Order(NamedTuple):
    """A stage, as the other processes get it.

    Attributes:
        plugin_files: To be loaded before the job is unpickled.
        components: Kind, name and identity of its components: those of plugin files cannot be pickled.
        job: The pickled job.
        sharded: As `World` has it.
    """

    plugin_files: Sequence[Path]
    components: Sequence[tuple[Kind, str, Identity]]
    job: bytes
    sharded: bool


@dataclass(frozen=True)
class _Failure:
    """How a stage failed in a process.

    Attributes:
        place: 1 for the first process that failed.
        error: What it raised, as one of the failures that layersig tells apart; None for an interruption.
    """

    place: int
    error: LayersigError | None


class Crew:
    """All processes of a launch, connected through its store.

    Args:
        launch: How this process was started.
    """

    def __init__(self, launch: Launch) -> None:
        self.launch = launch
        store, *_ = next(rendezvous("env://", timeout=timedelta(minutes=10)))
        self._store = PrefixStore("layersig", store)
        self._count = 0

    @contextmanager
    def stage(self, *, sharded: bool) -> Iterator[None]:
        """Within this context the processes are in a group, and `world` gives it."""
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        dist.init_process_group(
            backend,
            store=PrefixStore(f"group/{self._count}", self._store),
            rank=self.launch.rank,
            world_size=self.launch.size,
            timeout=_LONGEST,
        )
        try:
            with joined(Several(sharded=sharded)), undivided() if sharded else nullcontext():
                yield
        finally:
            dist.destroy_process_group()

    def give(self, order: _Order | None) -> None:
        """Give the others a stage to run, or None to let them go."""
        self._count += 1
        self._write(f"order/{self._count}", order)

    def receive(self) -> _Order | None:
        """Wait for the next order."""
        self._count += 1
        found: _Order | None = pickle.loads(self._read(f"order/{self._count}"))
        return found

    def failed(self, error: BaseException) -> _Failure:
        """Say that the present stage has failed here; to be called before this process leaves the group."""
        place = self._store.add(f"failures/{self._count}", 1)
        known = error if isinstance(error, LayersigError) else None
        if known is None and isinstance(error, Exception):
            known = StageFailed(f"{type(error).__name__}: {one_line(error)}")
        return _Failure(place, known)

    def report(self, failure: _Failure | None) -> None:
        """Say how the present stage ended here."""
        self._write(f"ended/{self._count}/{self.launch.rank}", failure)

    def reports(self, own: _Failure | None) -> list[_Failure | type[_Silence] | None]:
        """How the stage ended in every process; once one has failed, none is waited for much longer."""
        patience = _GRACE if own is not None else None
        found: list[_Failure | type[_Silence] | None] = [own]
        for rank in range(1, self.launch.size):
            try:
                found.append(pickle.loads(self._read(f"ended/{self._count}/{rank}", patience)))
            except (TimeoutError, KeyboardInterrupt):
                # The launcher ends all processes when one dies; what happened is to be said all the same.
                found.append(_Silence)
                patience = 0.0
        return found

    def _write(self, key: str, value: object) -> None:
        self._store.set(key, pickle.dumps(value))  # type: ignore[arg-type]  # bytes are taken, too

    def _read(self, key: str, patience: float | None = None) -> bytes:
        """Wait for a key, and give its value.

        Raises:
            TimeoutError: It was not in so many seconds.
        """
        ends = None if patience is None else time.monotonic() + patience
        while not self._store.check([key]):  # its own `wait` cannot be interrupted
            if ends is not None and time.monotonic() > ends:
                raise TimeoutError(key)
            time.sleep(_TURN)
        return bytes(self._store.get(key))


class _Silence:
    """A process that did not say how a stage ended."""


class Driver:
    """The first process: runs stages together with the others.

    Args:
        launch: How this process was started.
        sharded: Whether the model is split among the processes.
    """

    def __init__(self, launch: Launch, *, sharded: bool = False) -> None:
        self.sharded = sharded
        self._crew = Crew(launch)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(RuntimeError):  # the store is gone where the launcher is
            self._crew.give(None)

    @property
    def summing(self) -> Mapping[str, Any]:
        """What the digits of sums depend on that all processes take together."""
        return {"processes": self._crew.launch.size, **({"sharded": True} if self.sharded else {})}

    def run(self, job: Job[StageSpec], plugin_files: Sequence[Path], work: Callable[[Job[StageSpec]], None]) -> None:
        """Run a stage in all processes; what the others write is thrown away.

        Args:
            job: The stage.
            plugin_files: Plugin files of the recipe.
            work: Runs it in this process.

        Raises:
            LayersigError: What the first process raised that failed, or that one ended without a word.
            KeyboardInterrupt: The run was interrupted.
        """
        bare = replace(job, components=(), reporter=Silent(), cost={}, metrics=[])
        names = [(each.kind, each.name, identity(each)) for each in job.components]
        self._crew.give(_Order(plugin_files, names, pickle.dumps(bare), self.sharded))
        raised: BaseException | None = None
        failure = None
        try:
            with self._crew.stage(sharded=self.sharded):
                try:
                    world().gather(None)  # the others have copied what this process is about to change
                    work(job)
                    world().gather(None)
                except BaseException as error:
                    raised, failure = error, self._crew.failed(error)
        except (RuntimeError, KeyboardInterrupt) as error:
            # The group could not be made, or the launcher, which ends all processes when one dies, did so while this
            # one was leaving it.
            raised, failure = raised or error, failure or self._crew.failed(error)
        self._settle(self._crew.reports(failure), raised)

    def _settle(self, reports: Sequence[_Failure | type[_Silence] | None], raised: BaseException | None) -> None:
        size = self._crew.launch.size
        silent = [rank for rank, report in enumerate(reports) if report is _Silence]
        failures = {rank: report for rank, report in enumerate(reports) if isinstance(report, _Failure)}
        if silent and not failures:
            raise KeyboardInterrupt
        if silent:
            raise MachineError(
                f"process {silent[0]} of {size} (counting from 0) ended without an error message, as happens when the "
                "system kills a process for lack of memory; run the same command again to continue from the last "
                "checkpoint"
            ) from raised
        if not failures:
            return
        rank, first = min(failures.items(), key=lambda item: item[1].place)
        if rank == 0 and raised is not None:
            raise raised
        if first.error is None:
            raise KeyboardInterrupt
        raise first.error.at(f"process {rank} of {size} (counting from 0)") from raised


def follow(launch: Launch) -> None:
    """Run stages together with the first process until it lets this one go, is gone, or this one is interrupted."""
    crew = Crew(launch)
    with suppress(dist.DistNetworkError, KeyboardInterrupt):  # the first process alone says how the run ended
        while (order := crew.receive()) is not None:
            _take_part(crew, order)


def _take_part(crew: Crew, order: _Order) -> None:
    failure = None
    try:
        with tempfile.TemporaryDirectory(prefix="layersig-") as scratch, crew.stage(sharded=order.sharded):
            try:
                job = _job(order, Path(scratch))
                world().gather(None)
                job.spec.run(job)
                world().gather(None)
            except BaseException as error:
                failure = crew.failed(error)
                if not isinstance(error, Exception):
                    raise
    except (RuntimeError, KeyboardInterrupt) as error:
        failure = failure or crew.failed(error)
        if isinstance(error, KeyboardInterrupt):
            raise
    finally:
        crew.report(failure)


def _job(order: _Order, scratch: Path) -> Job[StageSpec]:
    """The job of an order, which writes to a folder of its own and finds there what the first process has kept."""
    known = with_files(order.plugin_files)
    components = tuple(known.get(kind, name) for kind, name, _ in order.components)
    for component, (_, _, expected) in zip(components, order.components, strict=True):
        if identity(component) != expected:
            raise UserError(f"{component.label} was edited while the run was at work; run again")
    job: Job[StageSpec] = pickle.loads(order.job)
    for name in ("out", "kept"):
        (scratch / name).mkdir()
    shutil.copytree(job.work, scratch / "work")
    return replace(
        job,
        components=components,
        out=scratch / "out",
        work=scratch / "work",
        kept=None if job.kept is None else scratch / "kept",
    )
