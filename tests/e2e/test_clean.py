"""`clean` frees what no run needs, whatever else is going on in the cache."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from layersig.store import cleaning
from layersig.store.cache import Cache
from layersig.store.runfolder import RunFolder
from tests.e2e.world import Run, World

LAYERSIG = "from layersig.cli.main import main; main()"
READING = """
import sys
from pathlib import Path
from layersig.cli.main import main
while not Path({stop!r}).exists():
    for verb in ("report", "status"):
        try:
            main([verb, {run!r}, "--runs", {runs!r}])
        except SystemExit as ended:
            assert not ended.code
"""


@pytest.fixture
def own(world: World, first: Run, tmp_path: Path) -> World:
    """A world with an empty cache, where no other test has run anything."""
    base = tmp_path / "own"
    shutil.copytree(world.base, base, ignore=shutil.ignore_patterns("first", "runs", "cache"))
    return World(base, base / "recipe.toml")


def test_it_shows_what_the_cache_holds_and_frees_after_being_told(own: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cleaning, "MOMENT", 0.0)
    run = own.run().run  # puts itself on record, and computes what the copy of the cache does not have
    told = own.call("clean")
    assert told.code == 0
    assert f"tiny/{run.path.name}  complete" in told.out
    assert "nothing was freed" in told.out
    before = own.call("clean", "--json").json
    assert before["can_be_freed"]["entries"] == before["freed"]["entries"] == 0
    (used,) = (row for row in before["holds"] if row["what"] == f"tiny/{run.path.name}")
    assert used["stages"] == len({stage["fingerprint"] for stage in run.stages.values()})
    assert own.call("rm", "tiny", "--yes").code == 0
    after = own.call("clean", "--json", "--yes").json
    assert after["freed"]["entries"] == after["can_be_freed"]["entries"] >= used["stages"]
    assert not any(row["stages"] for row in own.call("clean", "--json").json["holds"])
    assert own.call("clean", "--limit", "much").code == 2


@pytest.mark.slow
def test_a_limit_in_the_settings_is_kept_after_a_run(own: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cleaning, "MOMENT", 0.0)
    monkeypatch.setenv("LAYERSIG_CACHE_LIMIT", "1kB")
    own.run()
    own.call("rm", "tiny", "--yes")
    told = own.run("train.rank=3")
    assert told.code == 0
    assert "the cache had" in told.err
    assert "runs need it" in told.err
    (run,) = (own.base / "runs").glob("tiny/*")
    held = {path.name for path in (own.cache / "stages").glob("*/*")}
    assert held <= {stage["fingerprint"] for stage in Run(run).stages.values()}
    monkeypatch.setenv("LAYERSIG_CACHE_LIMIT", "much")
    assert "LAYERSIG_CACHE_LIMIT: 'much' is not a size" in own.run().err


def test_a_cache_that_cannot_be_brought_below_the_limit_does_no_harm_to_the_run(
    world: World, first: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied", "stages/ab")

    monkeypatch.setattr("layersig.engine.study.keep_limit", refuse)
    monkeypatch.setenv("LAYERSIG_CACHE_LIMIT", "1kB")
    told = world.run()
    assert told.code == 0, told.err
    assert "warning: the cache was not brought below LAYERSIG_CACHE_LIMIT: [Errno 13] Permission denied" in told.err
    assert told.run.manifest["status"] == "complete"


@pytest.mark.slow
def test_under_load_it_frees_what_it_may_and_breaks_nothing(
    own: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    due = own.run("seeds=[1]", "--runs", tmp_path / "due", cache=tmp_path / "fresh").run
    finished = own.run().run
    monkeypatch.setattr(cleaning, "MOMENT", 1.0)
    environment = {**os.environ, "LAYERSIG_CACHE": str(own.cache)}
    stop, runs = tmp_path / "stop", own.base / "runs"
    reading = READING.format(stop=str(stop), run=f"tiny/{finished.path.name}", runs=str(runs))
    watched = {"env": environment, "cwd": own.base, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    study = [sys.executable, "-c", LAYERSIG, "run", str(own.recipe), "seeds=[1]"]
    cache, freed = Cache(own.cache, lambda message: pytest.fail(message)), 0
    with (
        subprocess.Popen([sys.executable, "-c", reading], **watched) as reader,
        subprocess.Popen(study, **watched) as writer,
    ):
        try:
            while writer.poll() is None:
                freed += len(cleaning.free(cache, cleaning.survey(cache, [runs]).freeable(0)))
        finally:
            stop.touch()
            writer.kill()
        assert writer.returncode == 0, writer.communicate()[1]
        assert reader.wait(timeout=60) == 0, reader.communicate()[1]
    assert freed > 0
    (run,) = (each for each in runs.glob("tiny/*") if each.name != finished.path.name)
    assert Run(run).results() == due.results()
    RunFolder(finished.path).verify()
    assert not list(own.cache.glob("damaged/*"))
