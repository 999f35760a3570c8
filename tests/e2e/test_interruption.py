"""Broken off anywhere, a run goes on where it was and ends with the bytes of one that was not."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from layersig.cli.main import main
from layersig.evaluating import stage as evaluating
from layersig.training import loop
from tests.e2e.world import Run, World, calls

KILLED = """
import os, signal
from layersig.cli.main import main
from layersig.stages import interval
from layersig.training import loop

interval.SECONDS = 0.0
interval.SHARE = float("inf")
clip, passes = loop._clip, []


def deadly(*arguments):
    passes.append(1)
    if len(passes) == {number}:
        os.kill(os.getpid(), signal.SIGKILL)
    return clip(*arguments)


loop._clip = deadly
main()
"""


def _steps(run: Run) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key != "seconds"} for row in run.lines("metrics.jsonl")]


def _interrupt_at(number: int) -> Callable[[int], None]:
    def interrupt(call: int) -> None:
        if call == number:
            signal.raise_signal(signal.SIGINT)

    return interrupt


@pytest.fixture(autouse=True)
def _heeds_ctrl_c() -> Iterator[None]:
    """A shell starts jobs in the background with SIGINT ignored, which they hand on; these tests are about SIGINT."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_interrupted_everywhere_it_ends_as_if_never_interrupted(world: World, first: Run, tmp_path: Path) -> None:
    cache, runs = tmp_path / "cache", tmp_path / "runs"
    # Step 2 of the reference; step 2 of ILA; step 3 of the first arm; the second arm's held-out losses.
    places: list[tuple[Any, str, int, str, list[int]]] = [
        (loop, "_clip", 2, "reference/chats/seed-0", [1]),
        (loop, "_clip", 4, "score/ila/chats/seed-0/at-1", [2, 3, 1]),
        (loop, "_clip", 4, "tune/ila-30/chats/seed-0", [2, 1, 2]),
        (evaluating, "heldout_losses", 2, "evaluate/matched-random/chats/seed-0", [3, 1, 2, 3]),
    ]
    for module, name, number, broken, taken in places:
        with calls(module, name, _interrupt_at(number)), calls(loop, "Step") as steps:
            told = world.run("--runs", runs, cache=cache)
        assert told.code == 130
        assert told.out == ""
        assert told.err.splitlines()[-1] == "interrupted; run the same command again to continue"
        assert "Traceback" not in told.err
        assert steps == taken
        status = world.call("status", "tiny", "--runs", runs, "--json", cache=cache).json
        assert status["status"] == "interrupted"
        assert [stage["id"] for stage in status["stages"] if stage["status"] == "interrupted"] == [broken]
        assert "running" not in {stage["status"] for stage in status["stages"]}
    run = world.run("--runs", runs, cache=cache).run
    assert run.manifest["status"] == "complete"
    assert run.results() == first.results()
    assert _steps(run) == _steps(first)
    assert not list((cache / "work").iterdir())


@pytest.mark.slow
def test_killed_in_a_training_step_it_goes_on_from_its_checkpoint(world: World, first: Run, tmp_path: Path) -> None:
    cache, runs = tmp_path / "cache", tmp_path / "runs"
    killed = subprocess.run(
        [sys.executable, "-c", KILLED.format(number=3), "run", str(world.recipe), "--runs", str(runs)],
        env={**os.environ, "LAYERSIG_CACHE": str(cache)},
        capture_output=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    with calls(loop, "Step") as steps:
        run = world.run("--runs", runs, cache=cache).run
    assert steps[:2] == [3, 1]
    assert run.results() == first.results()
    assert _steps(run) == _steps(first)


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(signal.SIGTERM, id="SIGTERM"),
        pytest.param(signal.SIGINT, id="SIGINT", marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, id="SIGHUP", marks=pytest.mark.slow),
    ],
)
def test_a_signal_ends_a_process_with_130_and_one_line(world: World, tmp_path: Path, number: signal.Signals) -> None:
    runs, scratch = tmp_path / "runs", tmp_path / "scratch"
    scratch.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", "from layersig.cli.main import main; main()", "run", world.recipe, "--runs", runs],
        env={**os.environ, "LAYERSIG_CACHE": str(tmp_path / "cache"), "TMPDIR": str(scratch)},
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not list(runs.glob("*/*/manifest.json")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert out == ""
    assert "Traceback" not in err
    assert err.splitlines()[-1] == "interrupted; run the same command again to continue"
    assert world.call("status", "tiny", "--runs", runs, "--json").json["status"] == "interrupted"
    assert not list(scratch.iterdir())
    assert not list(runs.rglob(".*.*"))


def test_broken_off_before_anything_began_a_complete_run_stays_complete(
    world: World, first: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = tmp_path / "runs"
    manifest = shutil.copytree(first.path, runs / "tiny" / first.path.name) / "manifest.json"
    before = manifest.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr("layersig.engine.execute.Executor.held", lambda *_: signal.raise_signal(signal.SIGINT))
        assert world.run("--runs", runs).code == 130
    assert manifest.read_bytes() == before
    other = world.base / "nowhere.toml"
    other.write_text(world.recipe.read_text().replace("path:model", "hub:nobody/nowhere").replace("tiny", "other"))
    told = world.run(other, "--runs", runs, "--offline", "--engine", "local:2")
    assert (told.code, "nobody/nowhere" in told.errors[0]) == (3, True), told.err
    assert manifest.read_bytes() == before
    assert world.run("--runs", runs).run.manifest["status"] == "complete"


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with pytest.raises(SystemExit):
            main(["plugins"])
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signals_are_as_they_were_after_a_call(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with pytest.raises(SystemExit):
        main(["plugins"])
    assert signal.getsignal(number) is before


@pytest.mark.slow
def test_a_run_whose_process_is_gone_is_shown_as_stopped(world: World, tmp_path: Path) -> None:
    cache, runs = tmp_path / "cache", tmp_path / "runs"
    killed = subprocess.run(
        [sys.executable, "-c", KILLED.format(number=1), "run", str(world.recipe), "--runs", str(runs)],
        env={**os.environ, "LAYERSIG_CACHE": str(cache)},
        capture_output=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    (path,) = runs.glob("tiny/*/manifest.json")
    assert '"status": "running"' in path.read_text()
    assert world.call("status", "tiny", "--runs", runs, "--json").json["status"] == "stopped"
    assert [row["status"] for row in world.call("runs", "--runs", runs, "--json").json["runs"]] == ["stopped"]
    assert world.call("report", "tiny", "--runs", runs).code == 0
    assert "stopped" in (path.parent / "report.md").read_text()
    with FileLock(path.parent / ".lock"):
        assert world.call("status", "tiny", "--runs", runs, "--json").json["status"] == "running"


@pytest.mark.parametrize("verb", ["report", "status"])
def test_an_interrupted_run_can_be_looked_at(world: World, tmp_path: Path, verb: str) -> None:
    runs = tmp_path / "runs"
    with calls(loop, "_clip", _interrupt_at(6)):
        world.run("--runs", runs, cache=tmp_path / "cache")
    told = world.call(verb, "tiny", "--runs", runs, "--json", cache=tmp_path / "cache")
    assert told.code == 0, told.err
    taken = [json.loads(path.read_text())["looks"] for path in (tmp_path / "cache" / "looks").glob("*.json")]
    assert taken == ([[[0]]] if verb == "report" else [])  # layers were ranked, the untouched model measured
