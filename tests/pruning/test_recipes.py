"""The small recipes for pruning, on a tiny model of eight blocks."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from tests.study import call, write_study
from tests.tiny import VOCABULARY

RECIPES = Path(__file__).parents[2] / "recipes" / "pruning"
PROBLEMS = RECIPES.parent / "small" / "chains" / "problems.yaml"
SHAPE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 8,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
OVERRIDES = {
    "small-recover": ["evaluate.tasks=[{source='file:choice.yaml', limit=4}]"],
    "small-greedy": ["evaluate.tasks=[{source='file:choice.yaml', limit=4}]"],
    "small-self-generated": ["data.1.source=file:chats.jsonl", "evaluate.tasks=[{source='file:choice.yaml', limit=4}]"],
    "small-recovery": [
        f"evaluate.tasks=[{{source='file:{PROBLEMS}', limit=2, draws=2, temperature=0.9, pass_at=[1, 2]}}]",
    ],
    "small-sweep": ["scorers.tasks.tasks=[{source='file:choice.yaml', limit=4}]"],
}


def test_none_is_forgotten():
    assert sorted(OVERRIDES) == sorted(path.stem for path in RECIPES.glob("small-*.toml"))


@pytest.mark.slow
@pytest.mark.parametrize("name", OVERRIDES)
def test_it_runs(name, tmp_path, monkeypatch, capsys):
    write_study(tmp_path)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        AutoModelForCausalLM.from_config(AutoConfig.for_model("llama", **SHAPE)).save_pretrained(tmp_path / "model")
    monkeypatch.setenv("LAYERSIG_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    sources = ["model.source=path:model", "data.0.source=file:chats.jsonl", "analyze.resamples=100"]
    code, out, err = call(capsys, "run", RECIPES / f"{name}.toml", "--smoke", *sources, *OVERRIDES[name])
    assert code == 0, err
    report = Path(out.rpartition(" ")[2].strip()).with_suffix(".md").read_text()
    assert ("Necessity and plasticity" in report) is (name in ("small-recover", "small-sweep"))
    if name == "small-recovery":
        assert "math_answer@2" in report
        assert "<summary>Before and after recovery</summary>" in report
    if name == "small-self-generated":
        parents = "| prune/bi-4-recovered/s-alpaca/seed-0 | data/s-alpaca | the untouched model |"
        assert f"| recover/bi-4-recovered/s-alpaca/seed-0 {parents}" in report
        assert "<summary>Self-generated against given responses</summary>" in report
