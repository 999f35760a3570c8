"""Every large recipe in one piece on a tiny model: its tasks on rows that stand in, two seeds, analysis, report."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from layersig.evaluating import rows
from layersig.evaluating.model import SharedPrefixLM
from layersig.recipe.load import load
from layersig.sandbox import refusal
from tests.e2e import standins
from tests.e2e.test_paper_recipes import ARCHITECTURES, COMMON, PAPER, RECIPES, TURNS, borrowed
from tests.e2e.test_paper_recipes import ROWS as PAPER_ROWS
from tests.e2e.world import Run, World
from tests.study import write_lines
from tests.tiny import tiny_tokenizer

pytestmark = pytest.mark.slow

PRUNING = {
    f"pruning/{path.stem}": path
    for path in sorted((RECIPES / "pruning").glob("*.toml"))
    if not path.stem.startswith("small-")
}
LARGE = {**PRUNING, **{f"paper/{stem}": path for stem, path in PAPER.items()}}
BY_DEFAULT = ("pruning/figure-3",)
"""Recipes that run whenever the tests do."""
READ_BY_OTHERS = "paper/table-03"

slow = pytest.mark.slow
confined = pytest.mark.skipif(refusal() is not None, reason=str(refusal()))
PRUNED_DATA = {
    "gsm8k": [{"question": question, "answer": answer} for question, answer in TURNS],
    "s-gsm8k": [{"question": question, "answer": answer} for question, answer in TURNS],
    "dolci": PAPER_ROWS["norobots"],
    "s-dolci": PAPER_ROWS["norobots"],
    "alpaca": PAPER_ROWS["alpaca-gpt4"],
    "s-alpaca": PAPER_ROWS["alpaca-gpt4"],
}


class Shelf:
    """Models and data that stand in for those that the recipes name; one cache."""

    def __init__(self, base: Path) -> None:
        self.base = base
        for name, found in {**PAPER_ROWS, **PRUNED_DATA}.items():
            write_lines(base / f"{name}.jsonl", found)
        shutil.copytree(RECIPES / "paper" / "tasks", base / "tasks")
        for task in (base / "tasks").glob("*.yaml"):
            task.write_text(task.read_text().replace("8192", "32"))
        depths = {"pruned": 4, "deep": 12}  # table 6 removes ten blocks
        own = {name: ("llama", {"num_hidden_layers": n, "num_key_value_heads": 2}) for name, n in depths.items()}
        models = {**ARCHITECTURES, **own}
        for name, (kind, own) in models.items():
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                config = AutoConfig.for_model(kind, **COMMON, **own)
                AutoModelForCausalLM.from_config(config).save_pretrained(base / name)
            tiny_tokenizer().save_pretrained(base / name)

    def run(self, name: str) -> Run:
        """The recipe as it is, but for its model, data, types, and the lengths that `--smoke` cuts."""
        path = LARGE[name]
        recipe = load(path).recipe
        model = recipe.model.source.removeprefix("hub:")
        if name in PRUNING:
            model = "deep" if name == "pruning/table-6" else "pruned"
        # In the folder of the stand-ins, so that the recipe's own relative files are those.
        copy = self.base / f"{name.replace('/', '-')}.toml"
        copy.write_text(path.read_text())
        overrides = [f"model.source=path:{model}", "model.dtype=float32", "model.quantization=none", "seeds=[0, 1]"]
        overrides += [f"data.{number}.source=file:{each.name}.jsonl" for number, each in enumerate(recipe.data)]
        overrides += [
            f"scorers.{each}.source=file:runs/{Path(source).name}" for each, source in borrowed(recipe).items()
        ]
        return World(self.base, copy).run("--smoke", "analyze.resamples=100", *overrides).run


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shelf]:
    logging.disable(logging.WARNING)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "hub_splits", standins.hub_splits)
        patch.setattr(SharedPrefixLM, "generate_until", standins.generate_until)
        patch.setattr(SharedPrefixLM, "loglikelihood", standins.loglikelihood)
        yield Shelf(tmp_path_factory.mktemp("large"))
    logging.disable(logging.NOTSET)


@confined
@pytest.mark.parametrize("name", [pytest.param(name, marks=() if name in BY_DEFAULT else slow) for name in LARGE])
def test_it_runs_in_one_piece(shelf: Shelf, name: str) -> None:
    recipe = load(LARGE[name]).recipe
    if borrowed(recipe):
        shelf.run(READ_BY_OTHERS)
    run = shelf.run(name)
    assert run.manifest["status"] == "complete"
    report = (run.path / "report.md").read_text()
    analysis: dict[str, Any] = json.loads((run.path / "analysis.json").read_text())
    assert (run.path / "report.html").is_file()
    tasks = {task.source.removeprefix("file:tasks/").removesuffix(".yaml") for task in recipe.evaluate.tasks}
    measured = {row["task"].removesuffix("_boxed") for row in analysis["results"] if "/" not in row["task"]}
    if recipe.arms:
        assert measured == tasks
        evaluated = run.path / "evaluations"
        places = [f"{arm.name}/{data.name}/seed-{n}" for arm in recipe.arms for data in recipe.data for n in (0, 1)]
        assert all((evaluated / place / "items.jsonl").is_file() for place in places)
        assert {row["arm"] for row in analysis["comparisons"]} >= set(recipe.analyze.primary or ())
        assert any(row["outcome"] for row in analysis["comparisons"])  # the declared outcome was measured
    trained = {stage["cell"].get("seed") for stage in run.manifest["stages"] if stage["kind"] in ("tune", "recover")}
    assert trained in (set(), {0, 1})
    assert {scored["scorer"] for scored in run.lines("scores.jsonl")} == set(recipe.scorers)
    swept = {row["scorer"] for row in analysis["blocks"]}
    assert swept == {n for n, each in recipe.scorers.items() if each.kind == "ablation" and each.params.get("tasks")}
    assert ("One block left out at a time" in report) is bool(swept)
    assert ("over the number of blocks removed" in report) is (name == "pruning/table-6")
    recovered = any(arm.recover is not None for arm in recipe.arms) and any(
        arm.action == "prune" and arm.recover is None for arm in recipe.arms
    )
    assert ("Before and after recovery" in report) is recovered


@confined
def test_figure_3_measures_what_its_head_says(shelf: Shelf) -> None:
    run = shelf.run("pruning/figure-3")
    analysis = json.loads((run.path / "analysis.json").read_text())
    for table in ("block_retention", "retention"):
        floors = {row["task"]: row["floor"] for row in analysis[table] if row["metric"] == "acc"}
        assert set(floors) == {"arithmetic_first_digit", "arithmetic_answer"}
        assert None not in floors.values()
    assert {row["quantity"] for row in analysis["blocks"]} == {"acc", "logprob"}
    assert "logprob" in {row["metric"] for row in analysis["comparisons"]}
