"""A tiny model with the depth that the replication needs, and rows in place of its data sets."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from tests.replication.parts import STANDINS, Part
from tests.study import write_lines, write_study
from tests.tiny import VOCABULARY, tiny_tokenizer

_SHAPE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_BLOCKS = 14
_CATEGORIES = ("open_qa", "classification")


def write_world(folder: Path) -> None:
    """A model, a task, and a file for every data set."""
    write_study(folder)
    config = AutoConfig.for_model("llama", **_SHAPE, num_hidden_layers=_BLOCKS)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        AutoModelForCausalLM.from_config(config).save_pretrained(folder / "deep")
    tiny_tokenizer().save_pretrained(folder / "deep")
    for place, file in enumerate(tomllib.loads(STANDINS.read_text(encoding="utf-8")).values()):
        write_lines(folder / file, [_row(place, number) for number in range(80)])


def tiny(part: Part, folder: Path) -> Part:
    """The part on the tiny model, with items of its own in place of embedded benchmarks and data."""
    recipe = tomllib.loads(part.path.read_text(encoding="utf-8"))
    changed = [f"model.source=path:{folder / 'deep'}", "analyze.resamples=100"]
    if len(recipe["seeds"]) > 2 or part.overrides:
        changed.append("seeds=[0, 1, 2]")
    for number, entry in enumerate(recipe["data"]):
        if entry["source"].startswith("pypi:"):
            changed.append(f"data.{number}.source=file:{folder / 'sft_alpaca_gpt4.jsonl'}")
    choice = f"file:{folder / 'choice.yaml'}"
    if recipe.get("evaluate", {}).get("tasks") and "evaluate.tasks=[]" not in part.overrides:
        changed += [f"evaluate.tasks=[{{source='{choice}', floor=true}}]", "analyze.same_items=[]"]
        changed.append('analyze.outcome="heldout"')
    changed += [
        f"scorers.{name}.tasks=[{{source='{choice}'}}]"
        for name, scorer in recipe.get("scorers", {}).items()
        if "tasks" in scorer
    ]
    return replace(part, overrides=(*part.overrides, *changed))


def _row(place: int, number: int) -> dict[str, object]:
    words = " ".join(f"{(number * step + place) % 17}a" for step in range(1, 4))
    turns = [
        {"role": "user", "content": f"{number} of {place}: {words}"},
        {"role": "assistant", "content": f"{words} {'ab' * (number % 4 + 1)} {number * 7 + place}"},
    ]
    return {"messages": turns, "category": _CATEGORIES[number % 2]}
