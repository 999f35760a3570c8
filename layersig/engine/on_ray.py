"""A Ray cluster as the place where the stages of recipes run."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from layersig.engine.cluster import Cluster, Needs, Nodes, appears, not_shared, use_threads
from layersig.engine.device import Device, device_of
from layersig.engine.place import Place
from layersig.engine.study import Study
from layersig.errors import LayersigError, MachineError, UserError, one_line
from layersig.pipeline import Graph
from layersig.recipe.load import LoadedRecipe
from layersig.recipe.schema import Recipe
from layersig.sources.source import Source

MainMemory = Callable[[LoadedRecipe, Graph, Mapping[str, Source], bool], Mapping[str, float]]
"""Bytes of main memory that stages need, by id, given whether they compute on a GPU; where not known, none."""
_REACHED = 10.0
"""Seconds in which the head of a cluster answers."""


@dataclass(frozen=True)
class OnRay:
    """The nodes of a Ray cluster.

    Attributes:
        address: HOST:PORT of its head; None for the cluster that this machine belongs to.
        memory: Says what main memory stages need.
    """

    address: str | None
    memory: MainMemory

    @contextlib.contextmanager
    def opened(self, every: Sequence[LoadedRecipe], say: Callable[[str], None]) -> Iterator[Place]:
        """Join the cluster.

        Raises:
            UserError: Ray is not installed, or a recipe names a GPU by its number.
            MachineError: No cluster is reached, or it has no room for a stage.
        """
        for loaded in every:
            if ":" in loaded.recipe.model.device:
                raise UserError(
                    f"{loaded.where('model', 'device')}: with --engine ray, Ray chooses the GPU; write `cuda`"
                )
        with _joined(self.address):
            nodes = Nodes.alive()

            def gpus(recipe: Recipe) -> int:
                return int(recipe.model.device in ("auto", "cuda") and nodes.largest("GPU") >= 1)

            threads = _threads(nodes, gpu=any(gpus(loaded.recipe) for loaded in every))

            def device(recipe: Recipe) -> Device:
                import ray

                there = ray.remote(_device).options(num_cpus=threads, num_gpus=gpus(recipe))
                found: Device = _answers(there.remote(recipe, threads))
                return found

            def pool(studies: Sequence[Study]) -> Cluster:
                _check_storage(studies[0].setting.cache, say)
                needs = []
                for study in studies:
                    count = gpus(study.loaded.recipe)
                    memory = self.memory(study.loaded, study.graph, study.sources, count > 0)
                    needs.append(Needs(threads, count, memory))
                return Cluster([study.setting for study in studies], needs)

            yield Place(device, pool, here=False)


def _device(recipe: Recipe, threads: int) -> Device:
    """On a node: the device that a recipe computes on."""
    use_threads(threads)
    return device_of(recipe)


def _threads(nodes: Nodes, *, gpu: bool) -> int:
    """CPUs of a stage that runs a model: its GPU's share of a node, or as many as this process has threads."""
    if gpu:
        return nodes.share()
    import torch

    most = int(nodes.largest("CPU"))
    if most < 1:
        raise MachineError("the Ray cluster has no CPU for a stage: start its nodes with --num-cpus of at least 1")
    return min(torch.get_num_threads(), most)


@contextlib.contextmanager
def _joined(address: str | None) -> Iterator[None]:
    """Within the block, this process belongs to a cluster."""
    try:
        import ray
    except ModuleNotFoundError:
        raise UserError("--engine ray needs Ray, here and on all nodes: pip install 'layersig[ray]'") from None
    if address is not None and "://" in address:
        raise UserError(
            f"--engine ray:{address}: give HOST:PORT of the cluster's head, and run this command on a machine of "
            "the cluster, which sees its storage"
        )
    where = address or os.environ.get("RAY_ADDRESS")
    # Ray sets a handler of its own, under which SIGTERM would leave the run without its last words.
    main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGTERM)
    try:
        if where is not None and where != "auto":  # Ray itself takes minutes to find that nobody answers
            host, _, port = where.rpartition(":")
            socket.create_connection((host.strip("[]"), int(port)), timeout=_REACHED).close()
        ray.init(address=where or "auto", log_to_driver=False, logging_level="ERROR", configure_logging=False)
    except Exception as error:
        raise MachineError(
            f"no Ray cluster is reached {f'at {where}' if where else 'on this machine'} ({one_line(error)}); start one "
            "with `ray start --head`, or give --engine ray:HOST:PORT"
        ) from error
    finally:
        if main:
            signal.signal(signal.SIGTERM, before)
    try:
        yield
    finally:
        ray.shutdown()


def _answers(references: Any) -> Any:
    """What functions return on nodes.

    Raises:
        LayersigError: One of them raised it, or a node cannot be used.
    """
    import ray

    try:
        return ray.get(references)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, LayersigError):
            raise error.cause from error
        raise MachineError(f"a node of the Ray cluster cannot be used: {one_line(error.cause or error)}") from error
    except ray.exceptions.RayError as error:
        raise MachineError(f"a node of the Ray cluster cannot be used: {one_line(error)}") from error


def _check_storage(cache: Path, say: Callable[[str], None]) -> None:
    """Check that every node sees the cache, and that a lock held here is one there.

    Raises:
        MachineError: A node does not see it.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    path = cache / "locks" / f"nodes-{uuid.uuid4().hex}"
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path):
        nodes = [node for node in ray.nodes() if node["Alive"]]
        places = [NodeAffinitySchedulingStrategy(node["NodeID"], soft=False) for node in nodes]
        there = ray.remote(_sees)
        found = _answers([there.options(num_cpus=0, scheduling_strategy=place).remote(path) for place in places])
    for node, (seen, _) in zip(nodes, found, strict=True):
        if not seen:
            raise not_shared(cache, f"node {node['NodeManagerAddress']}")
    if not all(locked for _, locked in found):
        say(
            f"warning: {cache}: locks do not work across nodes, so drivers that run at once may run a stage twice; "
            "docs/clusters.md lists file systems where they do"
        )
    path.unlink(missing_ok=True)


def _sees(path: Path) -> tuple[bool, bool]:
    """On a node: whether a file is seen, and whether it is locked by another process."""
    if not appears(path):
        return False, False
    lock = FileLock(path, timeout=0)
    try:
        with lock:
            return True, False
    except Timeout:
        return True, True
