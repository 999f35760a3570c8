"""Stages on a Ray cluster of two nodes of one core each, both on this machine: the same bytes as in one process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.e2e.world import Run, World
from tests.ray_nodes import RayNodes, two_nodes

pytestmark = pytest.mark.slow

DRIVER = "from layersig.cli.main import main; main()"
EIGHT = "seeds=[0,1,2,3]"
"""Two arms are tuned with each seed: eight small runs."""


@pytest.fixture(scope="module")
def nodes() -> Iterator[RayNodes]:
    """The cluster, which drivers find by `RAY_ADDRESS`."""
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'layersig[ray]'")
    with two_nodes() as found, pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_ADDRESS", found.address)
        yield found


@pytest.fixture(scope="module")
def alone(world: World, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The study in one process, with a cache of its own."""
    base = tmp_path_factory.mktemp("alone")
    return world.run(EIGHT, "--runs", base / "runs", cache=base / "cache").run


class Driver:
    """A run on the cluster that `RAY_ADDRESS` names."""

    def __init__(self, world: World, base: Path, *overrides: str, runs: str = "runs") -> None:
        self.cache = base / "cache"
        arguments = ["run", world.recipe, *overrides, "--json", "--runs", base / runs, "--engine", "ray"]
        self.process = subprocess.Popen(
            [sys.executable, "-c", DRIVER, *(str(argument) for argument in arguments)],
            env={**os.environ, "LAYERSIG_CACHE": str(self.cache)},
            cwd=world.base,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait(self, met: Callable[[], Any]) -> Any:
        """What holds some time while it runs."""
        deadline = time.monotonic() + 240
        while not (found := met()):
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return found

    def training(self) -> bool:
        """Whether some stages are done, and a training is under way."""
        return len(self.done()) >= 3 and any((self.cache / "work").glob("*/state"))

    def done(self) -> set[str]:
        """Fingerprints in the cache."""
        return {path.name for path in (self.cache / "stages").glob("*/*")}

    def ended(self) -> tuple[Run, str]:
        """The run, which ended well, and what it said."""
        out, err = self.process.communicate(timeout=600)
        assert self.process.returncode == 0, err
        assert "Traceback" not in err
        return Run(Path(json.loads(out.splitlines()[-1])["run"])), err


def _computed(run: Run) -> list[str]:
    return [stage["fingerprint"] for stage in run.stages.values() if not stage["cached"]]


def test_two_nodes_give_the_bytes_of_one_process(world: World, alone: Run, nodes: RayNodes, tmp_path: Path) -> None:
    run, _ = Driver(world, tmp_path, EIGHT).ended()
    assert run.results() == alone.results()
    assert {name: stage["fingerprint"] for name, stage in run.stages.items()} == {
        name: stage["fingerprint"] for name, stage in alone.stages.items()
    }
    assert run.ran == alone.ran
    # One process finds what the nodes computed.
    assert world.run(EIGHT, "--runs", tmp_path / "again", cache=tmp_path / "cache").run.ran == set()


def test_a_killed_worker_changes_nothing(world: World, alone: Run, nodes: RayNodes, tmp_path: Path) -> None:
    driver = Driver(world, tmp_path, EIGHT)
    driver.wait(driver.training)
    for worker in driver.wait(nodes.stages):
        worker.kill()
    run, err = driver.ended()
    assert "its worker process ended" in err
    assert run.results() == alone.results()


def test_a_killed_driver_is_continued_and_leaves_nobody_behind(
    world: World, first: Run, nodes: RayNodes, tmp_path: Path
) -> None:
    driver = Driver(world, tmp_path)
    driver.wait(driver.training)
    workers = driver.wait(nodes.stages)
    driver.process.kill()
    driver.process.communicate()
    assert not psutil.wait_procs(workers, timeout=30)[1]
    done = driver.done()
    run, _ = Driver(world, tmp_path).ended()
    assert run.results() == first.results()
    assert set(_computed(run)).isdisjoint(done)
    assert {stage["fingerprint"] for stage in run.stages.values()} == done | set(_computed(run))


def test_an_interruption_ends_the_stages(world: World, nodes: RayNodes, tmp_path: Path) -> None:
    driver = Driver(world, tmp_path)
    driver.wait(driver.training)
    workers = driver.wait(nodes.stages)
    driver.process.terminate()
    out, err = driver.process.communicate(timeout=60)
    assert (driver.process.returncode, out) == (130, ""), err
    assert not psutil.wait_procs(workers, timeout=30)[1]


def test_two_drivers_on_one_store_run_no_stage_twice(nodes: RayNodes, tmp_path: Path) -> None:
    drivers = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.engine.ray_driver", str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    found = [json.loads(driver.communicate(timeout=300)[0]) for driver in drivers]
    assert sorted((tmp_path / "log").read_text().split()) == [f"s{number}" for number in range(6)]
    for name in found[0]:
        assert [cached[name] for cached in found].count(False) == 1, "one driver ran it, the other found it"


def test_an_unreachable_cluster_is_refused_in_one_sentence(world: World, nodes: RayNodes) -> None:
    for engine, code, said in (
        ("ray:127.0.0.1:1", 3, "no Ray cluster is reached at 127.0.0.1:1"),
        ("ray:ray://head:10001", 2, "give HOST:PORT"),
    ):
        told = subprocess.run(
            [sys.executable, "-c", DRIVER, "run", str(world.recipe), "--engine", engine],
            cwd=world.base,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert told.returncode == code, told.stderr
        (error,) = [line for line in told.stderr.splitlines() if line.startswith("error: ")]
        assert said in error
