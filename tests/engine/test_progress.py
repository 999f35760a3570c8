"""What a run tells while it works: which stage of how many, and how long the study will take yet."""

from __future__ import annotations

import errno
import io
import itertools
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from layersig.engine.execute import Ended
from layersig.engine.header import header
from layersig.engine.pace import Pace, duration
from layersig.engine.progress import Display, on_stderr
from layersig.pipeline import Stage, stages
from layersig.recipe.load import load
from layersig.sources.source import Source

RECIPE = Path(__file__).parents[2] / "recipes" / "quickstart.toml"


@pytest.fixture
def graph() -> tuple[Stage, ...]:
    loaded = load(RECIPE)
    return stages(loaded.recipe, loaded.components).stages


class Clock:
    """A clock that is moved by hand."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr("layersig.engine.progress.time", found)
    return found


def at(width: int, *, terminal: bool) -> tuple[Display, io.StringIO]:
    out = io.StringIO()
    return Display(Console(file=out, force_terminal=terminal, width=width)), out


def of_kind(graph: tuple[Stage, ...], kind: str) -> list[Stage]:
    return [stage for stage in graph if stage.kind == kind]


def test_what_is_left_is_the_mean_of_stages_alike(graph: tuple[Stage, ...]) -> None:
    first, second, *others = of_kind(graph, "tune")
    pace = Pace([first, second, *others], {first.id: 40.0})
    assert pace.left(None, 0.0) == (40.0 * (len(others) + 1), True)
    assert pace.left(second.id, 10.0) == (40.0 * len(others) + 30.0, True)
    assert pace.left(second.id, 90.0) == (40.0 * len(others), True)
    assert pace.left(second.id, 90.0, own=7.0) == (40.0 * len(others) + 7.0, True)
    pace.ended(second, None)
    assert pace.left(None, 0.0) == (40.0 * len(others), True)


def test_times_of_this_run_count_before_those_of_the_run_that_filled_the_cache(graph: tuple[Stage, ...]) -> None:
    first, second, third, *others = of_kind(graph, "tune")
    pace = Pace([first, second, third, *others], {first.id: 600.0})
    pace.ended(second, 20.0)
    pace.ended(third, 30.0)
    assert pace.left(None, 0.0) == (25.0 * len(others), True)


def test_stages_of_which_nothing_is_known_make_a_lower_bound(graph: tuple[Stage, ...]) -> None:
    by_name = {stage.id: stage for stage in graph}
    ila, last = by_name["score/ila/alpaca/seed-0/at-1"], by_name["score/last-k"]
    pace = Pace([by_name["score/first-k"], last, ila], {"score/first-k": 0.1})
    assert pace.left(None, 0.0) == (0.0, False)
    pace.ended(last, None)
    pace.ended(ila, 9.0)
    assert pace.left(None, 0.0) == (0.0, True)


def test_what_is_left_takes_one_mean_of_every_kind_however_many_stages_wait(
    graph: tuple[Stage, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, *others = of_kind(graph, "tune")
    pace = Pace([first, *others], {first.id: 40.0})
    taken: list[list[float]] = []

    def mean(took: list[float]) -> float:
        taken.append(took)
        return 40.0

    monkeypatch.setattr("layersig.engine.pace.fmean", mean)
    assert pace.left(None, 0.0) == (40.0 * len(others), True)
    assert len(others) > 1
    assert len(taken) == 1


@pytest.mark.parametrize(
    ("seconds", "said"), [(None, "?"), (0.04, "0.0 s"), (9.96, "10 s"), (100.0, "2 min"), (36_000.0, "10.0 h")]
)
def test_durations(seconds: float | None, said: str) -> None:
    assert duration(seconds) == said


def test_off_a_terminal_no_silence_lasts_longer_than_five_seconds_and_lines_grow_rarer(
    graph: tuple[Stage, ...], clock: Clock
) -> None:
    display, out = at(80, terminal=False)
    first, second, third = of_kind(graph, "tune")[:3]
    display.study([first, second, third], {first.id: 600.0})
    reporter = display.stage(second)
    told = []
    for _ in range(600):
        clock.now += 1
        display.tick()
        told.append(len(out.getvalue().splitlines()))
    times = [second for second, (before, after) in enumerate(zip([1, *told], told, strict=False)) if after > before]
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert times[0] == 4  # the fifth second
    assert max(gaps[:8]) == 5
    assert 55 <= max(gaps) <= 60
    lines = out.getvalue().splitlines()
    assert lines[0] == f"· 2/3 {second.id}"
    assert lines[1] == f"·   {second.id} · 5.0 s · study about 20 min left"
    reporter.start("train", 10, "steps")
    clock.now += 60
    reporter.advance(4, tokens=1200, note="loss 1.50")
    display.tick()
    assert out.getvalue().splitlines()[-1] == (
        f"·   {second.id} train 4/10 steps · 11 min · 20 tokens/s · loss 1.50 · 90 s left · study about 12 min left"
    )
    assert "\x1b" not in out.getvalue()


def test_a_reader_that_goes_away_ends_no_run(
    graph: tuple[Stage, ...], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, writer = os.pipe()
    with os.fdopen(writer, "w", buffering=1, encoding="utf-8") as stderr:
        monkeypatch.setattr(sys, "stderr", stderr)
        with Display(on_stderr()) as display:
            display.say("heard")
            assert os.read(reader, 100) == b"heard\n"
            os.close(reader)
            display.study(graph, {})
            reporter = display.stage(graph[0])
            reporter.warn("nobody reads this")
            clock.now += 600
            display.tick()
        print("nor this", file=stderr, flush=True)


def test_a_terminal_that_is_lost_ends_no_run(graph: tuple[Stage, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    class Lost(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stderr", Lost())
    monkeypatch.setenv("TERM", "xterm")
    with Display(on_stderr()) as display:
        display.phase("looking")
        display.study(graph, {})
        display.stage(graph[0]).warn("nobody reads this")
        display.tick()


@pytest.mark.parametrize("width", [64, 80, 120, 160])
def test_a_terminal_of_any_width_shows_every_number(graph: tuple[Stage, ...], clock: Clock, width: int) -> None:
    display, _ = at(width, terminal=True)
    tunes = of_kind(graph, "tune")
    display.study(tunes, {tunes[0].id: 4000.0})
    reporter = display.stage(tunes[1])
    reporter.start("train on a data set with a long name", 1000, "conversations")
    clock.now += 10
    reporter.advance(100, tokens=12_000, note="loss 1.50")
    display.tick()
    console = Console(file=io.StringIO(), width=width)
    console.print(display._progress.get_renderable())
    study, stage = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert f"stage 2/{len(tunes)} " in study
    assert "about 4.5 h left" in study
    assert "100/1000 conversations" in stage
    assert "90 s left" in stage
    assert ("1,200 tokens/s" in stage) == (width >= 110)


def test_a_stage_that_ends_moves_the_study(graph: tuple[Stage, ...], clock: Clock) -> None:
    display, _ = at(80, terminal=True)
    tunes = of_kind(graph, "tune")[:2]
    display.study(tunes, {})
    display.ended(tunes[0], Ended("failed"))
    assert [task.completed for task in display._progress.tasks] == [1]


def test_the_header_says_what_will_run_and_on_what() -> None:
    loaded = load(RECIPE, ("seeds=[0, 1]",))
    graph = stages(loaded.recipe, loaded.components)
    model = Source("pypi:smollm2", "pypi:smollm2", "model", "model", Path(), None, "0", None)
    told = header(loaded, graph, {"source/model": model}, {"device": "cpu", "dtype": "float32"}, 9)
    count = len(graph.stages)
    assert told == (
        f"quickstart/{loaded.id} · smollm2 · cpu, float32 · 8 arms x 1 data set x 2 seeds · "
        f"{count} stages: 9 cached, {count - 9} to run"
    )
    assert header(loaded, graph, {"source/model": model}, {}, count).endswith(f" · {count} stages, all cached")
    local = replace(model, resolved="path:/home/somebody/models/mine")
    assert f"quickstart/{loaded.id} · mine · " in header(loaded, graph, {"source/model": local}, {}, count)
