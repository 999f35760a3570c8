"""A study that trains on the model's own responses: from the recipe to the report."""

from __future__ import annotations

import json
from pathlib import Path

from tests.e2e.world import World
from tests.study import RECIPE, write_lines, write_study

GENERATE = 'name = "chats"\ngenerate = { samples = 2, max_new_tokens = 12, filters = { min_words = 1 } }\nlimit = 9'
SCORES_ONLY = """
[scorers.gradient-norm]
kind = "gradient-norm"
batches = 1
"""


def test_a_study_on_self_generated_responses(tmp_path: Path) -> None:
    recipe = RECIPE.replace('name = "chats"', GENERATE)
    recipe = recipe[: recipe.index("[scorers.ila]")].replace("heldout = 6", "heldout = 4") + SCORES_ONLY
    world = World(tmp_path, write_study(tmp_path, recipe=recipe))
    run = world.run().run
    assert list(run.stages) == ["layers", "generate/chats", "data/chats", "score/gradient-norm/chats/seed-0"]
    responses = run.lines("responses/chats.jsonl")
    assert len(responses) == 18
    counts = json.loads((run.path / "responses" / "chats.json").read_text())
    prepared = json.loads((run.path / "data" / "chats.json").read_text())
    assert (counts["prompts"], counts["beyond_limit"], counts["responses"]) == (9, 15, 18)
    assert prepared["rows"] == counts["kept"] == sum(line["dropped"] is None for line in responses)
    report = (run.path / "report.md").read_text()
    assert "Self-generated responses" in report
    assert f"| kept | {counts['kept']} |" in report
    again = world.run("--runs", tmp_path / "other", cache=tmp_path / "fresh").run
    for name in ("responses/chats.jsonl", "responses/chats.json", "data/chats.json"):
        assert (again.path / name).read_bytes() == (run.path / name).read_bytes()


TASKS = """tasks = [
  { source = "arithmetic_answer", data = "file:problems.jsonl", limit = 15, floor = true },
  { source = "arithmetic_written", data = "file:problems.jsonl", limit = 15, floor = true },
]

[analyze]
same_items = [["arithmetic_answer", "arithmetic_written"]]
controls = false
"""


def test_what_is_kept_is_told_by_format_and_on_the_same_items(tmp_path: Path) -> None:
    recipe = RECIPE.replace('tasks = ["file:choice.yaml"]', TASKS)
    recipe = recipe[: recipe.index('[[arms]]\nname = "matched-random"')] + recipe[recipe.index("[evaluate]") :]
    world = World(tmp_path, write_study(tmp_path, recipe=recipe))
    problems = [(f"{a} + {b}", a + b) for a in range(3) for b in range(2)]
    write_lines(
        tmp_path / "problems.jsonl",
        [{"context": f"\n\nQ: What is {each}?\n\nA:", "completion": f" {value}"} for each, value in problems],
    )
    run = world.run().run
    base = run.path / "evaluations" / "base"
    assert len((base / "floors.jsonl").read_text().splitlines()) == 3 * 15  # acc, logprob; math_answer
    assert len(run.lines("evaluations/base/responses.jsonl")) == 15  # of six problems, each asked in three ways
    items: dict[str, list[str]] = {}
    for line in run.lines("evaluations/base/items.jsonl"):
        if line["metric"] in ("acc", "math_answer"):
            items.setdefault(line["task"], []).append(line["item"])
    assert items["arithmetic_answer"] == items["arithmetic_written"]
    assert not list((run.path / "evaluations" / "ila-30").glob("**/floors.jsonl"))
    analysis = json.loads((run.path / "analysis.json").read_text())
    formats = {(row["arm"], row["task"]): row["format"] for row in analysis["retention"]}
    assert formats["ila-30", "arithmetic_answer"] == "classification"
    assert formats["all-layers", "arithmetic_written"] == "generation"
    assert {row["probe"] for row in analysis["probes"]} >= {"words", "rep_2"}
    assert "What is kept, and what breaks" in (run.path / "report.md").read_text()
