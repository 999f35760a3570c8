"""Full fine-tuning of the selected weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from layersig.data.batches import collate
from layersig.errors import StageFailed
from layersig.fast.runner import Workload
from layersig.layers import LayerMap
from layersig.models.layermap import layer_map
from layersig.training import loop, stages
from layersig.training.methods import Base, tuned
from layersig.training.optimization import Optimization
from tests.tiny import tiny_batch, tiny_model
from tests.training.spy import Spy
from tests.training.world import BATCHES, CHOSEN, STREAMS, TRAIN, examples, job, write_inputs


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_full_fine_tuning_is_adamw_on_float32_weights(dtype: torch.dtype) -> None:
    model, twin = (tiny_model("llama", dtype=dtype) for _ in range(2))
    layers = [layer_map(model).by_name[name] for name in CHOSEN]
    # In bfloat16 a step of this size is less than a weight can hold; in float32 it is not lost.
    settings = TRAIN.model_copy(update={"method": "full", "schedule": "constant", "learning_rate": 1e-6})
    with tuned(model, layers, settings, base=Base("b"), steps=len(BATCHES), streams=STREAMS) as tuning:
        work = Workload(tuning.model, tuning.parameters, examples(), BATCHES, settings, STREAMS)
        loop.train(work, Optimization.of(settings))
        ours = {name: value.detach().clone() for name, value in tuning.parameters.items()}
    wide = torch.promote_types(dtype, torch.float32)
    masters = {name: twin.get_parameter(f"{name}.weight").detach().to(wide).requires_grad_() for name in CHOSEN}
    start = {name: value.detach().clone() for name, value in masters.items()}
    optimizer = torch.optim.AdamW(masters.values(), lr=1e-6, betas=settings.betas, weight_decay=0.1)
    for indices in BATCHES:
        batch = collate([examples()[index] for index in indices])
        optimizer.zero_grad()
        swapped = {f"{name}.weight": value.to(dtype) for name, value in masters.items()}
        logits = torch.func.functional_call(twin, swapped, (batch.tokens,)).logits[:, :-1]
        wanted = batch.targets[:, 1:]
        loss = torch.nn.functional.cross_entropy(logits[wanted].to(wide), batch.tokens[:, 1:][wanted])
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(masters.values(), 1.0)
        optimizer.step()
    for name, value in masters.items():
        moved, expected = ours[name] - start[name], value.detach() - start[name]
        assert expected.abs().max() > 1e-7
        if dtype is torch.float64:
            torch.testing.assert_close(moved, expected, rtol=1e-4, atol=1e-12)
        else:
            # Gradients differ by bfloat16's rounding, and Adam's step keeps little but their sign.
            assert torch.nn.functional.cosine_similarity(moved.flatten(), expected.flatten(), dim=0) > 0.95


def test_a_change_of_other_weights_is_noticed() -> None:
    model = tiny_model("llama")
    layers = [layer_map(model).by_name[name] for name in CHOSEN]
    settings = TRAIN.model_copy(update={"method": "full"})
    with tuned(model, layers, settings, base=Base("b"), steps=9, streams=STREAMS) as tuning:
        with pytest.raises(StageFailed, match="without a finite, non-zero update"):
            tuning.assert_moved()
        for value in tuning.parameters.values():
            value.data += 1e-3
        tuning.assert_moved()
        model.get_parameter("model.norm.weight").data += 1e-3
        with pytest.raises(StageFailed, match="own weights have changed while"):
            tuning.assert_moved()


@pytest.mark.parametrize("architecture", ["gpt2", "qwen3_moe", "gpt_oss"])
def test_full_fine_tuning_knows_how_a_model_stores_its_weights(tmp_path: Path, architecture: str) -> None:
    every: LayerMap = layer_map(tiny_model(architecture))
    chosen = [layer.name for layer in every if layer.block == 1]
    inputs = write_inputs(tmp_path, architecture, chosen)
    with pytest.MonkeyPatch.context() as patch:
        spy = Spy(patch)
        run = job(tmp_path, inputs, train=TRAIN.model_copy(update={"method": "full", "epochs": None, "steps": 2}))
        stages.tune(run)
    plain = AutoModelForCausalLM.from_pretrained(run.out / "model").eval()
    with torch.no_grad():
        assert (plain(tiny_batch()).logits - spy.logits).abs().max() <= 1e-5 * spy.logits.abs().max()
    before = AutoModelForCausalLM.from_pretrained(inputs["model"]).state_dict()
    changed = {name for name, value in plain.state_dict().items() if not torch.equal(value, before[name])}
    assert {name.removesuffix(".weight") for name in changed} == set(chosen)
