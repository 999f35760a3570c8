"""Adapters of a run are what the run says they are: exactly the selected layers, and plain PEFT loads them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from layersig.models.adapters import attach_adapter
from layersig.models.load import load_model
from tests.e2e.plain import PICKED, adapted_layers, assert_measured, chat_losses, every_layer, plain_peft
from tests.e2e.world import Run, World
from tests.study import write_study
from tests.tiny import tiny_batch

ARMS = f"""\
arms=[
    {{ name = "picked", select = {{ kind = "list", layers = {json.dumps(PICKED)} }} }},
    {{ name = "graft", action = "graft", select = {{ kind = "list", layers = {json.dumps(PICKED)} }} }},
    {{ name = "ila-30", scorer = "ila", select = {{ kind = "top", fraction = 0.3 }} }},
]"""


@pytest.fixture(scope="module", params=[True, False], ids=["tied", "untied"])
def study(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Run]:
    """Folder of a model whose head counts as a layer, and a run on it."""
    base = tmp_path_factory.mktemp("heads")
    told = World(base, write_study(base, tied=request.param)).run(
        "layers.head=true", "evaluate.tasks=[]", "analyze.controls=false", ARMS
    )
    return base / "model", told.run


@pytest.mark.parametrize("arm", ["all-layers", "picked", "graft", "ila-30"])
def test_plain_peft_computes_what_the_run_computed(study: tuple[Path, Run], arm: str) -> None:
    model, run = study
    plain = plain_peft(model, run.adapter(arm))
    tokens = tiny_batch()
    with torch.inference_mode():
        theirs = plain(tokens).logits
        untouched = load_model(model, dtype=torch.float32, device="cpu")
        before = untouched(tokens).logits
        with attach_adapter(untouched, run.adapter(arm)) as ours:
            assert (ours(tokens).logits - theirs).abs().max() <= 1e-5 * theirs.abs().max()
    assert (before - theirs).abs().max() > 1e-3 * theirs.abs().max()
    assert_measured(run, arm, chat_losses(plain, model.parent))


@pytest.mark.parametrize("arm", ["picked", "graft", "ila-30", "all-layers"])
def test_an_adapter_holds_exactly_the_selected_layers(study: tuple[Path, Run], arm: str) -> None:
    _, run = study
    tensors = load_file(run.adapter(arm) / "adapter_model.safetensors")
    every = every_layer(run)
    selected = every if arm == "all-layers" else run.layers(arm)
    assert "lm_head" in every
    assert len(tensors) == 2 * len(selected)
    assert adapted_layers(tensors) == set(selected)
    assert set(json.loads((run.adapter(arm) / "adapter_config.json").read_text())["target_modules"]) == set(selected)
    if arm in {"picked", "graft"}:
        assert set(selected) == set(PICKED)
    for name, tensor in tensors.items():
        assert tensor.any(), f"{name} never moved"


def test_a_graft_is_the_reference_on_the_selected_layers(study: tuple[Path, Run]) -> None:
    _, run = study
    reference = load_file(run.adapter("all-layers") / "adapter_model.safetensors")
    graft = load_file(run.adapter("graft") / "adapter_model.safetensors")
    tuned = load_file(run.adapter("picked") / "adapter_model.safetensors")
    assert graft.keys() == tuned.keys() < reference.keys()
    assert all(graft[name].equal(reference[name]) for name in graft)
    assert not any(graft[name].equal(tuned[name]) for name in graft)
    assert "graft/chats/seed-0" not in {row["cell"] for row in run.lines("metrics.jsonl")}


def test_adapters_carry_no_path_of_this_machine(study: tuple[Path, Run]) -> None:
    model, run = study
    for file in (run.path / "adapters").rglob("*"):
        if file.is_file():
            assert str(model.parent).encode() not in file.read_bytes(), file
