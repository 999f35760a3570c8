"""Size and spectrum of updates against dense algebra."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from layersig.layers import Unit
from layersig.models.layermap import layer_weight
from layersig.models.live_bytes import LiveBytes
from layersig.models.update_folder import read_update
from layersig.models.updates import Delta
from layersig.scoring.spectral import singular_values, squared_singular_values
from tests.scoring.world import World, low_rank


@pytest.fixture(scope="module", params=["llama", "gpt2", "gpt_neox"])
def world(tmp_path_factory, request):
    world = World(tmp_path_factory.mktemp("world"), request.param)
    generator = torch.Generator().manual_seed(5)
    world.write_update(
        {
            layer.name: low_rank(layer.shape, 3, 0.5 + 0.3 * number, generator)
            for number, layer in enumerate(world.layers)
        }
    )
    return world


def dense_parts(world, unit):
    """By unit: the dense changes and the pretrained weights of its layers, in float64."""
    update = read_update(world.root / "update", world.layers)
    for group in world.layers.groups(unit):
        deltas = [update.delta(layer.name).dense().double() for layer in group.members]
        weights = [layer_weight(world.model, layer).double() for layer in group.members]
        yield group, deltas, weights


@pytest.mark.parametrize("unit", list(Unit))
@pytest.mark.parametrize("measure", ["absolute", "relative", "rms"])
def test_sizes_are_norms_of_dense_changes(world, unit, measure):
    ranking = world.ranking("weight-change", {"measure": measure}, unit=unit)
    spread = np.ptp(list(ranking.scores.values()))
    for group, deltas, weights in dense_parts(world, unit):
        change = torch.cat([delta.flatten() for delta in deltas])
        weight = torch.cat([each.flatten() for each in weights])
        expected = {
            "absolute": change.norm(),
            "relative": change.norm() / weight.norm(),
            "rms": change.square().mean().sqrt(),
        }
        assert ranking.scores[group.name] == pytest.approx(expected[measure].item(), abs=1e-5 * spread)


@pytest.mark.parametrize("unit", list(Unit))
@pytest.mark.parametrize("measure", ["stable-rank", "effective-rank", "spectral-norm"])
def test_spectra_are_those_of_dense_changes(world, unit, measure):
    ranking = world.ranking("spectral", {"measure": measure}, unit=unit)
    spread = np.ptp(list(ranking.scores.values()))
    for group, deltas, _ in dense_parts(world, unit):
        # One matrix with the layers as blocks on its diagonal has all their singular values.
        values = torch.linalg.svdvals(torch.block_diag(*deltas))
        shares = [value for value in (values / values.sum()).tolist() if value > 1e-7]
        expected = {
            "stable-rank": (values.square().sum() / values[0] ** 2).item(),
            "effective-rank": math.exp(-sum(share * math.log(share) for share in shares)),
            "spectral-norm": values[0].item(),
        }
        assert ranking.scores[group.name] == pytest.approx(expected[measure], abs=1e-5 * spread)


def test_known_spectra():
    q, _ = torch.linalg.qr(torch.randn(9, 3, generator=torch.Generator().manual_seed(0)))
    p, _ = torch.linalg.qr(torch.randn(5, 3, generator=torch.Generator().manual_seed(1)))
    factors = Delta(q @ torch.diag(torch.tensor([3.0, 2.0, 1.0])), p.T, scale=-0.5)
    assert sorted(singular_values(factors).tolist()) == pytest.approx([0.5, 1.0, 1.5], rel=1e-5)
    assert sorted(singular_values(Delta(factors.dense())).tolist())[-3:] == pytest.approx([0.5, 1.0, 1.5], rel=1e-5)
    experts = Delta(torch.stack([factors.b, 2 * factors.b]), torch.stack([factors.a, factors.a]), scale=1.0)
    assert sorted(singular_values(experts).tolist()) == pytest.approx([1, 2, 2, 3, 4, 6], rel=1e-5)


def test_rank_wider_than_the_matrix_is_no_trouble():
    generator = torch.Generator().manual_seed(0)
    wide = Delta(torch.randn(3, 8, generator=generator), torch.randn(8, 5, generator=generator))
    expected = torch.linalg.svdvals(wide.dense().double())
    assert sorted(singular_values(wide).tolist()) == pytest.approx(sorted(expected.tolist()), rel=1e-5)


def test_an_update_that_did_not_move_scores_zero(tmp_path):
    world = World(tmp_path)
    world.write_update(
        {layer.name: (torch.zeros(layer.shape[0], 2), torch.ones(2, layer.shape[1])) for layer in world.layers}
    )
    for scorer, params in [
        ("weight-change", {"measure": "relative"}),
        *(("spectral", {"measure": each}) for each in ("stable-rank", "effective-rank", "spectral-norm")),
    ]:
        assert set(world.ranking(scorer, params).scores.values()) == {0.0}


@pytest.mark.parametrize("shape", [(40, 48), (48, 40), (3, 40, 48)])
def test_squares_are_exact_in_what_ranks_and_norms_are_made_of(shape):
    generator = torch.Generator().manual_seed(3)
    few = torch.randn(*shape[:-1], 5, generator=generator) @ torch.randn(*shape[:-2], 5, shape[-1], generator=generator)
    for change in (few, few + 1e-4 * torch.randn(shape, generator=generator)):
        delta = Delta(change, None, -3.0)
        squares, values = squared_singular_values(delta), singular_values(delta)
        assert squares.max().item() == pytest.approx(values.max().item() ** 2, rel=1e-13)
        assert squares.sum().item() == pytest.approx(values.square().sum().item(), rel=1e-13)
        assert squares.numel() == values.numel()


def test_dense_experts_are_decomposed_one_by_one():
    delta = Delta(torch.randn(8, 48, 40, generator=torch.Generator().manual_seed(0)))
    for values in (singular_values, squared_singular_values):
        with LiveBytes([delta.b]) as live:
            values(delta)
        assert live.peak - live.current < 4 * 48 * 40 * 8
    assert torch.equal(singular_values(delta), torch.linalg.svdvals(delta.b.double()).flatten())


def test_changes_are_moved_to_a_gpu_alone(monkeypatch):
    delta, moved = Delta(torch.ones(3, 2)), []
    monkeypatch.setattr(Delta, "to", lambda self, device, dtype: moved.append((device.type, dtype)) or self)
    for name in ("cpu", "mps", "cuda"):
        assert delta.near(torch.device(name)) is delta
    assert moved == [("cuda", torch.float32)]
