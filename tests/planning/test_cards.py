"""Whether a study fits on GPUs of common sizes, from the shapes of models that are not here."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from layersig.cli.main import main
from layersig.planning.cards import CARDS, Cards, fits, usable
from layersig.planning.text import cards_text
from layersig.recipe.schema import MOMENT_BYTES, TrainSettings
from layersig.training.footprint import model_bytes, state_bytes, why_too_large
from tests.planning.heads import facts_of
from tests.shapes import LLAMA_2_7B, TINY_LLAMA, write_config

RECIPES = Path(__file__).parents[2] / "recipes"
MIB, GIB = 2**20, 2**30


@pytest.mark.slow
def test_the_papers_table_of_memory(tmp_path):
    """Table 11 of arXiv 2410.17875: 81,276 MiB for full fine-tuning, 28,586 MiB for LoRA on 30 % of the layers.

    The estimates are those of docs/planning.md.
    """
    facts = replace(facts_of(RECIPES / "paper" / "table-11.toml"), config=write_config(LLAMA_2_7B, tmp_path))
    cards = Cards(facts, {})
    stages = {each.id.split("/")[1] if each.kind == "tune" else each.kind: each for each in facts.known.graph.stages}
    found = {name: cards.need(stages[name]).total / MIB for name in ("full", "ila-30", "reference")}
    assert found["ila-30"] == pytest.approx(22_000, rel=0.01)
    assert found["ila-30"] < 28_586
    assert found["full"] == pytest.approx(73_900, rel=0.01)
    assert found["full"] < 81_276 < cards.need(stages["full"], optimizer="adamw").total / MIB
    assert cards.need(stages["full"], optimizer="adamw").total / MIB == pytest.approx(124_400, rel=0.01)
    # Weights, gradients and moments in bfloat16, without float32 copies: 8 bytes a weight.
    need = cards.need(stages["full"])
    values = need.held / 4
    in_bfloat16 = need.total - need.held - 1.05 * 4 * values + 6 * values
    assert in_bfloat16 / MIB == pytest.approx(60_100, rel=0.02)
    kept = cards.need(stages["reference"], gradient_checkpointing=False, micro_batch_tokens=4096)
    assert kept.total / MIB == pytest.approx(39_800, rel=0.02)
    assert found["full"] * MIB < usable("80 GB")


@pytest.mark.slow
def test_the_way_to_80_gb_is_found(tmp_path):
    """Full fine-tuning of 7 B with float32 moments does not fit; smaller ones do, and are named."""
    text = (RECIPES / "paper" / "table-11.toml").read_text()
    recipe = tmp_path / "table.toml"
    recipe.write_text(text.replace(', optimizer = "paged-adamw-8bit"', ""))
    facts = replace(facts_of(recipe), config=write_config(LLAMA_2_7B, tmp_path / "config"))
    found = {each.stages[0].split("/")[1]: each for each in fits(facts) if "tune" in each.stages[0]}
    full, some = found["full"], found["ila-30"]
    assert full.cards["141 GB"] == "bf16"
    assert full.cards["24 GB"] is full.cards["40 GB"] is None
    assert full.cards["80 GB"] == 'with train.optimizer = "paged-adamw-8bit"'
    assert full.nf4 is None
    assert some.nf4.total < some.bf16.total - 8 * GIB
    assert some.cards == dict.fromkeys(CARDS, "bf16")
    assert 'train.optimizer = "paged-adamw-8bit"' in "\n".join(cards_text([full, some]))


def test_a_plan_needs_no_weights(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("LAYERSIG_CACHE", str(tmp_path / "cache"))
    config = write_config(TINY_LLAMA, tmp_path / "config")
    asked = ["plan", str(RECIPES / "paper" / "table-11.toml"), "--cards", "--config", str(config), "--json"]
    with pytest.raises(SystemExit) as ended:
        main([*asked, "--runs", str(tmp_path / "runs")])
    assert ended.value.code == 0
    plan = json.loads(capsys.readouterr().out)
    groups = {each["stages"][0].split("/")[0]: each for each in plan["cards"]}
    assert groups.keys() >= {"reference", "score", "evaluate", "tune"}
    listed = [name for each in plan["cards"] for name in each["stages"]]
    assert len(listed) == len(set(listed))
    assert all(set(each["cards"]) == set(CARDS) for each in plan["cards"])
    assert all(each["cards"]["24 GB"] == "bf16" for each in plan["cards"])
    assert all(each["bf16"] > 0.6 * GIB for each in plan["cards"])


@pytest.mark.parametrize(
    ("budget", "said"),
    [('"auto"', "bf16"), pytest.param("4096", "with train.micro_batch_tokens = 1024", marks=pytest.mark.slow)],
)
def test_a_budget_that_the_device_chooses_needs_no_change(tmp_path, monkeypatch, budget, said):
    """On a card with room for 1,024 tokens and not for 2,048. What the device chooses is counted at its least."""
    text = (RECIPES / "paper" / "table-11.toml").read_text()
    assert "micro_batch_tokens = 16384" in text
    (tmp_path / "table.toml").write_text(text.replace("micro_batch_tokens = 16384", f"micro_batch_tokens = {budget}"))
    facts = replace(facts_of(tmp_path / "table.toml"), config=write_config(TINY_LLAMA, tmp_path / "config"))
    cards, [stage, *_] = Cards(facts, {}), [each for each in facts.known.graph.stages if each.kind == "reference"]
    monkeypatch.setattr(cards.memory, "length", 256)
    small, large = (cards.need(stage, micro_batch_tokens=tokens).total for tokens in (1024, 2048))
    assert small < large
    half = cards.need(stage)
    assert half.total < small if budget == '"auto"' else half.total > large
    assert cards._how(stage, half, None, (small + large) / 2) == said


@pytest.mark.parametrize("optimizer", MOMENT_BYTES)
def test_what_cannot_fit_is_refused_with_bytes_and_a_cure(optimizer):
    settings = TrainSettings(method="full", optimizer=optimizer)
    values, weights = 6.607e9, 13.477e9
    needed = weights + values * (8 + MOMENT_BYTES[optimizer])
    assert why_too_large(weights, values, settings, needed) is None
    why = why_too_large(weights, values, settings, needed - 1)
    assert f"{needed:,.0f} together" in why
    assert f"the device has {needed - 1:,.0f}" in why
    cured = [each for each in MOMENT_BYTES if f'"{each}"' in why]
    assert len(cured) == (optimizer not in ("paged-adamw", "paged-adamw-8bit"))
    assert all(MOMENT_BYTES[each] < MOMENT_BYTES[optimizer] for each in cured)
    assert state_bytes(10, settings) == 10 * (8 + MOMENT_BYTES[optimizer])


def test_bytes_of_a_model_are_those_of_its_configuration(tmp_path):
    import torch

    folder = write_config(TINY_LLAMA, tmp_path)
    blocks = 4 * (4 * 64 * 64 + 3 * 64 * 172)
    whole = 2 * (2 * 320 * 64 + blocks + 9 * 64)
    assert model_bytes(folder, torch.bfloat16, nf4=False) == whole
    assert model_bytes(folder, torch.bfloat16, nf4=True) == pytest.approx(whole - (2 - 0.515869) * blocks, rel=1e-5)


def test_what_was_counted_for_a_recipe_serves_only_the_same_layers(tmp_path):
    text = (RECIPES / "quickstart.toml").read_text()
    config, shared = write_config(TINY_LLAMA, tmp_path / "config"), {}
    for head in ("false", "true"):
        recipe = tmp_path / f"{head}.toml"
        recipe.write_text(f"{text}\n[layers]\nhead = {head}\n")
        facts = replace(facts_of(recipe), config=config)
        (stage,) = (each for each in facts.known.graph.stages if each.kind == "reference")
        assert Cards(facts, shared).need(stage) == Cards(facts, {}).need(stage)
