"""Every recipe is valid, and the paper's run on tiny models of their architectures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from layersig.layers import LayerMap
from layersig.recipe.load import load
from tests.e2e.world import World
from tests.study import write_lines
from tests.tiny import VOCABULARY, tiny_tokenizer

RECIPES = Path(__file__).parents[2] / "recipes"
PAPER = sorted((RECIPES / "paper").glob("*.toml"))
COMMON = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
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
# What sets the three apart: all heads have keys of their own, a sliding window, scaled rotary positions.
ARCHITECTURES: Mapping[str, tuple[str, dict[str, Any]]] = {
    "llama-2-7b": ("llama", {"num_key_value_heads": 4}),
    "mistral-7b": ("mistral", {"num_key_value_heads": 2, "sliding_window": 16}),
    "llama-3.1-8b": ("llama", {"num_key_value_heads": 2, "rope_parameters": LLAMA_3_ROPE}),
}


def _model(folder: Path, recipe: str) -> None:
    kind, own = ARCHITECTURES[recipe]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **COMMON, **own)).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)


def _data(folder: Path) -> dict[str, str]:
    """Rows in the shapes of LIMA, No Robots and Alpaca-GPT4, by the names that the recipes use."""
    turns = [(f"what is {n}?", f"it is {n}.") for n in range(30)]
    rows: dict[str, list[dict[str, Any]]] = {
        "lima": [{"conversations": [*turn, "and then?", "nothing."], "source": "test"} for turn in turns],
        "norobots": [
            {
                "prompt": question,
                "prompt_id": question,
                "messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}],
                "category": "Open QA",
            }
            for question, answer in turns
        ],
        "alpaca-gpt4": [{"instruction": question, "input": "", "output": answer} for question, answer in turns],
    }
    for name, each in rows.items():
        write_lines(folder / f"{name}.jsonl", each)
    return {name: f"file:{folder / name}.jsonl" for name in rows}


def test_every_recipe_is_valid(world: World) -> None:
    found = sorted(RECIPES.rglob("*.toml"))
    assert {path.relative_to(RECIPES).as_posix() for path in found} >= {
        "quickstart.toml",
        "ila_norobots.toml",
        *(f"paper/{name}.toml" for name in ARCHITECTURES),
    }
    told = world.call("validate", *found, "--json")
    assert (told.code, told.err) == (0, "")
    assert told.json == {"valid": [str(path) for path in found], "faults": {}}


def test_every_recipe_of_the_paper_is_tried() -> None:
    assert {path.stem for path in PAPER} == ARCHITECTURES.keys()


@pytest.mark.parametrize("recipe", PAPER, ids=lambda path: path.stem)
def test_a_recipe_of_the_paper_runs_on_its_architecture(recipe: Path, tmp_path: Path) -> None:
    _model(tmp_path / "model", recipe.stem)
    data = _data(tmp_path)
    named = [each.name for each in load(recipe).recipe.data]
    # The three recipes differ in their models; one of them shows that all three data sets are read.
    kept = named if recipe == PAPER[0] else named[:1]
    sources = [f"data.{number}.source={data[name]}" for number, name in enumerate(named)]
    if kept != named:
        sources = [f'data=[{{ name = "{name}", source = "{data[name]}", heldout = 0.1 }}]' for name in kept]
    run = (
        World(tmp_path, recipe)
        .run("--smoke", "model.source=path:model", "model.dtype=float32", "evaluate.tasks=[]", "seeds=[0]", *sources)
        .run
    )
    assert run.manifest["status"] == "complete"
    layers = LayerMap.from_json(json.loads((run.path / "layers.json").read_text()))
    assert len(layers) == 2 * 7 + 1
    shapes = {name: json.loads((run.path / "data" / f"{name}.json").read_text())["shape"] for name in kept}
    assert len(set(shapes.values())) == len(kept)
    steps = [row["step"] for row in run.lines("metrics.jsonl")]
    assert max(steps) == 2
    for name in kept:
        # Freezing a quarter of 15 layers leaves 11.
        assert len(run.layers("ila-75", name)) == 11
        assert len(run.layers("ila-30", name)) == 5
        assert (run.adapter("ila-75", name) / "adapter_model.safetensors").is_file()
    assert {row["scorer"] for row in run.lines("scores.jsonl")} >= {"ila", "random", "first-k", "last-k"}
