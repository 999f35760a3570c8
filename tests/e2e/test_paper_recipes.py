"""Every recipe is valid, and the paper's run on tiny models of their architectures."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml  # type: ignore[import-untyped]
from transformers import AutoConfig, AutoModelForCausalLM

from layersig.engine import study
from layersig.layers import LayerMap
from layersig.recipe.load import load
from layersig.recipe.schema import Arm, Recipe
from tests.e2e.world import Run, World
from tests.study import write_lines
from tests.tiny import VOCABULARY, tiny_tokenizer

RECIPES = Path(__file__).parents[2] / "recipes"
PAPER = {path.stem: path for path in sorted((RECIPES / "paper").glob("*.toml"))}
TABLES = [f"table-{number:02}" for number in range(2, 19)]
MODELS = ["llama-2-7b", "llama-3.1-8b", "mistral-7b"]
COMMON = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_attention_heads": 4,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "tie_word_embeddings": False,
}
LLAMA_3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
# What sets them apart: depth, heads with keys of their own, a sliding window, scaled rotary positions, biases.
ARCHITECTURES: Mapping[str, tuple[str, dict[str, Any]]] = {
    "meta-llama/Llama-2-7b-hf": ("llama", {"num_hidden_layers": 2, "num_key_value_heads": 4}),
    "meta-llama/Llama-2-13b-hf": ("llama", {"num_hidden_layers": 3, "num_key_value_heads": 4}),
    "meta-llama/Llama-3.1-8B": (
        "llama",
        {"num_hidden_layers": 2, "num_key_value_heads": 2, "rope_parameters": LLAMA_3_ROPE},
    ),
    "mistralai/Mistral-7B-v0.1": (
        "mistral",
        {"num_hidden_layers": 3, "num_key_value_heads": 2, "sliding_window": 16},
    ),
    "Qwen/Qwen2.5-7B-Instruct": ("qwen2", {"num_hidden_layers": 2, "num_key_value_heads": 2}),
}
TURNS = [(f"what is {n}?", f"it is {n}.") for n in range(30)]
ROWS: Mapping[str, list[dict[str, Any]]] = {
    "lima": [{"conversations": [*turn, "and then?", "nothing."], "source": "test"} for turn in TURNS],
    "norobots": [
        {
            "prompt": question,
            "prompt_id": question,
            "messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}],
            "category": "Open QA",
        }
        for question, answer in TURNS
    ],
    "alpaca-gpt4": [{"instruction": question, "input": "", "output": answer} for question, answer in TURNS],
    "limo": [{"question": question, "solution": f"Well, {answer}", "answer": answer[6:]} for question, answer in TURNS],
    "s1.1": [
        {
            "question": question,
            "solution": answer[6:],
            "deepseek_thinking_trajectory": "Let me see.",
            "deepseek_attempt": answer,
        }
        for question, answer in TURNS
    ],
}


class Shelf:
    """Tiny stand-ins for what the recipes name, in one folder with one cache, so that what recipes share runs once."""

    def __init__(self, base: Path) -> None:
        self.base = base
        for name, rows in ROWS.items():
            write_lines(base / f"{name}.jsonl", rows)
        for name, (kind, own) in ARCHITECTURES.items():
            folder = base / name
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **COMMON, **own)).save_pretrained(folder)
            tiny_tokenizer().save_pretrained(folder)

    def run(self, stem: str, *overrides: str) -> Run:
        """Two steps of everything that a recipe of the paper does."""
        recipe = load(PAPER[stem]).recipe
        sources = [f"data.{number}.source=file:{each.name}.jsonl" for number, each in enumerate(recipe.data)]
        sources += [f"scorers.{name}.source=file:runs/{Path(path).name}" for name, path in borrowed(recipe).items()]
        model = recipe.model.source.removeprefix("hub:")
        small = ["model.dtype=float32", "evaluate.tasks=[]", "analyze.outcome=heldout", "seeds=[0]"]
        return (
            World(self.base, PAPER[stem]).run("--smoke", f"model.source=path:{model}", *small, *sources, *overrides).run
        )


def borrowed(recipe: Recipe) -> dict[str, str]:
    """Runs that the scorers of a recipe read, by scorer."""
    return {name: choice.source for name, choice in recipe.scorers.items() if choice.source is not None}


def most_layers(arm: Arm, run: Run, data: str, of: int) -> int:
    """How many of `of` layers an arm takes, which is exact for all arms but an intersection."""
    params = arm.select.params
    if arm.select.kind == "list":
        return of
    if "like" in params:
        return len(run.layers(params["like"], data))
    count = math.floor(params["fraction"] * of + 0.5)
    return of - count if arm.select.kind == "freeze" else count


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shelf]:
    """With the run of table 3, which other tables carry rankings over from; reports are another test's business."""
    shelf = Shelf(tmp_path_factory.mktemp("paper"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(study, "write_report", lambda *_: None)
        shelf.run("table-03")
        yield shelf


def test_every_recipe_is_valid(world: World) -> None:
    found = sorted(RECIPES.rglob("*.toml"))
    told = world.call("validate", *found, "--json")
    assert (told.code, told.json["valid"], told.json["faults"]) == (0, [str(path) for path in found], {})
    graded = [RECIPES / "paper" / f"table-{number}.toml" for number in ("05", "06", "07", "12", "14", "16", "17", "18")]
    assert [*told.json["notes"]] == [str(path) for path in graded]
    for path, line in zip(graded, told.err.splitlines(), strict=True):
        assert line.startswith(f"warning: {path}:")
        assert ": mt-bench: not asked, because [judge] has no endpoint" in line


def test_there_is_a_recipe_for_every_table_figure_and_main_model() -> None:
    assert [*PAPER] == ["figure-1", "figure-2", "figure-3", *MODELS, *TABLES]
    models = {load(path).recipe.model.source.removeprefix("hub:") for path in PAPER.values()}
    assert models == set(ARCHITECTURES)


@pytest.mark.parametrize(
    "stem", [pytest.param(stem, marks=[pytest.mark.slow] if stem in MODELS[1:] else []) for stem in PAPER]
)
def test_a_recipe_of_the_paper_runs_on_its_architecture(shelf: Shelf, stem: str) -> None:
    recipe = load(PAPER[stem]).recipe
    run = shelf.run(stem)
    assert run.manifest["status"] == "complete"
    layers = LayerMap.from_json(json.loads((run.path / "layers.json").read_text()))
    depth = ARCHITECTURES[recipe.model.source.removeprefix("hub:")][1]["num_hidden_layers"]
    assert len(layers) == depth * 7 + 1
    assert {row["step"] for row in run.lines("metrics.jsonl")} <= {1, 2}
    ranked = {(row["scorer"], row["data"]): row for row in run.lines("scores.jsonl")}
    assert {scorer for scorer, _ in ranked} == set(recipe.scorers)
    for name in borrowed(recipe):
        assert ranked[name, None]["coverage"] == 1.0
    for arm in recipe.arms:
        for data in (each.name for each in recipe.data):
            chosen, most = run.layers(arm.name, data), most_layers(arm, run, data, len(layers))
            assert chosen
            assert len(chosen) <= most if arm.select.kind == "intersection" else len(chosen) == most, arm.name
            assert (run.path / "evaluations" / arm.name / data / "seed-0" / "items.jsonl").is_file()


def test_a_recipe_runs_on_the_other_models_it_names(shelf: Shelf) -> None:
    run = shelf.run("table-16", "model.source=path:meta-llama/Llama-3.1-8B")
    assert len(json.loads((run.path / "layers.json").read_text())["layers"]) == 15


def test_reasoning_is_trained_on_whole_solutions(shelf: Shelf) -> None:
    run = shelf.run("figure-3")
    shapes = {name: json.loads((run.path / "data" / f"{name}.json").read_text())["shape"] for name in ("limo", "s1.1")}
    assert shapes == {
        "limo": "question/solution",
        "s1.1": "question/deepseek_thinking_trajectory+deepseek_attempt",
    }


@pytest.mark.parametrize(
    ("task", "answer", "found"),
    [
        ("aime24", r"\boxed{12} then \boxed{ 033 }", "33"),
        ("aime24", "the answer is 33", None),
    ],
)
def test_the_answer_in_the_last_box_counts(task: str, answer: str, found: str | None) -> None:
    definition = yaml.safe_load((RECIPES / "paper" / "tasks" / f"{task}.yaml").read_text())
    (boxed,) = definition["filter_list"]
    matches = re.findall(boxed["filter"][0]["regex_pattern"], answer)
    assert (matches[boxed["filter"][0]["group_select"]] if matches else None) == found


def test_the_tasks_of_reasoning_can_be_evaluated(shelf: Shelf) -> None:
    folder = shelf.base / "tasks"
    folder.mkdir()
    write_lines(folder / "rows.jsonl", [{"problem": f"what is {n}?", "answer": str(n)} for n in range(4)])
    definition = (RECIPES / "paper" / "tasks" / "math500.yaml").read_text()
    local = "dataset_path: json\ndataset_kwargs: {data_files: {test: rows.jsonl}}"
    definition = definition.replace("dataset_path: HuggingFaceH4/MATH-500", local).replace("8192", "8")
    (folder / "math500.yaml").write_text(definition)
    run = shelf.run("table-10", "arms=[]", 'evaluate.tasks=["file:tasks/math500.yaml"]', "analyze.primary=[]")
    assert run.manifest["status"] == "complete"
