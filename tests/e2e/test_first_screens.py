"""First screens of failed runs and of studies that are too small: they say what is missing."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from layersig.report.document import Callout, Document, Steps, plain
from layersig.topics.render import document, material_of
from tests.e2e.test_models import MODELS, SHAPE
from tests.e2e.world import World
from tests.study import RECIPE, write_study
from tests.tiny import tiny_tokenizer

pytestmark = pytest.mark.slow

DIVERGES = "train = { learning_rate = 1e30 }\n"
LEAD = 'name = "ila-30"\nscorer = "ila"\nselect = { kind = "top", fraction = 0.30 }\n'
SMALL = f"[[arms]]\n{LEAD.replace('ila-30', 'small').replace('0.30', '0.20')}"


def world_of(folder: Path, recipe: str) -> World:
    return World(folder, write_study(folder, recipe=recipe))


def page(world: World) -> Document:
    """The report of the one run."""
    told = world.run()
    return document(material_of(world.base / told.json["run"]))


def callouts(page: Document) -> str:
    return "\n".join(plain(item) for block in page.front if isinstance(block, Callout) for item in block.items)


def steps(page: Document) -> list[str]:
    return [f"{step.why} {step.command}" for block in page.front if isinstance(block, Steps) for step in block.items]


def test_a_run_with_a_failed_arm_names_it_and_answers_by_the_others(tmp_path: Path) -> None:
    world = world_of(tmp_path, RECIPE.replace("[evaluate]", f"{SMALL}{DIVERGES}\n[evaluate]"))
    found = page(world)
    assert "No results for small on chats." in callouts(found)
    assert "tune/small/chats/seed-0 failed: " in callouts(found)
    assert "of 21 layers" in found.headline or "cannot tell what ila-30" in found.headline
    assert "the headline is about" not in callouts(found)
    assert steps(found)[0].startswith("Fix what failed, then resume the run")
    assert len(steps(found)) == 1


def test_where_the_primary_arm_failed_the_screen_says_which_arm_it_is_about(tmp_path: Path) -> None:
    declared = f"{RECIPE.replace(LEAD, LEAD + DIVERGES)}\n[analyze]\nprimary = ['ila-30']\n"
    found = page(world_of(tmp_path, declared))
    assert "No results for ila-30 on chats, ila-30.rule on chats." in callouts(found)
    assert "The primary arm ila-30 has no results; the headline is about graft-30 instead." in callouts(found)


def test_a_run_whose_every_arm_failed_answers_nothing(tmp_path: Path) -> None:
    found = page(world_of(tmp_path, RECIPE.replace("learning_rate = 0.01", "learning_rate = 1e30")))
    assert found.headline == "This run failed before a result."
    assert "reference/chats/seed-0 failed: " in callouts(found)
    assert "ila-30 on chats" in callouts(found)
    assert [step.partition(" the run")[0] for step in steps(found)] == ["Fix what failed, then resume"]


def test_a_run_that_only_ranked_says_that_it_failed(tmp_path: Path) -> None:
    one = RECIPE[: RECIPE.index("[[arms]]")] + f"[[arms]]\n{LEAD}{DIVERGES}\n[analyze]\ncontrols = false\n"
    found = page(world_of(tmp_path, one))
    assert found.headline.startswith("This run failed before any choice of layers was measured; it ranks layers by ila")


@pytest.mark.parametrize(
    ("seeds", "words"), [("[0]", "One run per arm"), ("[0, 1]", "is not evidence that there is none")]
)
def test_a_study_of_few_seeds_says_what_it_cannot_show(tmp_path: Path, seeds: str, words: str) -> None:
    found = page(world_of(tmp_path, RECIPE.replace("seeds = [0]", f"seeds = {seeds}")))
    assert words in callouts(found)
    assert "seeds=[0,1,2,3,4]" in steps(found)[0]


def test_a_report_on_several_models_has_the_answer_of_each(tmp_path: Path) -> None:
    world = world_of(tmp_path, RECIPE.replace('[model]\nsource = "path:model"\ndtype = "float32"\n', MODELS))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        AutoModelForCausalLM.from_config(AutoConfig.for_model("llama", **SHAPE)).save_pretrained(tmp_path / "deeper")
    tiny_tokenizer().save_pretrained(tmp_path / "deeper")
    told = world.run()
    text = (tmp_path / told.json["report"]).with_suffix(".md").read_text()
    front = text.partition("<details>")[0].replace("\\", "")
    for run in told.json["runs"]:
        folder = tmp_path / run["run"]
        own = document(material_of(folder))
        assert f"- **{folder.parent.name.removeprefix('tiny-')}**: {own.headline}" in front
        assert f"layersig open {folder.parent.name}/{folder.name}" in front
    assert "agreement between models is judged against agreement between seeds, which takes at least 5" in front
    assert "seeds=[0,1,2,3,4]" in front
