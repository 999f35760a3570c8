"""What the heads of shipped recipes say of cost is what the plan counts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from layersig.pipeline import stages
from layersig.planning.costs import cost_of
from layersig.planning.facts import Facts
from layersig.planning.known import Known
from layersig.recipe.load import load
from tests.planning.heads import (
    RECIPES,
    facts_of,
    head,
    memory_sentence,
    sentence,
    stated,
    stated_memory,
    with_sentence,
)

BY_NAME = {path.stem if path.parent.name == "recipes" else f"{path.parent.name}/{path.stem}": path for path in RECIPES}


@pytest.mark.parametrize("name", BY_NAME)
def test_a_head_states_what_the_plan_counts(name: str) -> None:
    text = BY_NAME[name].read_text(encoding="utf-8")
    assert stated(text) == sentence(BY_NAME[name]), "run `python -m tests.planning.heads`"
    # Hours are the plan's alone: nothing beside it repeats them, where they would go stale.
    beside = head(text).replace("\n# ", " ")
    if "s a step" in (stated(text) or ""):
        assert not re.search(r"\d+(\.\d+)? hours", beside)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["paper/table-07", "paper/table-11", "pruning/appendix-a6"])
def test_a_head_states_the_memory_that_the_plan_estimates(tmp_path: Path, name: str) -> None:
    text = BY_NAME[name].read_text(encoding="utf-8")
    said = memory_sentence(BY_NAME[name], tmp_path)
    assert stated_memory(text) == said, "run `python -m tests.planning.heads`"
    hardware = re.search(r"# Hardware: one GPU of (\d+) GB", text)
    fits = re.search(r"fits a card of (\d+) GB", said or "")
    assert hardware is not None
    assert fits is not None
    assert int(fits[1]) <= int(hardware[1])


@pytest.mark.parametrize("name", ["paper/llama-2-7b", "paper/llama-3.1-8b", "paper/mistral-7b"])
def test_a_seed_of_a_recipe_for_a_whole_model_takes_58_hours(name: str) -> None:
    # By hand: 8 trainings on each data set, of two epochs in batches of 32, at 6.7 s a step.
    by_hand = 8 * sum(-(-2 * (rows - round(rows * held)) // 32) for rows, held in ((1030, 0.05), (10_000, 0.02)))
    by_hand += 8 * -(-2 * (52_000 - 520) // 32)
    facts = facts_of(BY_NAME[name])
    costs = [cost_of(facts, stage, None) for stage in facts.known.graph.stages]
    steps = sum(cost.passes.steps for cost in costs if cost.trainings and cost.stage.cell.seed == 0)
    assert steps == by_hand
    assert steps * 6.7 / 3600 == pytest.approx(58, abs=0.5)
    assert "58.0 h a seed" in (stated(BY_NAME[name].read_text()) or "")


@pytest.mark.parametrize(
    ("name", "override", "trainings"),
    [
        ("paper/table-08", "analyze.control_sets=19", 3 * 27),
        ("paper/table-02", "seeds=[0,1,2,3,4]", 15),
        ("small/table-05", "analyze.controls=false", None),
        ("quickstart", "seeds=[0,1]", 14),
    ],
)
def test_trainings_follow_the_recipe(name: str, override: str, trainings: int | None) -> None:
    path = BY_NAME[name]
    counts = []
    for overrides in ((), (override,)):
        loaded = load(path, overrides)
        graph = stages(loaded.recipe, loaded.components)
        facts = Facts(Known(loaded, graph, {}, {}, {}, frozenset()), facts_of(path).assumed)
        counts.append(sum(cost_of(facts, stage, None).trainings for stage in graph.stages))
    assert counts[1] == trainings if trainings is not None else counts[1] < counts[0]


def test_a_head_that_is_out_of_date_is_found_and_rewritten(tmp_path: Path) -> None:
    path = tmp_path / "quickstart.toml"
    text = BY_NAME["quickstart"].read_text()
    path.write_text(
        text.replace("steps = 10                               # opt", "steps = 11                   # opt")
    )
    assert stated(path.read_text()) != sentence(path) == "Plan: 7 trainings, 77 steps."
    path.write_text(with_sentence(path))
    assert stated(path.read_text()) == sentence(path)
    assert path.read_text() == with_sentence(path)
