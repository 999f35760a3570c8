"""A Ray cluster of two nodes of one core each, both on this machine, of which nothing remains."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import psutil

NODE = {"num_cpus": 1, "object_store_memory": 80 * 2**20, "memory": 4 * 2**30, "include_dashboard": False}
_HOST = f"""
from ray.cluster_utils import Cluster
cluster = Cluster(initialize_head=True, head_node_args={NODE!r})
cluster.add_node(**{NODE!r})
print(cluster.address, flush=True)
try:
    input()
except EOFError:  # whoever started it is gone
    pass
cluster.shutdown()
"""
_STAGE = re.compile("ray::[a-z]")
"""How the names of processes begin that run a stage; those of Ray's own have a capital letter."""


@dataclass(frozen=True)
class RayNodes:
    """A running cluster.

    Attributes:
        address: HOST:PORT of its head.
        processes: Those that make up the nodes.
    """

    address: str
    processes: tuple[psutil.Process, ...]

    def stages(self) -> list[psutil.Process]:
        """Worker processes of Ray that run a stage."""
        found = []
        for node in self.processes:
            with suppress(psutil.Error):
                found += node.children(recursive=True)
        return [each for each in dict.fromkeys(found) if _runs_a_stage(each)]


def _runs_a_stage(process: psutil.Process) -> bool:
    try:
        return _STAGE.match(process.name()) is not None and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


@contextmanager
def two_nodes() -> Iterator[RayNodes]:
    """Start the nodes and end them; a child holds them, so that Ray stays out of this process.

    Raises:
        AssertionError: A process of theirs is left.
    """
    host = subprocess.Popen(
        [sys.executable, "-c", _HOST],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert host.stdin is not None
    assert host.stdout is not None
    every = {psutil.Process(host.pid)}
    try:
        address = host.stdout.readline().strip()
        assert address, "the nodes did not start"
        every |= set(psutil.Process(host.pid).children(recursive=True))
        yield RayNodes(address, tuple(every))
    finally:
        with suppress(psutil.Error):
            every |= set(psutil.Process(host.pid).children(recursive=True))
        with suppress(subprocess.TimeoutExpired):
            host.communicate("end\n", timeout=60)
        left = psutil.wait_procs(every, timeout=30)[1]
        for process in left:
            with suppress(psutil.Error):
                process.kill()
        assert not left, left
