"""Whole studies by every tuning method: what is published loads in plain libraries and is what was evaluated."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from layersig.exporting.card import model_card
from layersig.models.adapters import attach_adapter
from layersig.models.adapters.wrappers import expected_warnings
from layersig.models.load import load_model
from tests.e2e.plain import PICKED, adapted_layers, assert_measured, chat_losses, every_layer, plain_peft
from tests.e2e.world import Run, World
from tests.study import write_study

ARMS = f"""\
arms=[
    {{ name = "picked", select = {{ kind = "list", layers = {json.dumps(PICKED)} }} }},
    {{ name = "graft", action = "graft", select = {{ kind = "list", layers = {json.dumps(PICKED)} }} }},
    {{ name = "ila-30", scorer = "ila", select = {{ kind = "top", fraction = 0.3 }}, train = {{ method = "lora" }} }},
]"""


def _study(base: Path, *changes: str) -> Run:
    world = World(base, write_study(base, tied=False))
    return world.run("layers.head=true", "evaluate.tasks=[]", "analyze.controls=false", *changes, ARMS).run


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A study whose reference and arms are tuned in full, but for one arm."""
    return _study(tmp_path_factory.mktemp("full"), 'train.method="full"', "train.learning_rate=0.001")


@pytest.mark.parametrize("arm", ["all-layers", "picked", "graft"])
def test_a_fully_tuned_arm_is_a_checkpoint_that_transformers_loads(full: Run, arm: str) -> None:
    base = full.path.parents[2]
    folder = full.path / "models" / arm / "chats" / "seed-0"
    assert not full.adapter(arm).exists()
    before, after = load_file(base / "model" / "model.safetensors"), load_file(folder / "model.safetensors")
    every = set(every_layer(full))
    changed = {name.removesuffix(".weight") for name in after if not torch.equal(after[name], before[name])}
    assert changed == (every if arm == "all-layers" else set(PICKED))
    assert before.keys() == after.keys()
    assert_measured(full, arm, chat_losses(AutoModelForCausalLM.from_pretrained(folder).eval(), base))
    assert AutoTokenizer.from_pretrained(folder)("say 1").input_ids
    for file in folder.iterdir():
        assert str(base).encode() not in file.read_bytes(), file


def test_a_graft_of_a_full_update_is_the_reference_on_the_selected_layers(full: Run) -> None:
    folders = [full.path / "models" / arm / "chats" / "seed-0" for arm in ("all-layers", "graft", "picked")]
    reference, graft, tuned = (load_file(folder / "model.safetensors") for folder in folders)
    for name in PICKED:
        assert graft[f"{name}.weight"].equal(reference[f"{name}.weight"])
        assert not graft[f"{name}.weight"].equal(tuned[f"{name}.weight"])


def test_an_arm_may_be_tuned_by_another_method_than_the_reference(full: Run) -> None:
    assert adapted_layers(load_file(full.adapter("ila-30") / "adapter_model.safetensors")) == set(full.layers("ila-30"))
    assert full.manifest["status"] == "complete"
    tune, reference = full.stages["tune/ila-30/chats/seed-0"], full.stages["reference/chats/seed-0"]
    assert reference["optimizer_memory"] == 2 * reference["trained_memory"] > 2 * tune["trained_memory"]


@pytest.mark.slow
def test_a_study_by_adalora(tmp_path: Path) -> None:
    run = _study(tmp_path, 'train.method="adalora"', "train.adalora={target_r=2,init_r=4}", "train.learning_rate=0.05")
    for arm in ("all-layers", "graft"):
        assert_measured(run, arm, chat_losses(plain_peft(tmp_path / "model", run.adapter(arm)), tmp_path))
    config = json.loads((run.adapter("all-layers") / "adapter_config.json").read_text())
    assert config["peft_type"] == "ADALORA"
    assert sum(map(sum, config["rank_pattern"].values())) == 2 * len(config["rank_pattern"])
    assert json.loads((run.adapter("graft") / "adapter_config.json").read_text())["peft_type"] == "LORA"
    smoke = World(tmp_path, tmp_path / "recipe.toml").run(
        "--smoke", 'train.method="adalora"', "train.adalora={tinit=9}", "evaluate.tasks=[]"
    )
    assert smoke.run.manifest["status"] == "complete"


@pytest.mark.slow
def test_a_study_by_dora_with_an_arm_by_pissa(tmp_path: Path) -> None:
    arms = ARMS.replace('"lora"', '"pissa"')
    run = _study(tmp_path, 'train.method="dora"', "train.learning_rate=0.01", arms)
    assert run.manifest["status"] == "complete"
    for arm in ("all-layers", "picked", "graft", "ila-30"):
        config = json.loads((run.adapter(arm) / "adapter_config.json").read_text())
        assert config["use_dora"] is (arm != "ila-30")
        assert_measured(run, arm, chat_losses(plain_peft(tmp_path / "model", run.adapter(arm)), tmp_path))


def test_a_pruned_arm_may_recover_in_full(tmp_path: Path) -> None:
    prune = 'action="prune", scorer="first", select={kind="lowest", count=1}, recover={method="full", steps=1}'
    run = (
        World(tmp_path, write_study(tmp_path, tied=False))
        .run(
            'layers.unit="block"',
            'scorers={first={kind="first-k"}}',
            f'arms=[{{name="pruned", {prune}}}]',
            'analyze={controls=false, baseline="base"}',
            "evaluate.tasks=[]",
        )
        .run
    )
    folder = run.path / "models" / "pruned" / "chats" / "seed-0"
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    assert model.config.num_hidden_layers == 2
    whole = load_file(tmp_path / "model" / "model.safetensors")
    moved = [name for name, value in model.state_dict().items() if not torch.equal(value, whole[name])]
    assert len(moved) == 14
    assert_measured(run, "pruned", chat_losses(model, tmp_path))
    card = model_card(run.path, Path("pruned", "chats", "seed-0"), None, adapter=False, notes=())
    assert "by removing 1 of its 3 blocks: 2 (counted from 0).\nIt was then trained on `chats` with seed 0" in card
    assert "selected by the policy" in card
    assert "and then: prune" not in card


def test_a_study_by_qlora(tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    run = _study(tmp_path, 'model.quantization="nf4"')
    assert run.manifest["status"] == "complete"
    base = load_model(tmp_path / "model", dtype=torch.float32, device="cpu", quantization="nf4")
    before = [value.clone() for value in base.parameters()]
    for arm in ("picked", "ila-30", "all-layers"):
        with attach_adapter(base, run.adapter(arm)) as model:
            ours = chat_losses(model, tmp_path)
        with expected_warnings():
            plain = PeftModel.from_pretrained(
                load_model(tmp_path / "model", dtype=torch.float32, device="cpu", quantization="nf4"), run.adapter(arm)
            )
        theirs = chat_losses(plain.eval(), tmp_path)
        assert ours == pytest.approx(theirs, rel=1e-5)
        assert_measured(run, arm, theirs)
        assert set(run.layers(arm) if arm != "all-layers" else every_layer(run)) == adapted_layers(
            load_file(run.adapter(arm) / "adapter_model.safetensors")
        )
    assert all(value.equal(old) for value, old in zip(base.parameters(), before, strict=True))
