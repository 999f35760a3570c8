"""Every study at full size in one piece on tiny models: rows that stand in for its data and tasks, analysis, report."""

from __future__ import annotations

import json
import logging
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from layersig.evaluating import rows
from layersig.evaluating.model import SharedPrefixLM
from layersig.recipe.load import load_all
from tests.e2e import standins
from tests.e2e.test_paper_recipes import COMMON, RECIPES
from tests.e2e.world import World
from tests.study import write_lines
from tests.tiny import tiny_tokenizer

pytestmark = pytest.mark.slow

STUDIES = sorted(path.stem for path in (RECIPES / "studies").glob("*.toml") if not path.stem.startswith("small-"))
SECTIONS = {
    "architectures": "Rankings across models",
    "diversity": "What agreement depends on",
    "fraction": "What varies with what",
    "kinds": "Layers of one data set on another",
    "necessity": "Necessity and plasticity",
    "scale": "What changes with size",
    "sanity": "Sanity of the scores",
    "size": "What varies with what",
}
"""The part of the report that the head of a recipe promises."""
CATEGORIES = ("Generation", "Open QA", "Brainstorm", "Chat", "Classify", "Closed QA", "Rewrite", "Extract")
TURNS = [(f"what is {number}?", f"it is {number}, or {number * 7}.") for number in range(320)]
ROWS: dict[str, list[dict[str, Any]]] = {
    "HuggingFaceH4/no_robots": [
        {
            "prompt": question,
            "prompt_id": question,
            "messages": [
                {"role": "user", "content": question},
                {"role": "assistant", "content": answer + " or so" * (number % len(CATEGORIES))},  # less diverse
            ],
            "category": CATEGORIES[number % len(CATEGORIES)],
        }
        for number, (question, answer) in enumerate(TURNS)
    ],
    "sahil2801/CodeAlpaca-20k": [
        {"instruction": question, "input": "", "output": f"return {answer}"} for question, answer in TURNS[:60]
    ],
    "meta-math/MetaMathQA": [
        {"query": question, "response": f"So {answer}", "type": "x", "original_question": TURNS[number // 2][0]}
        for number, (question, answer) in enumerate(TURNS[:60])
    ],
    "EdinburghNLP/xsum": [
        {"document": f"{question} {answer}", "summary": answer, "id": question} for question, answer in TURNS[:60]
    ],
}
"""Rows with the columns of each data set, by its name on the hub."""


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the rows and a model of every depth from 2 to 6."""
    base = tmp_path_factory.mktemp("studies")
    for name, found in ROWS.items():
        (base / name).parent.mkdir(exist_ok=True)
        write_lines(base / f"{name}.jsonl", found)
    for blocks in range(2, 7):
        config = AutoConfig.for_model("llama", **COMMON, num_hidden_layers=blocks, num_key_value_heads=2)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(blocks)
            AutoModelForCausalLM.from_config(config).save_pretrained(base / f"blocks-{blocks}")
        tiny_tokenizer().save_pretrained(base / f"blocks-{blocks}")
    logging.disable(logging.WARNING)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "hub_splits", standins.hub_splits)
        patch.setattr(SharedPrefixLM, "generate_until", standins.generate_until)
        patch.setattr(SharedPrefixLM, "loglikelihood", standins.loglikelihood)
        yield base
    logging.disable(logging.NOTSET)


def test_every_study_is_run() -> None:
    assert [*SECTIONS] == STUDIES


@pytest.mark.parametrize("name", STUDIES)
def test_it_runs_in_one_piece(shelf: Path, name: str) -> None:
    """The recipe as it is, but for its models, data, types, seeds, and the lengths that `--smoke` cuts."""
    path = RECIPES / "studies" / f"{name}.toml"
    models = len(load_all(path))
    # At this rate two steps are enough for rankings to differ.
    overrides = ["model.dtype=float32", "seeds=[0, 1]", "analyze.resamples=100", "train.learning_rate=0.05"]
    for number, data in enumerate(tomllib.loads(path.read_text(encoding="utf-8"))["data"]):
        overrides.append(f"data.{number}.source=file:{data['source'].removeprefix('hub:')}.jsonl")
    if models == 1:
        overrides.append("model.source=path:blocks-2")
    else:
        overrides += [f"models.{number}.source=path:blocks-{number + 2}" for number in range(models)]
    told = World(shelf, path).run("--smoke", *overrides)
    assert told.code == 0, told.err
    report = told.run.path if models == 1 else (told.base / told.json["report"]).parent
    assert f"# {SECTIONS[name]}\n" in (report / "report.md").read_text()
    runs = (shelf / "runs").glob(f"{name}*/*/manifest.json")
    assert [json.loads(run.read_text())["status"] for run in runs] == ["complete"] * models
