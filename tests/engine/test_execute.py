"""The engine on stages of its own: what runs, what is found again, what happens when something breaks."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest

from layersig.engine.execute import Executor
from layersig.engine.publish import Publisher
from layersig.errors import MachineError, StageFailed, UserError
from layersig.jsonform import Damaged
from layersig.pipeline import Graph, Input, Line, SourceRef, Stage
from layersig.plugin.tracking import Tracking
from layersig.records import Cell
from layersig.sources.source import Source
from layersig.stages.job import Job, Silent
from layersig.stages.spec import ModelSpec, StageSpec
from layersig.store.cache import Cache
from layersig.store.runfolder import RunFolder
from tests.manifests import manifest

ran: list[str] = []


class Length(StageSpec):
    kind, version, body = "length", 1, f"{__name__}:length"
    reads = ("text",)


class Double(ModelSpec):
    kind, version, body = "double", 1, f"{__name__}:double"
    reads = ("value",)

    breaks_at: int | None = None
    raises_at: int | None = None


class Report(ModelSpec):
    kind, version, body = "report", 1, f"{__name__}:report"
    reads = ("value",)


COMPUTE = {"dtype": "float32", "device": "cpu", "quantization": "none", "attention": "sdpa"}


def digest(text: Path, cache: Path) -> str:
    return f"digest of {text.read_text()}"


def length(job: Job) -> None:
    """Writes how long its text is, so that different texts may give the same output."""
    ran.append("length")
    text = job.inputs["text"].read_text()
    if text == "bad":
        raise UserError("text.txt: write something good")
    if text == "damaged":
        raise Damaged("text.txt:1", "it is not JSON")
    if text in ("edited", "removed"):
        (job.work / "half.json").write_text("{}")
        job.inputs["text"].write_text("something else") if text == "edited" else job.inputs["text"].unlink()
    job.write("value.json", {"value": len(text)})
    job.metrics.append({"step": 1, "loss": 0.5})
    job.cost["tokens"] = len(text)


def double(job: Job) -> None:
    ran.append("double")
    value = job.read("value", "value.json")["value"]
    if value == job.spec.breaks_at:
        raise StageFailed("loss is NaN at step 3")
    if value == job.spec.raises_at:
        raise ZeroDivisionError("by zero")
    job.write("value.json", {"value": 2 * value})


def report(job: Job) -> None:
    ran.append("report")
    job.write("value.json", {"value": job.read("value", "value.json")["value"]})


@pytest.fixture
def world(tmp_path):
    ran.clear()
    return World(tmp_path)


class World:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.text = root / "text.txt"
        self.warnings: list[str] = []
        self.declared = "first"
        self.on_record: tuple[str, ...] = ()
        self.asked = 0

    def numerics(self) -> dict[str, str]:
        self.asked += 1
        return {"dtype": "float32"}

    def run(self, text: str = "hello", *, reuse: bool = True, runs: str = "runs", cell: str = "x", **params) -> bool:
        self.text.write_text(text)
        now = partial(digest, self.text)
        source = Source(
            *("file:text.txt", "file:text.txt", "text", "data", self.text, None, now(self.root), None), digest_now=now
        )
        graph = Graph(
            {"source/text": SourceRef("data", "text", "file:text.txt")},
            (
                Stage("length", Cell(), Length.of(), {"text": Input("source/text")}),
                Stage(
                    f"double/{cell}",
                    Cell(scorer=cell),
                    Double.of(**params, **COMPUTE),
                    {"value": Input("length")},
                    line=Line("value.json", "scores.jsonl", {"scorer": cell}),
                ),
                Stage(
                    "report",
                    Cell(arm="a"),
                    Report.of(**COMPUTE),
                    {"value": Input(f"double/{cell}")},
                    files={"": "evaluations/a"},
                ),
            ),
        )
        self.folder = RunFolder(self.root / runs / "study" / "1")
        about, earlier = manifest(), self.folder.earlier(print)
        publisher = Publisher(
            self.folder, graph, about, "tiny", self.declared, Tracking((), (), print), earlier=earlier
        )
        cache = Cache(self.root / "cache", self.warnings.append)
        executor = Executor(
            cache,
            self.numerics,
            0,
            [self.declared, *self.on_record],
            lambda stage: Silent(),
            reuse=reuse,
        )
        complete = executor.run(graph, {"source/text": source}, publisher)
        publisher.finish()
        return complete

    def stage(self, name: str) -> dict:
        return next(stage for stage in self.folder.manifest()["stages"] if stage["id"] == name)


def test_a_second_run_runs_nothing_and_publishes_the_same(world):
    assert world.run()
    first = (world.folder.path / "scores.jsonl").read_text()
    assert ran == ["length", "double", "report"]
    assert world.run(runs="elsewhere")
    assert ran == ["length", "double", "report"]
    assert (world.folder.path / "scores.jsonl").read_text() == first
    assert json.loads(first)["value"] == 10
    assert json.loads((world.folder.path / "evaluations" / "a" / "value.json").read_text()) == {"value": 10}
    assert world.stage("length")["cached"]
    assert world.stage("length")["tokens"] == 5


def test_what_results_depend_on_is_asked_once_for_all_stages(world):
    world.run()
    assert world.asked == 1


def test_runs_without_cache_are_byte_identical(world):
    world.run()
    first = (world.folder.path / "scores.jsonl").read_bytes()
    world.run(reuse=False, runs="elsewhere")
    assert ran == ["length", "double", "report"] * 2
    assert (world.folder.path / "scores.jsonl").read_bytes() == first


def test_a_changed_input_with_equal_output_stops_there(world):
    world.run("hello")
    world.run("world")
    assert ran == ["length", "double", "report", "length"]


def test_a_label_changes_no_result(world):
    world.run(cell="x")
    world.run(cell="y")
    assert ran == ["length", "double", "report"]
    assert json.loads((world.folder.path / "scores.jsonl").read_text())["scorer"] == "y"


@pytest.mark.parametrize(("params", "message"), [({"breaks_at": 5}, "NaN at step 3"), ({"raises_at": 5}, "by zero")])
def test_a_failed_stage_keeps_what_was_whole_and_stops_what_reads_it(world, params, message):
    assert not world.run(**params)
    assert ran == ["length", "double"]
    assert [stage["status"] for stage in world.folder.manifest()["stages"]] == ["done", "failed", "missing"]
    assert message in world.stage("double/x")["error"]
    assert (world.folder.path / "scores.jsonl").read_text() == ""
    world.run()
    assert ran == ["length", "double", "double", "report"]


def test_a_users_mistake_ends_the_run_at_once(world):
    with pytest.raises(UserError, match=r"text\.txt"):
        world.run("bad")
    assert ran == ["length"]
    assert world.stage("length")["status"] == "failed"


def test_a_damaged_file_is_told_of_with_the_stage_that_read_it(world):
    with pytest.raises(Damaged, match=r"^length: text\.txt:1: damaged \(it is not JSON\); run the recipe again"):
        world.run("damaged")


@pytest.mark.parametrize("how", ["edited", "removed"])
def test_what_was_made_of_a_source_that_changed_meanwhile_is_not_kept(world, how):
    with pytest.raises(UserError, match=r"^length: .*text\.txt changed while the run was at work; run again$"):
        world.run(how)
    assert not list((world.root / "cache").glob("stages/*/*"))
    assert not list((world.root / "cache" / "work").iterdir()), "it might be continued from"
    assert world.stage("length")["status"] == "failed"
    assert world.run("something else")


def test_a_run_that_breaks_off_leaves_what_an_earlier_one_had(world):
    world.run()
    with pytest.raises(UserError, match=r"^length: text\.txt"):
        world.run("bad")
    assert json.loads((world.folder.path / "evaluations" / "a" / "value.json").read_text()) == {"value": 10}
    assert (world.folder.path / "scores.jsonl").read_text()


def test_a_restart_refers_to_what_the_last_start_did_until_it_gets_there(world):
    world.run()
    before = {stage["id"]: stage["fingerprint"] for stage in world.folder.manifest()["stages"]}
    with pytest.raises(UserError):
        world.run("bad")
    after = world.folder.manifest()["stages"]
    assert [stage["status"] for stage in after] == ["failed", "waiting", "waiting"]
    assert [stage["fingerprint"] == before[stage["id"]] for stage in after] == [False, True, True]


def test_a_run_with_a_failed_stage_holds_nothing_of_an_older_state(world):
    world.run()
    assert not world.run(breaks_at=5)
    assert not (world.folder.path / "evaluations" / "a").exists()
    assert (world.folder.path / "scores.jsonl").read_text() == ""


def test_trouble_with_the_machine_is_told_as_such(world, monkeypatch):
    monkeypatch.setattr("layersig.stages.job.Job.write", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(MachineError, match="disk full"):
        world.run()


def test_a_damaged_entry_is_built_again(world):
    world.run()
    entry = next((world.root / "cache" / "stages").glob("*/*/out/value.json"))
    entry.write_text("{")
    world.run()
    assert len(ran) == 4
    assert "set aside" in world.warnings[0]
    assert json.loads((world.folder.path / "scores.jsonl").read_text())["value"] == 10


def test_a_declaration_made_after_the_result_is_marked(world):
    world.run()
    assert world.stage("report")["declared"]
    world.declared = "second"
    world.run()
    assert not world.stage("report")["declared"]
    world.run(reuse=False)
    assert not world.stage("report")["declared"]
    world.run("another text, not seen before")
    assert world.stage("report")["declared"]


def test_of_several_declarations_only_that_of_the_run_that_computed_counts(world):
    """One arm is declared, the run is interrupted, and another one is declared: both would be right half the time."""
    world.declared, world.on_record = "second", ("first",)
    world.run()
    assert world.stage("report")["declared"]
    assert world.stage("report")["other_declarations"] == 1
    world.declared, world.on_record = "first", ("second",)
    for reuse in (True, False):
        world.run(reuse=reuse)
        assert not world.stage("report")["declared"]
        assert world.stage("report")["other_declarations"] == 1
    world.declared, world.on_record = "second", ("first", "third")
    world.run()
    assert world.stage("report")["declared"]
    assert world.stage("report")["other_declarations"] == 1
