"""Stages in several processes: the same bytes as in one, whoever is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.e2e.world import Run, World

DRIVER = "from layersig.cli.main import main\nif __name__ == '__main__': main()"


TIMED = {
    "compute",
    "cost_sums",
    "costs",
    "inference",
    "limitations",
    "rigor",
    "time_saved",
    "trainings",
    "tuning_costs",
}
"""Tables of findings in which a measured time occurs."""


@pytest.fixture(autouse=True)
def _heeds_ctrl_c() -> Iterator[None]:
    """A shell starts jobs in the background with SIGINT ignored, which they hand on; some tests are about SIGINT."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def _differing(one: Run, other: Run) -> set[str]:
    """Tables of findings that are not equal."""
    left, right = (json.loads((run.path / "analysis.json").read_text()) for run in (one, other))
    assert left.keys() == right.keys()
    return {name for name in left if left[name] != right[name]}


def _driver(world: World, runs: Path, cache: Path) -> subprocess.Popen[str]:
    arguments = ["run", world.recipe, "--json", "--runs", runs, "--engine", "local:2"]
    return subprocess.Popen(
        [sys.executable, "-c", DRIVER, *(str(argument) for argument in arguments)],
        env={**os.environ, "LAYERSIG_CACHE": str(cache)},
        cwd=world.base,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _wait(process: subprocess.Popen[str], met: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 120
    while not (found := met()):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


def _workers(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """The processes that were forked from the template, which is itself a child of the driver."""
    templates = [each for each in psutil.Process(process.pid).children() if "forkserver" in " ".join(each.cmdline())]
    return [worker for template in templates for worker in template.children()]


def _training(cache: Path) -> bool:
    """Whether a stage is being built by now."""
    return any((cache / "work").glob("*/state"))


def _gone(processes: list[psutil.Process]) -> bool:
    return not psutil.wait_procs(processes, timeout=20)[1]


def test_two_workers_give_the_bytes_of_one_process(world: World, first: Run, tmp_path: Path) -> None:
    cache, runs = tmp_path / "cache", tmp_path / "runs"
    run = world.run("--runs", runs, "--engine", "local:2", cache=cache).run
    assert run.results() == first.results()
    assert _differing(run, first) <= TIMED
    assert {name: stage["fingerprint"] for name, stage in run.stages.items()} == {
        name: stage["fingerprint"] for name, stage in first.stages.items()
    }
    # One process finds what the workers computed.
    assert world.run("--runs", tmp_path / "again", cache=cache).run.ran == set()


@pytest.mark.slow
def test_a_killed_worker_changes_nothing(world: World, first: Run, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    driver = _driver(world, tmp_path / "runs", cache)
    _wait(driver, lambda: _training(cache))
    workers = _workers(driver)
    assert workers
    for worker in workers:
        worker.kill()
    out, err = driver.communicate(timeout=300)
    assert driver.returncode == 0, err
    assert "its worker process ended (killed by SIGKILL" in err
    assert Run(Path(json.loads(out.splitlines()[-1])["run"])).results() == first.results()


@pytest.mark.slow
def test_a_killed_driver_takes_its_workers_along_and_is_continued(world: World, first: Run, tmp_path: Path) -> None:
    cache, runs = tmp_path / "cache", tmp_path / "runs"
    driver = _driver(world, runs, cache)
    _wait(driver, lambda: len(list((cache / "stages").glob("*/*"))) >= 3 and _training(cache))
    workers = _workers(driver)
    driver.kill()
    driver.communicate()
    assert _gone(workers)
    done = {path.name for path in (cache / "stages").glob("*/*")}
    run = world.run("--runs", runs, "--engine", "local:2", cache=cache).run
    assert run.results() == first.results()
    assert {stage["fingerprint"] for stage in run.stages.values() if not stage["cached"]}.isdisjoint(done)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_interruption_ends_all_workers(world: World, tmp_path: Path, number: signal.Signals) -> None:
    cache, runs = tmp_path / "cache", tmp_path / "runs"
    driver = _driver(world, runs, cache)
    _wait(driver, lambda: _training(cache))
    workers = _workers(driver)
    driver.send_signal(number)
    out, err = driver.communicate(timeout=120)
    assert driver.returncode == 130, err
    assert out == ""
    assert "Traceback" not in err
    assert _gone(workers)
    assert world.call("status", "tiny", "--runs", runs, "--json").json["status"] == "interrupted"


@pytest.mark.slow
def test_recipes_in_one_call_share_what_they_share(world: World, first: Run, tmp_path: Path) -> None:
    other = world.base / "other.toml"
    other.write_text(world.recipe.read_text().replace('name = "tiny"', 'name = "other"').replace("0.30", "0.50"))
    told = world.run(other, "--runs", tmp_path / "runs", "--engine", "local:2", cache=tmp_path / "cache")
    assert told.code == 0, told.err
    one, two = (Run(Path(each["run"])) for each in told.json["runs"])
    assert one.results() == first.results()
    computed = [stage["fingerprint"] for run in (one, two) for stage in run.stages.values() if not stage["cached"]]
    assert len(computed) == len(set(computed))
    assert two.stages["reference/chats/seed-0"]["fingerprint"] == one.stages["reference/chats/seed-0"]["fingerprint"]


def test_an_engine_that_does_not_exist_is_refused(world: World) -> None:
    for engine in ("local", "local:0", "rays", "ray:"):
        told = world.run("--engine", engine)
        assert told.code == 2
        assert "write local:N" in told.err
