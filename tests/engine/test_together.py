"""Graphs in worker processes: what runs where and when, and what happens when a worker dies."""

from __future__ import annotations

import errno
import io
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from rich.console import Console

from layersig.engine.alike import AlikeFailures
from layersig.engine.execute import Ended, Executor
from layersig.engine.progress import Display
from layersig.engine.remote import Setting
from layersig.engine.template import forking
from layersig.engine.together import Part, Together, path_weights
from layersig.engine.workers import Workers, environments
from layersig.errors import MachineError, StageFailed
from layersig.pipeline import Graph, Input, Stage
from layersig.records import Cell
from layersig.store.cache import Cache
from tests.engine.steps import Step


class Ends:
    """Keeps how stages ended."""

    def __init__(self) -> None:
        self.how: dict[str, Ended] = {}

    def started(self, stage: Stage, fingerprint: str) -> None:
        pass

    def ended(self, stage: Stage, how: Ended) -> None:
        assert stage.id not in self.how
        self.how[stage.id] = how


class Site:
    """A cache and a log of the stages that ran."""

    def __init__(self, root: Path) -> None:
        self.cache, self.log = root / "cache", root / "log"
        self.shown = io.StringIO()

    @property
    def ran(self) -> list[str]:
        return self.log.read_text().split() if self.log.exists() else []

    def stage(self, name: str, *before: str, **params) -> Stage:
        inputs = {f"before-{number}": Input(each) for number, each in enumerate(before)}
        return Stage(name, Cell(), Step.of(name=params.pop("called", name), log=str(self.log), **params), inputs)

    def workers(self, count: int, settings: Sequence[Setting]) -> Workers:
        return Workers(count, settings, context=forking([Step.body.partition(":")[0]], 1))

    def run(self, *graphs: Sequence[Stage], workers: int = 2, **options) -> list[dict[str, Ended]]:
        settings = [Setting(self.cache, dict, 0, ("declared",)) for _ in graphs]
        parts = [
            Part(
                f"graph-{number}",
                Graph({}, tuple(graph)),
                Executor(Cache(self.cache, print), dict, 0, ["declared"], lambda stage: pytest.fail("ran here")),
                {},
                Ends(),
            )
            for number, graph in enumerate(graphs)
        ]
        with Display(Console(file=self.shown, width=200)) as display, self.workers(workers, settings) as pool:
            Together(parts, pool, display, **options).run()
        return [part.publisher.how for part in parts]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_the_longest_path_first_and_nothing_twice(site: Site) -> None:
    graph = [
        site.stage("alone"),
        site.stage("first"),
        site.stage("second", "first"),
        site.stage("third", "second", "alone"),
    ]
    weights = path_weights(Graph({}, tuple(graph)))
    assert (
        sorted(weights, key=weights.__getitem__) == ["third", "alone", "second", "first"]
        or weights["alone"] == weights["second"]
    )
    (how,) = site.run(graph, workers=1)
    assert site.ran == ["first", "alone", "second", "third"]
    assert {ended.status for ended in how.values()} == {"done"}
    assert how["third"].entry.about["warnings"] == ["slept"]
    (again,) = site.run(graph)
    assert len(site.ran) == 4
    assert all(ended.cached for ended in again.values())


def test_two_graphs_share_and_a_failure_stops_only_its_readers(site: Site) -> None:
    one = [site.stage("shared", seconds=0.5), site.stage("end", "shared", called="one")]
    two = [
        site.stage("shared", seconds=0.5),
        site.stage("broken", "shared", breaks=True),
        site.stage("never", "broken"),
        site.stage("end", "shared", called="two"),
    ]
    first, second = site.run(one, two)
    assert Counter(site.ran) == Counter(["shared", "one", "two", "broken"])
    assert [first["shared"].cached, second["shared"].cached] == [True, False], "the longer path ran it"
    assert {name: ended.status for name, ended in second.items()} == {
        "shared": "done",
        "broken": "failed",
        "never": "missing",
        "end": "done",
    }
    assert second["broken"].error == "ValueError: no such nap"


def test_a_stage_whose_worker_dies_runs_once_more(site: Site) -> None:
    graph = [site.stage("once", dies=1), site.stage("always", dies=9), site.stage("reads", "once")]
    (how,) = site.run(graph)
    assert Counter(site.ran) == {"once": 2, "always": 2, "reads": 1}
    assert {name: ended.status for name, ended in how.items()} == {"once": "done", "always": "failed", "reads": "done"}
    assert "killed by SIGKILL" in how["always"].error
    assert list(how["once"].entry.about["files"]) == ["value.json"]
    assert "once: its worker process ended (killed by SIGKILL" in site.shown.getvalue()


def test_two_drivers_run_no_stage_twice(site: Site) -> None:
    graph = [site.stage(f"s{number}", seconds=0.3) for number in range(6)]
    with ThreadPoolExecutor(2) as drivers:
        both = list(drivers.map(lambda _: site.run(graph, workers=1)[0], range(2)))
    assert sorted(site.ran) == [stage.id for stage in graph]
    for how in both:
        assert {ended.status for ended in how.values()} == {"done"}
        assert 0 < sum(ended.cached for ended in how.values()) < 6, "they shared the work"


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [4.0, 1.5])
def test_two_workers_take_at_most_six_tenths_of_the_time_of_one(site: Site, seconds: float) -> None:
    graph = [site.stage(f"s{number}", seconds=seconds) for number in range(12)]
    began = time.monotonic()
    site.run(graph, workers=2)
    took = time.monotonic() - began
    assert took <= 0.6 * 12 * seconds, took / (12 * seconds)


def test_a_run_stops_when_stages_of_a_kind_fail_alike_in_a_row(site: Site) -> None:
    graph = [site.stage(f"s{number}", breaks=True) for number in range(6)]
    with pytest.raises(StageFailed, match=r"stopped: 3 `step` stages in a row failed with the same error.*no such nap"):
        site.run(graph, workers=1, stop_after=3)
    assert len(site.ran) == 3


def test_only_equal_failures_in_a_row_count() -> None:
    stage = Stage("s", Cell(), Step.of(name="s", log=""), {})
    failures = AlikeFailures(2)
    for error in ("step 3 is NaN", "no such nap", "step 4 is NaN"):
        failures.count(stage, Ended("failed", "0", error=error))
    failures.count(stage, Ended("done", "1", cached=True))  # says nothing about what is computed now
    with pytest.raises(StageFailed, match="step 12 is NaN"):
        failures.count(stage, Ended("failed", "0", error="step 12 is NaN"))
    failures.count(stage, Ended("done", "1"))
    failures.count(stage, Ended("failed", "0", error="step 5 is NaN"))


@pytest.mark.parametrize("error", [OSError(errno.EAGAIN, "Resource temporarily unavailable"), EOFError()])
def test_a_worker_that_cannot_be_started_ends_the_run(
    site: Site, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def refuse(*_: object) -> None:
        raise error

    monkeypatch.setattr("multiprocessing.process.BaseProcess.start", refuse)
    with pytest.raises(MachineError, match=r"a worker process cannot be started \(.+\); use fewer workers"):
        site.run([site.stage("one")])


def test_workers_share_cards_and_threads() -> None:
    shares = environments(3, 2, ("4", "GPU-ab"))
    assert [share["CUDA_VISIBLE_DEVICES"] for share in shares] == ["4", "GPU-ab", "4"]
    assert {share["OMP_NUM_THREADS"] for share in shares} == {"2"}
    assert "CUDA_VISIBLE_DEVICES" not in environments(1, 2, ())[0]
