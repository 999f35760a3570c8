"""The card of a real run: what is recorded of it, what is said later, and what a probe adds."""

from __future__ import annotations

import json

from layersig.recipe.load import load
from layersig.store.plans import PlannedForm, Plans
from layersig.topics.rigor.rows import RigorRow
from tests.e2e.world import Run, World


def card(run: Run) -> dict[str, RigorRow]:
    rows = json.loads((run.path / "analysis.json").read_text())["rigor"]
    return {row["item"]: RigorRow.model_validate(row) for row in rows}


def test_a_run_records_what_the_card_demands_of_records(first: Run) -> None:
    rows = card(first)
    met = {"environment and versions", "raw data", "prompts", "cost", "data description", "limitations and threats"}
    assert {item: rows[item].status for item in met} == dict.fromkeys(met, "met"), rows
    assert "3 local files (plugins, data, tasks) are kept" in rows["repeatable from the run folder"].evidence
    assert "not public: model" in rows["repeatable from the run folder"].evidence
    assert rows["n and seeds"].status == "not met"
    assert rows["memorisation of benchmarks"].status == "asked for"
    (prompt,) = (record["prompt"] for record in _tasks(first).values() if "prompt" in record)
    assert prompt["texts"] == ["which of 0"]
    assert prompt["answers"] == ["  one", "  two", "  three"]
    page = (first.path / "report.md").read_text()
    assert "The first prompt of choice, as the model reads it" in page
    assert "<summary>Limitations and threats to validity</summary>" in page


def _tasks(run: Run) -> dict[str, dict[str, object]]:
    found: dict[str, dict[str, object]] = json.loads((run.path / "evaluations/base/results.json").read_text())["tasks"]
    return found


def test_a_statement_made_after_the_run_belongs_to_it_and_trains_nothing(world: World, first: Run) -> None:
    said = world.run("about.interests=none", "about.licence=MIT").run
    assert (said.path.name, said.ran) == (first.path.name, set())
    assert card(said)["interests"].status == "met"
    assert 'The recipe states: "none".' in (said.path / "report.md").read_text()
    assert card(said)["declared before the run"] == card(first)["declared before the run"]
    unsaid = world.run().run
    assert card(unsaid)["interests"].status == "asked for"


def test_probing_evaluates_the_untouched_model_again_and_nothing_else(world: World, first: Run) -> None:
    probed = world.run("evaluate.memorisation=true").run
    assert probed.ran == {"evaluate/base"}
    lines = probed.lines("evaluations/base/memorisation.jsonl")
    assert [line["item"] for line in lines] == [
        line["item"] for line in probed.lines("evaluations/base/items.jsonl") if line["task"] == "choice"
    ]
    assert all("min_k_reordered" not in line for line in lines)  # this task does not show its choices
    assert all(stage["declared"] for stage in probed.stages.values() if stage["kind"] == "evaluate")
    assert card(probed)["memorisation of benchmarks"].status == "not met"
    assert "nothing to be held against" in (probed.path / "report.md").read_text()


def test_a_plan_is_part_of_the_run_if_it_was_made_before_outcomes(world: World, first: Run) -> None:
    member: PlannedForm = {
        "kind": "comparison", "arm": "mine", "reference": "all-layers", "data": "chats", "task": "heldout/chats",
        "metric": "loss", "seeds": 1, "items": 4, "level": 0.05, "detectable": 0.5, "margin": 0.02,
        "origin": "stated", "assumed": False,
    }  # fmt: skip
    plans, changed = Plans(world.cache), "analyze.resamples=1100"
    plans.put(first.path.name, [member])
    assert "plan" not in world.run().run.manifest  # its outcomes were measured without one
    plans.put(load(world.recipe, (changed,)).id, [member])
    planned = world.run(changed).run
    assert planned.manifest["plan"] == [member]
    assert "detects 0.5, against a margin of 0.02" in card(planned)["sample size chosen before"].evidence
    plans.put(planned.path.name, [{**member, "detectable": 0.01}])
    assert world.run(changed).run.manifest["plan"] == [member]
