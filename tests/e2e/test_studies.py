"""The recipes of open questions: all are valid, and the small ones run on a tiny model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from layersig.pipeline import stages
from layersig.recipe.load import load, load_all
from tests.e2e.world import World
from tests.study import write_lines, write_study
from tests.tiny import VOCABULARY, save_tiny, tiny_tokenizer

RECIPES = Path(__file__).parents[2] / "recipes" / "studies"
TASK = "evaluate.tasks=[{source='file:choice.yaml', limit=4}]"
ROWS = [
    {"instruction": f"say {number}", "input": "" if number % 2 else "loudly", "output": f"{number} abc {number * 7}"}
    for number in range(40)
]
PAIRS = [
    {"prompt": f"say {number}", "chosen": f"{number} abc", "rejected": f"no, never {number * 7}"}
    for number in range(40)
]
DATA = ["data.0.source=file:rows.jsonl", "data.1.source=file:rows.jsonl", "data.2.source=file:chats.jsonl"]
MODELS = [
    "data.0.source=file:rows.jsonl",
    "models.0.source=path:model",
    "models.1.fallback=path:model",
    "models.1.source=path:deep-12",
    "models.2.fallback=path:model",
    "models.2.source=path:deep-13",
]
OVERRIDES: Mapping[str, list[str]] = {
    "small-fraction": ["data.0.source=file:rows.jsonl", TASK, "arms.0.grid.select.fraction=[0.2, 0.6]"],
    "small-size": ["data.0.source=file:rows.jsonl", TASK, "data.0.grid.train_limit=[4, 8]"],
    "small-diversity": [*DATA, "data.0.train_limit=4"],
    "small-kinds": [*DATA, TASK],
    "small-sanity": [f"data.{place}.source=file:rows.jsonl" for place in range(4)],
    "small-preferences": ["data.0.source=file:pairs.jsonl"],
    "small-architectures": [*MODELS[:3], "models.1.source=path:other"],
    "small-scale": MODELS,
    "small-necessity": MODELS,
    "small-weights": [
        "data.0.source=file:rows.jsonl",
        "models.0.source=path:deep-12",
        "models.1.source=untrained:path:deep-12",
    ],
}
SHAPE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


def test_every_small_recipe_has_a_large_one_and_is_run() -> None:
    names = {path.stem for path in RECIPES.glob("*.toml")}
    assert names == {*OVERRIDES, *(name.removeprefix("small-") for name in OVERRIDES)}


@pytest.mark.parametrize("name", OVERRIDES)
def test_what_a_large_recipe_varies_its_small_one_does_too(name: str) -> None:
    small, large = (load_all(RECIPES / f"{each}.toml")[0] for each in (name, name.removeprefix("small-")))
    assert {sweep.quantity for sweep in small.recipe.sweeps} == {sweep.quantity for sweep in large.recipe.sweeps}
    assert len(large.recipe.seeds) == 5
    for each in (small, large):
        graph = stages(each.recipe, each.components)
        ids = {stage.id for stage in graph.stages}
        assert all(f"evaluate/{arm.name}/{each.recipe.data[0].name}/seed-0" in ids for arm in each.recipe.arms)


def test_every_share_has_its_controls_and_the_baseline_is_the_last_point() -> None:
    found = load(RECIPES / "fraction.toml").recipe
    (sweep,) = found.sweeps
    assert (sweep.values[0], sweep.values[-1], len(sweep.values)) == (0.05, 0.9, 10)
    followed = {arm.select.params.get("like") for arm in found.arms if arm.select.kind == "matched-random"}
    assert followed == {*sweep.entries}


def across(folder: Path, name: str) -> Path:
    """The folder of the report on all models of a study."""
    write_study(folder)
    write_lines(folder / "rows.jsonl", ROWS)
    save_tiny(folder / "other", "gpt_neox")
    for blocks in (12, 13):
        config = AutoConfig.for_model("llama", **SHAPE, num_hidden_layers=blocks)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(blocks)
            AutoModelForCausalLM.from_config(config).save_pretrained(folder / f"deep-{blocks}")
        tiny_tokenizer().save_pretrained(folder / f"deep-{blocks}")
    told = World(folder, RECIPES / f"{name}.toml").run("--smoke", "analyze.resamples=100", *OVERRIDES[name])
    assert told.code == 0, told.err
    return (told.base / told.json["report"]).parent


@pytest.mark.slow
def test_rankings_of_two_architectures_are_carried_both_ways(tmp_path: Path) -> None:
    page = (across(tmp_path, "small-architectures") / "report.md").read_text()
    assert "the ranking of smollm2 on the layers of pythia" in page
    assert "the ranking of pythia on the layers of smollm2" in page


@pytest.mark.slow
def test_three_sizes_are_told_from_the_smallest_to_the_largest(tmp_path: Path) -> None:
    folder = across(tmp_path, "small-scale")
    found = json.loads((folder / "models.json").read_text())
    weights = {row["model"]: row["weights"] for row in found["model_sizes"]}
    assert list(weights) == ["smallest", "middle", "largest"]
    assert weights["middle"] * 13 == weights["largest"] * 12
    assert {row["quantity"] for row in found["model_sizes"]} == {
        "agreement of seeds",
        "agreement with largest",
        "gain kept",
    }
    assert {row["verdict"] for row in found["model_trends"]} == {"cannot tell"}
    page = (folder / "report.md").read_text()
    assert "<summary>What changes with size</summary>" in page
    assert "with 3 models the smallest p that a result could have is 0.333" in page


@pytest.mark.slow
def test_necessity_and_plasticity_have_a_verdict_for_each_model_and_one_over_all(tmp_path: Path) -> None:
    folder = across(tmp_path, "small-necessity")
    found = json.loads((folder / "models.json").read_text())
    blocks = {row["model"]: row["blocks"] for row in found["model_bridges"]}
    assert blocks == {"pythia": 12, "qwen": 13}  # the first has too few for a correlation
    for row in found["model_bridges"]:
        run = tmp_path / "runs" / f"small-necessity-{row['model']}"
        (own,) = [json.loads(path.read_text())["bridge"] for path in run.glob("*/analysis.json")]
        assert row["correlation"] in [each["correlation"] for each in own]
    assert {row["quantity"] for row in found["bridge_summaries"]} == {"correlation", "residual"}
    assert "no interval with fewer than 3 models" in (folder / "report.md").read_text()


@pytest.mark.slow
def test_a_model_is_compared_with_its_architecture_before_training(tmp_path: Path) -> None:
    folder = across(tmp_path, "small-weights")
    page = (folder / "report.md").read_text()
    assert "the ranking of learned on the layers of untrained" in page
    (run,) = (tmp_path / "runs" / "small-weights-untrained").glob("*/report.md")
    assert "it has learned nothing" in run.read_text()
    assert "## Sanity of the scores" in run.read_text()


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in OVERRIDES if not any("models." in each for each in OVERRIDES[name])])
def test_it_runs(name: str, tmp_path: Path) -> None:
    write_study(tmp_path)
    write_lines(tmp_path / "rows.jsonl", ROWS)
    write_lines(tmp_path / "pairs.jsonl", PAIRS)
    world = World(tmp_path, RECIPES / f"{name}.toml")
    run = world.run("--smoke", "model.source=path:model", "analyze.resamples=100", *OVERRIDES[name]).run
    page, analysis = (run.path / "report.md").read_text(), json.loads((run.path / "analysis.json").read_text())
    assert ("What varies with what" in page) is (name in ("small-fraction", "small-size"))
    assert ("Layers of one data set on another" in page) is (name == "small-kinds")
    assert ("What agreement depends on" in page) is (name == "small-diversity")
    assert ("with random tokens" in page or "random tokens |" in page) is (name == "small-sanity")
    assert "diversity: responses: in segments" in page or "diversity: responses: distinct: 1" in page
    if name == "small-preferences":
        rows = {(row["arm"], row["metric"]): row for row in analysis["results"]}
        assert rows["base", "preference_margin"]["value"] == 0
        assert {"preference_loss", "preference_accuracy", "loss"} <= {metric for _, metric in rows}
        declared = {(row["arm"], row["reference"]) for row in analysis["comparisons"] if row["declared"]}
        assert ("preference-carried", "preference-own") in declared
    if name == "small-size":
        assert {row["task"] for row in analysis["sweeps"] if row["primary"]} == {"heldout/alpaca-4", "choice"}
