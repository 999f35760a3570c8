"""Two models of different depth in one recipe."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from tests.e2e.world import Told, World
from tests.study import RECIPE, write_study
from tests.tiny import VOCABULARY, tiny_tokenizer

pytestmark = pytest.mark.slow

SHAPE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "bos_token_id": 1,
    "eos_token_id": 2,
}

MODELS = """\
[model]
dtype = "float32"

[[models]]
name = "one"
source = "path:model"

[[models]]
name = "two"
source = "path:deeper"
"""
EVERY = RECIPE[: RECIPE.index("[[arms]]")].replace('[model]\nsource = "path:model"\ndtype = "float32"\n', MODELS)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("models")
    recipe = write_study(folder, recipe=EVERY.replace("seeds = [0]", "seeds = [0, 1]"))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        AutoModelForCausalLM.from_config(AutoConfig.for_model("llama", **SHAPE)).save_pretrained(folder / "deeper")
    tiny_tokenizer().save_pretrained(folder / "deeper")
    return World(folder, recipe)


@pytest.fixture(scope="module")
def told(world: World) -> Told:
    return world.run()


def read(told: Told) -> dict[str, Any]:
    value: dict[str, Any] = json.loads((told.base / told.json["report"]).with_name("models.json").read_text())
    return value


def test_every_model_has_a_run_and_the_study_a_report(told: Told) -> None:
    assert told.code == 0, told.err
    runs = [Path(run["run"]) for run in told.json["runs"]]
    assert [run.parent.name for run in runs] == ["tiny-one", "tiny-two"]
    for run in runs:
        assert (told.base / run / "report.html").exists()
    report = told.base / told.json["report"]
    assert report.parent.parent.name == "tiny"
    page = report.with_suffix(".md").read_text()
    assert "Rankings across models" in page
    assert (report.parent / "figures" / "models.svg").exists()


def test_both_directions_are_told_with_coverage_and_ceiling(told: Told) -> None:
    found = read(told)
    rows = found["model_pairs"]
    assert {(row["source"], row["target"]) for row in rows} == {("one", "two"), ("two", "one")}
    assert {row["coverage"] for row in rows} == {1.0}
    assert {row["seeds"] for row in rows} == {2}
    assert all(row["verdict"] != "shares layers" and row["sentence"].startswith("Exploratory: ") for row in rows)
    assert {row["model"] for row in found["model_ceilings"]} == {"one", "two"}
    report = told.base / told.json["report"]
    written = list(csv.DictReader((report.parent / "model_pairs.csv").read_text().splitlines()))
    assert [row["kappa"] for row in written] == [str(row["kappa"]) for row in rows]


def test_run_again_it_trains_nothing_and_writes_the_same(world: World, told: Told) -> None:
    report = told.base / told.json["report"]
    before = {path.name: path.read_bytes() for path in report.parent.iterdir() if path.is_file()}
    again = world.run()
    assert again.json == told.json
    assert {path.name: path.read_bytes() for path in report.parent.iterdir() if path.is_file()} == before


def test_validate_and_plan_know_every_model(world: World) -> None:
    assert world.call("validate", world.recipe).code == 0
    planned = world.call("plan", world.recipe)
    assert [line for line in planned.out.splitlines() if line in ("one", "two")] == ["one", "two"]
    assert planned.out.count("score/ila/") == 2 * planned.out.partition("\ntwo\n")[0].count("score/ila/") > 0
    wrong = world.recipe.with_name("wrong.toml")
    wrong.write_text(world.recipe.read_text().replace('"path:deeper"', '"paths:deeper"'))
    refused = world.call("validate", wrong)
    assert refused.code == 2
    assert 'models.1.source: there is no scheme "paths"' in refused.err


def test_runs_lists_the_runs_and_not_the_report(world: World, told: Told) -> None:
    assert told.code == 0
    lines = world.call("runs").out.splitlines()
    assert len(lines) == 2


def test_two_names_of_one_model_are_not_compared(world: World, told: Told) -> None:
    assert told.code == 0
    recipe = world.recipe.with_name("same.toml")
    recipe.write_text(world.recipe.read_text().replace('"path:deeper"', '"path:model"').replace('"tiny"', '"same"'))
    found = read(World(world.base, recipe).run())
    assert found["model_pairs"] == []
    assert {row["model"] for row in found["model_ceilings"]} == {"one"}
    assert found["notes"] == ["two is the same model as one in these runs, and its rankings are not compared."]
