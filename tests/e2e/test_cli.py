"""The command line as a process: quick, quiet, and plain where nobody watches."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.world import World

ROOT = Path(__file__).parents[2]
RECIPES = sorted(str(path) for path in (ROOT / "recipes").rglob("*.toml"))
MAIN = "from layersig.cli.main import main; main()"
LIBRARIES = "import click, pluggy; from pydantic import BaseModel, Field, model_validator"
HEAVY = ("torch", "transformers", "peft", "lm_eval", "datasets", "altair", "scipy")
WATCHED = f"""
import atexit, sys

atexit.register(lambda: print("LOADED", *sorted(set({HEAVY!r}) & set(sys.modules)), file=sys.stderr))
{MAIN}
"""


def _process(code: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def _cpu_seconds(*arguments: str, code: str = MAIN) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = _process(code, *arguments)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.parametrize(
    "arguments", [("--help",), ("validate", RECIPES[0]), ("run", "--help")], ids=["help", "validate", "run-help"]
)
def test_quick_verbs_take_less_than_three_times_their_imports(arguments: tuple[str, ...]) -> None:
    # Relative to the imports that every verb needs, so that the bound is the same on slow and fast processors; in
    # turns, so that whatever else the machine does slows both.
    turns = [(_cpu_seconds(*arguments), _cpu_seconds(code=LIBRARIES)) for _ in range(4)]
    assert min(verb / libraries for verb, libraries in turns) < 3


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("validate", *RECIPES),
        ("recipes", "ls"),
        ("runs",),
        ("schema",),
        ("plugins",),
        ("run", "--help"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_verbs_that_compute_nothing_import_nothing_heavy(arguments: tuple[str, ...]) -> None:
    done = _process(WATCHED, *arguments)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1].strip() == "LOADED"


def test_a_plan_of_a_model_that_is_not_here_loads_no_tensors(tmp_path: Path) -> None:
    done = _process(WATCHED, "plan", RECIPES[0], LAYERSIG_CACHE=str(tmp_path))
    assert done.returncode == 0, done.stderr
    # Detectable differences are computed all the same.
    assert done.stderr.splitlines()[-1].split() == ["LOADED", "scipy"]


def test_help_lists_every_verb_and_every_verb_has_help(world: World) -> None:
    from layersig.cli.main import VERBS

    told = world.call("--help")
    for verb in VERBS:
        assert f"  {verb} " in told.out
        assert world.call(verb, "--help").code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("rnu", "recipe.toml"), "error: No such command 'rnu', did you mean 'run'?"),
        (("xyzzy",), "error: No such command 'xyzzy'"),
        (("run",), "error: Missing argument 'RECIPE'"),
        (("run", "recipe.toml", "--jsn"), "error: No such option '--jsn'"),
        (("validate", "nowhere.toml"), "error: there is no recipe nowhere.toml"),
        (("status", "nothing"), "error: no run 'nothing' in runs"),
        (("report", "nothing"), "error: no run 'nothing' in runs"),
        (("recipes", "show", "nothing"), "error: no recipe 'nothing'"),
        (("run", "recipe.toml", "train.rank=0"), "train.rank"),
    ],
)
def test_a_mistake_costs_one_message_and_exit_code_2(world: World, arguments: tuple[str, ...], message: str) -> None:
    told = world.call(*arguments)
    assert told.code == 2
    assert message in told.err
    assert len(told.errors) == 1
    assert "Traceback" not in told.err


def test_a_traceback_is_for_those_who_ask(world: World) -> None:
    quiet = _process(MAIN, "status", "nothing")
    assert (quiet.returncode, "Traceback" in quiet.stderr) == (2, False)
    loud = _process(MAIN, "--debug", "status", "nothing")
    assert "Traceback" in loud.stderr
    assert loud.stderr.splitlines()[-1].endswith("no run 'nothing' in runs; there are: none yet")


def test_an_error_of_our_own_is_one_line_too(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr("layersig.store.runfolder.all_runs", broken)
    told = world.call("runs")
    assert told.code == 1
    assert told.err == (
        "error: ZeroDivisionError: by zero (unexpected: `layersig --debug ...` shows where; please report it)\n"
    )


@pytest.mark.parametrize("environment", [{}, {"NO_COLOR": "1"}, {"TERM": "dumb"}], ids=["pipe", "no-color", "dumb"])
def test_pipes_get_no_escape_codes(world: World, environment: dict[str, str]) -> None:
    for arguments in (("--help",), ("recipes", "ls"), ("runs", "--runs", str(world.base / "runs")), ("rnu",)):
        done = _process(MAIN, *arguments, **environment)
        assert "\x1b" not in done.stdout + done.stderr


def test_a_reader_that_goes_away_costs_no_message() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", MAIN, "schema"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
