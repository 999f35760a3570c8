"""Signal-to-noise ratios against NumPy, and what they say of noise."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from scipy import integrate

from layersig.layers import Unit
from layersig.models import load
from layersig.models.layermap import layer_weight
from tests.scoring.world import World


def released(weight):
    values = np.linalg.svd(weight, compute_uv=False)
    low, high = np.percentile(values, [25, 75])
    above = values > (high - low) / 1.349 * (1 + np.sqrt(min(weight.shape) / max(weight.shape)))
    return values[above].sum() / (values[~above].sum() or 1.0) / values.max()


def corrected(weight):
    from layersig_spectrum import threshold_of_noise

    values = np.linalg.svd(weight, compute_uv=False)
    above = values > np.median(values) * threshold_of_noise(min(weight.shape) / max(weight.shape))
    return values[above].sum() / values[~above].sum()


def ratios(weight):
    from layersig_spectrum import _corrected, _released

    values = torch.linalg.svdvals(weight)
    return _released(values, tuple(weight.shape)), _corrected(values, tuple(weight.shape))


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "qwen3_moe"])
@pytest.mark.parametrize(("variant", "reference"), [("released", released), ("marchenko-pastur", corrected)])
def test_it_is_the_ratio_of_singular_values(packages, tmp_path, architecture, variant, reference):
    world = World(tmp_path, architecture)
    for layer in list(world.layers)[::2]:
        weight = layer_weight(world.model, layer)
        weight += 3 * torch.ones(weight.shape)  # one direction far above the noise
    world.model.save_pretrained(tmp_path / "model")
    found = world.ranking("spectrum", {"variant": variant})
    for layer in world.layers:
        weight = layer_weight(world.model, layer).double().numpy()
        due = np.mean([reference(each) for each in weight.reshape(-1, *weight.shape[-2:])])
        assert found.scores[layer.name] == pytest.approx(due, abs=1e-5 * max(found.scores.values()))
    blocks = world.ranking("spectrum", {"variant": variant}, unit=Unit.BLOCK).scores
    first = [found.scores[layer.name] for layer in world.layers if layer.block == 0]
    assert architecture == "qwen3_moe" or next(iter(blocks.values())) == pytest.approx(np.mean(first))


def test_planted_signal_ranks_first(packages, tmp_path):
    world = World(tmp_path)
    planted = [layer for layer in world.layers if layer.kind == "self_attn.v_proj"][1]
    layer_weight(world.model, planted).add_(2.0)
    world.model.save_pretrained(tmp_path / "model")
    assert world.ranking("spectrum", {}).ordered()[0] == planted.name


def test_the_released_ratio_calls_noise_signal_and_depends_on_scale(packages):
    long = torch.randn(256, 1024, generator=torch.Generator().manual_seed(0))
    square = torch.randn(256, 256, generator=torch.Generator().manual_seed(1))
    assert ratios(long)[0] == pytest.approx(165, abs=1)  # no value is below the threshold
    assert ratios(square)[0] < 1
    assert ratios(long)[1] == ratios(square)[1] == 0
    spiked = square + torch.ones(256, 256) / 4
    once, tenfold = ratios(spiked), ratios(10 * spiked)
    assert tenfold[0] == pytest.approx(once[0] / 10, rel=1e-4)
    assert tenfold[1] == pytest.approx(once[1], rel=1e-4)
    assert once[1] > 0


def test_a_few_directions_without_noise_are_signal(packages):
    """More than half of the singular values are 0, and with them the median and the threshold."""
    few = torch.zeros(64, 96)
    few[:3] = torch.randn(3, 96, generator=torch.Generator().manual_seed(3))
    noise = torch.randn(64, 96, generator=torch.Generator().manual_seed(4))
    spiked = noise + 2
    assert ratios(few)[1] > ratios(spiked)[1] > ratios(noise)[1] == 0
    assert ratios(1000 * few)[1] == pytest.approx(ratios(few)[1], rel=1e-3)
    assert ratios(torch.zeros(64, 96)) == (0, 0)


@pytest.mark.parametrize("count", [1, 5])
def test_as_many_directions_are_found_as_were_planted(packages, count):
    from layersig_spectrum import threshold_of_noise

    generator = torch.Generator().manual_seed(2)
    left, right = (torch.linalg.qr(torch.randn(n, count, generator=generator)).Q for n in (128, 256))
    values = torch.linalg.svdvals(torch.randn(128, 256, generator=generator) + 60 * left @ right.mT)
    assert int((values > threshold_of_noise(0.5) * values.median()).sum()) == count


def test_the_noise_level_is_that_of_the_marchenko_pastur_law(packages):
    from layersig_spectrum import median_of_noise, threshold_of_noise

    # Gavish and Donoho 2014, table IV and equation 3: 4 / sqrt(3) and 2.858 for square matrices.
    assert threshold_of_noise(1.0) == pytest.approx(2.858, abs=5e-4)
    for beta in (0.1, 0.5, 1.0):
        low, high = (1 - beta**0.5) ** 2, (1 + beta**0.5) ** 2

        def density(x, beta=beta, low=low, high=high):
            return np.sqrt((high - x) * (x - low)) / (2 * np.pi * beta * x)

        mass, _ = integrate.quad(density, low, median_of_noise(beta), limit=200)
        assert mass == pytest.approx(0.5, abs=1e-6)


def test_the_model_is_not_loaded(packages, tmp_path, monkeypatch):
    world = World(tmp_path, "gpt2")
    # Models are also stored without the prefix of their body, and turned as gpt2 has them.
    path = tmp_path / "model" / "model.safetensors"
    stored = {name.removeprefix("transformer."): value for name, value in load_file(path).items()}
    save_file(stored, path, {"format": "pt"})
    due = {layer.name: corrected(layer_weight(world.model, layer).double().numpy()) for layer in world.layers}

    def refuse(*_, **__):
        raise AssertionError("the model was loaded")

    monkeypatch.setattr(load, "borrow_model", refuse)
    monkeypatch.setattr("layersig.models.stored_weights.load_model", refuse)
    job = world.job("spectrum", {})
    assert not job.components[0].computes
    found = world.ranking("spectrum", {}).scores
    assert list(found.values()) == pytest.approx(list(due.values()), abs=1e-5)


def test_files_in_another_form_are_loaded_as_a_model(packages, tmp_path):
    world = World(tmp_path, "qwen3_moe")
    index = json.loads((tmp_path / "layers" / "layers.json").read_text())
    fused = [layer["name"] for layer in index["layers"] if layer["is_parameter"]]
    stored = load_file(tmp_path / "model" / "model.safetensors")
    assert fused
    assert not set(fused) & set(stored)  # every expert on its own
    assert set(world.ranking("spectrum", {}).scores) == set(world.layers.names)
