"""Runs the stages of a graph in order; what the cache holds is not run again."""

from __future__ import annotations

import functools
import gc
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol

from filelock import Timeout

from layersig.engine.energy import EnergyMeter
from layersig.engine.failures import known_failure
from layersig.engine.nodes import Node, output_node, source_nodes
from layersig.engine.runner import IN_PROCESS, Runner
from layersig.errors import MachineError, UserError
from layersig.pipeline import Graph, Stage
from layersig.plugin.identity import identity
from layersig.sources.source import Source
from layersig.stages.job import Earlier, Job, Reporter
from layersig.store.cache import AboutForm, Cache, StageEntry
from layersig.store.files import discard
from layersig.store.fingerprint import fingerprint
from layersig.streams import Streams


@dataclass(frozen=True)
class Ended:
    """How a stage ended.

    Attributes:
        status: `done`, `failed`, or `missing` when something it reads failed.
        fingerprint: Its fingerprint; None when it could not be known.
        cached: True when the output was there already.
        entry: Its cache entry when done.
        error: What went wrong.
    """

    status: str
    fingerprint: str | None = None
    cached: bool = False
    entry: StageEntry | None = None
    error: str | None = None


class Listener(Protocol):
    """Is informed of every stage; a run's is its `Publisher`."""

    def started(self, stage: Stage, fingerprint: str) -> None:
        """A stage is about to run."""

    def ended(self, stage: Stage, how: Ended) -> None:
        """A stage is done, failed, or cannot run because something it reads failed."""


class Executor:
    """Runs graphs against one cache.

    Args:
        cache: Where outputs are found and kept.
        numerics: What results depend on besides their inputs; asked once, and only by stages that compute.
        root_seed: Root of all random streams.
        declarations: Hashes of the declarations on record, that of this run first; kept with every output that is
            computed.
        reporter: Where a stage reports progress and warnings.
        runner: What runs the body of a stage.
        meter: What counts the energy of a stage that is about to run.
        reuse: False runs every stage anew, whatever the cache holds.
        summing: What the numerics of stages hold besides, whose sums several processes take together.
    """

    def __init__(
        self,
        cache: Cache,
        numerics: Callable[[], Mapping[str, Any]],
        root_seed: int,
        declarations: Sequence[str],
        reporter: Callable[[Stage], Reporter],
        *,
        runner: Runner = IN_PROCESS,
        meter: Callable[[Stage], EnergyMeter] = lambda stage: EnergyMeter(),
        reuse: bool = True,
        summing: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        self._cache = cache
        self._numerics = functools.cache(numerics)
        self._root_seed = root_seed
        self._declarations = list(declarations)
        self._reporter = reporter
        self._runner = runner
        self._meter = meter
        self._reuse = reuse
        self._summing = summing

    def run(self, graph: Graph, sources: Mapping[str, Source], publisher: Listener) -> bool:
        """Run what is missing; every stage is published as soon as it ends.

        A stage that fails stops only what reads it.

        Returns:
            True when every stage is done.

        Raises:
            UserError: A stage found the user's input wrong.
            MachineError: The machine or the network is in the way.
            KeyboardInterrupt: The user interrupted; running again continues.
        """
        nodes = source_nodes(sources)
        complete = True
        for stage in graph.stages:
            if any(each.node not in nodes for each in stage.inputs.values()):
                ended = Ended("missing")
            else:
                ended = self.end(stage, nodes, publisher)
            if ended.entry is not None:
                nodes[stage.id] = output_node(ended.entry)
            complete = complete and ended.status == "done"
            publisher.ended(stage, ended)
        return complete

    def held(self, graph: Graph, sources: Mapping[str, Source]) -> dict[str, StageEntry]:
        """The stages of a graph that need not be run, by id, as far as that can be told before any has run."""
        nodes, found = source_nodes(sources), {}
        for stage in graph.stages if self._reuse else ():
            if all(each.node in nodes for each in stage.inputs.values()) and (entry := self.find(stage, nodes)):
                nodes[stage.id] = output_node(entry)
                found[stage.id] = entry
        return found

    def find(self, stage: Stage, nodes: Mapping[str, Node]) -> StageEntry | None:
        """The entry of a stage in the cache; None also while another process is at work on it. Nothing is run.

        Args:
            stage: The stage.
            nodes: Everything that it reads.
        """
        key = self.key(stage, nodes)
        try:
            with self._cache.lock(key).acquire(timeout=0):
                return self._cache.find(key)
        except Timeout:
            return None

    def at_work(self, key: str) -> bool:
        """Whether a process is building the output of this fingerprint now."""
        try:
            with self._cache.lock(key).acquire(timeout=0):
                return False
        except Timeout:
            return True

    def end(self, stage: Stage, nodes: Mapping[str, Node], publisher: Listener, *, patience: float = -1) -> Ended:
        """Run one stage unless the cache holds its output.

        Args:
            stage: The stage.
            nodes: Everything that it reads.
            publisher: Informed when it starts, and when it is the user's or the machine's fault that it fails.
            patience: Seconds to wait for another process that is building the same output; negative: until it is done.

        Raises:
            UserError: As `run` has it.
            MachineError: As `run` has it.
            filelock.Timeout: Another process is building it.
        """
        streams = Streams(self._root_seed, stage.seed)
        key = self.key(stage, nodes)
        length = stage.spec.length
        shared = {param: value for param, value in stage.params.items() if param not in length}
        family = self.key(stage, nodes, shared) if length else None
        with self._cache.lock(key).acquire(patience):
            entry = self._cache.find(key)
            if entry is not None and self._reuse:
                return Ended("done", key, cached=True, entry=entry)
            # Computing a known result again does not make it unknown: what was declared before it stays as it was.
            declarations = self._declarations if entry is None else entry.about["declarations"]
            publisher.started(stage, key)
            try:
                entry = self._build(stage, key, family, nodes, streams, declarations)
                return Ended("done", key, entry=entry)
            except (Exception, SystemExit) as error:
                known = known_failure(error, stage.components)
                if not isinstance(known, UserError | MachineError):
                    return Ended("failed", key, error=str(known))
                publisher.ended(stage, Ended("failed", key, error=str(known)))
                raise known.at(stage.id) from error
            finally:
                if stage.computes:  # models hold themselves in circles; a search takes a while
                    gc.collect()

    def key(self, stage: Stage, nodes: Mapping[str, Node], params: Mapping[str, Any] | None = None) -> str:
        """The fingerprint of a stage; with `params` in the place of its own, what all stages that share them have."""
        return fingerprint(
            kind=stage.kind,
            version=stage.spec.version,
            params=stage.params if params is None else params,
            inputs={role: nodes[each.node].part(each.path)[1] for role, each in stage.inputs.items()},
            streams=Streams(self._root_seed, stage.seed),
            numerics=self._numerics_of(stage) if stage.computes else None,
            components={f"{each.kind}/{each.name}": identity(each) for each in stage.components},
        )

    def _numerics_of(self, stage: Stage) -> Mapping[str, Any]:
        return {**self._numerics(), **(self._summing if stage.spec.shared == "sums" else {})}

    def _build(
        self,
        stage: Stage,
        key: str,
        family: str | None,
        nodes: Mapping[str, Node],
        streams: Streams,
        declarations: Sequence[str],
    ) -> StageEntry:
        read = {role: nodes[each.node] for role, each in stage.inputs.items()}
        work = self._cache.workplace(key)
        reporter = self._reporter(stage)
        job = Job(
            cell=stage.cell,
            spec=stage.spec,
            inputs={role: node.part(stage.inputs[role].path)[0] for role, node in read.items()},
            out=work / "out",
            work=work / "state",
            streams=streams,
            origins={role: node.origin for role, node in read.items() if node.origin is not None},
            components=stage.components,
            reporter=reporter,
            earlier=self._earlier(family) if family is not None and self._reuse else (),
            kept=work / "kept",
        )
        began = time.monotonic()
        with self._meter(stage) as meter:
            self._runner.run(job)
        for node in read.values():
            if node.changed(self._cache.root):
                discard(work)  # what it holds belongs to no fingerprint
                raise UserError(f"{node.path} changed while the run was at work; run again")
        about: AboutForm = {
            "kind": stage.kind,
            "version": stage.spec.version,
            "seconds": round(time.monotonic() - began, 3),
            "cost": {**job.cost, **meter.joules},
            "warnings": list(getattr(reporter, "warnings", ())),
            "declarations": list(declarations),
        }
        if family is not None:
            self._cache.relate(family, key)
        return self._cache.commit(key, about, job.metrics)

    def _earlier(self, family: str) -> tuple[Earlier, ...]:
        found = self._cache.family(family)
        return tuple(Earlier(each.out, each.kept, each.metrics, each.about["cost"]) for each in found)
