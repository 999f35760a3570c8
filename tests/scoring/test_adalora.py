"""AdaLoRA's importance against PEFT's own, fed with gradients from autograd."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from peft import AdaLoraConfig
from peft.tuners.adalora.layer import RankAllocator
from torch import Tensor, nn
from torch.func import functional_call

from layersig.data.batches import optimizer_batches
from layersig.data.examples import read_examples
from layersig.layers import Unit
from layersig.models.dense import write_update
from layersig.models.layermap import layer_parameter, layer_weight
from layersig.models.update_folder import read_update
from layersig.models.updates import Delta, DenseUpdate
from layersig.scoring import adalora
from layersig.scoring.adalora import triplets_of
from layersig.streams import Streams
from layersig.training.footprint import BUFFER, portions
from tests.scoring.world import World, low_rank
from tests.tiny import tiny_batch

RANK, BATCHES = 2, 3
TARGETS_FROM = 4


@pytest.mark.parametrize("shape", [(6, 9), (9, 6), (3, 6, 9)])
def test_triplets_are_the_singular_value_decomposition(shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(1)
    b, a = (torch.randn(*shape[:-2], *ends, generator=generator) for ends in ((shape[-2], 2), (2, shape[-1])))
    for delta in (Delta(b, a, 0.5), Delta(b @ a, None, 0.5)):
        p, values, q = triplets_of(delta)
        torch.testing.assert_close((p * values.unsqueeze(-2)) @ q, delta.dense().double(), rtol=0, atol=1e-5)
        used = torch.diag_embed((values.abs() > 1e-6).double())
        torch.testing.assert_close(used @ p.mT @ p @ used, used)


@pytest.mark.parametrize("shape", [(6, 9), (9, 6), (3, 6, 9)])
def test_triplets_of_a_dense_change_are_orthonormal_and_miss_nothing(shape: tuple[int, ...]) -> None:
    """Full rank, over six orders of magnitude, against torch's decomposition."""
    generator = torch.Generator().manual_seed(2)
    left, _, right = torch.linalg.svd(torch.randn(shape, generator=generator, dtype=torch.float64), full_matrices=False)
    expected = torch.logspace(0, -6, 6, dtype=torch.float64).expand(*shape[:-2], 6)
    change = (left * expected.unsqueeze(-2)) @ right
    p, values, q = triplets_of(Delta(change, None, -2.0))
    torch.testing.assert_close(-values.flip(-1), 2 * expected, rtol=1e-4, atol=0)
    torch.testing.assert_close((p * values.unsqueeze(-2)) @ q, -2 * change, rtol=0, atol=1e-14)
    one = torch.eye(6, dtype=torch.float64).expand(*shape[:-2], -1, -1)
    torch.testing.assert_close(p.mT @ p, one, rtol=0, atol=1e-3)
    torch.testing.assert_close(q @ q.mT, one, rtol=0, atol=1e-3)
    assert not triplets_of(Delta(torch.zeros(shape)))[1].any()


def reference(world: World, batches: list[list[list[int]]]) -> dict[str, float]:
    """Sum of the triplets' importance by layer, as PEFT's rank allocator has it."""
    update = read_update(world.root / "update", world.layers)
    names = {layer.name: layer.name.replace(".", "-") for layer in world.layers}
    holder = nn.ParameterDict()
    for layer, name in names.items():
        p, values, q = triplets_of(update.delta(layer))
        # PEFT: W x + B diag(E) A x.
        for kind, value in (("A", q), ("B", p), ("E", values[:, None])):
            holder[f"{name}_lora_{kind}_default"] = nn.Parameter(value.to(torch.float64))
    config = AdaLoraConfig(init_r=RANK, target_r=1, beta1=0.85, beta2=0.85, total_step=10)
    allocator = RankAllocator(holder, config, "default")
    for rows in batches:
        weights: dict[str, Tensor] = {}
        for layer in world.layers:
            a, b, e = (holder[f"{names[layer.name]}_lora_{kind}_default"] for kind in "ABE")
            change = b @ (e * a)
            turned = layer_weight(world.model, layer) is not layer_parameter(world.model, layer)
            weights[f"{layer.name}.weight"] = layer_parameter(world.model, layer) + (change.mT if turned else change)
        tokens = torch.tensor(rows)
        logits = functional_call(world.model, weights, (tokens,)).logits[:, TARGETS_FROM - 1 : -1]
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, TARGETS_FROM:].flatten())
        holder.zero_grad()
        loss.backward()
        allocator.update_ipt(holder)
    found = {}
    for layer, name in names.items():
        a, b, e = (allocator._element_score(f"{name}_lora_{kind}_default") for kind in "ABE")
        found[layer] = float(allocator._combine_ipt(e, torch.stack([a.mean(1), b.mean(0)], dim=1)).sum())
    return found


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "qwen2"])
def test_it_is_the_importance_by_which_peft_allocates_ranks(tmp_path, architecture: str) -> None:
    world = World(tmp_path, architecture, dtype="float64")
    generator = torch.Generator().manual_seed(5)
    world.write_update({layer.name: low_rank(layer.shape, RANK, 0.5, generator) for layer in world.layers})
    rows = tiny_batch(rows=6, length=12).tolist()
    world.write_data(rows, TARGETS_FROM)
    examples = read_examples(tmp_path / "data", "train")
    order = optimizer_batches(examples, batch_size=2, steps=BATCHES, streams=Streams(0, 0))
    expected = reference(world, [[examples[index].tokens.tolist() for index in batch] for batch in order])
    ranking = world.ranking("adalora-sensitivity", {"batches": BATCHES}, batch_size=2)
    spread = np.ptp(list(expected.values()))
    for name, value in expected.items():
        assert ranking.scores[name] == pytest.approx(value, abs=1e-5 * spread), name
    blocks = world.ranking("adalora-sensitivity", {"batches": BATCHES}, batch_size=2, unit=Unit.BLOCK)
    for group in world.layers.groups(Unit.BLOCK):
        together = sum(expected[layer.name] for layer in group.members)
        assert blocks.scores[group.name] == pytest.approx(together, abs=1e-5 * spread)


def test_fused_experts_have_gradients_too(tmp_path) -> None:
    world = World(tmp_path, "qwen3_moe")
    generator = torch.Generator().manual_seed(5)
    factors = {}
    for layer in world.layers:
        b, a = low_rank(layer.shape[-2:], RANK, 0.5, generator)
        experts = layer.shape[0] if len(layer.shape) == 3 else 1
        factors[layer.name] = (b.repeat(1, experts), a.repeat(experts, 1)) if experts > 1 else (b, a)
    world.write_update(factors)
    world.write_data(tiny_batch(rows=6, length=12).tolist(), TARGETS_FROM)
    ranking = world.ranking("adalora-sensitivity", {"batches": BATCHES}, batch_size=2)
    assert min(ranking.scores.values()) > 0


def test_a_small_buffer_takes_more_passes_and_changes_nothing(tmp_path, monkeypatch) -> None:
    world = World(tmp_path)
    generator = torch.Generator().manual_seed(5)
    write_update(
        DenseUpdate({each.name: 0.05 * torch.randn(each.shape, generator=generator) for each in world.layers}),
        tmp_path / "update",
        base_dtype=torch.float32,
    )
    world.write_data(tiny_batch(rows=6, length=12).tolist(), TARGETS_FROM)
    scores = []
    for room in (BUFFER, 1):
        monkeypatch.setattr(adalora, "portions", partial(portions, room=room))
        scores.append(world.ranking("adalora-sensitivity", {"batches": BATCHES}, batch_size=2).scores)
    assert scores[0] == scores[1]
