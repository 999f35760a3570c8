"""Every choice that is made for a GPU, on a CPU: over weights in four bits, and in whole studies."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from itertools import product
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedModel

from layersig.fast.dropout import keyed_dropout
from layersig.fast.lora import fast_lora
from layersig.models.adapters import inject_adalora, inject_lora
from layersig.models.layermap import layer_map
from layersig.models.load import dequantised, load_model
from layersig.recipe.schema import AdaLoraSettings
from layersig.scoring.gating import gated
from tests.e2e.world import World
from tests.fast.test_plain import STUDY, agree
from tests.fast.twins import BUDGETS, Kind, Outcome, assert_agree, blocks_of, precision, step
from tests.models.helpers import low_rank_update, move
from tests.study import write_study
from tests.tiny import save_tiny, tiny_model
from tests.training.world import STREAMS, trained

pytestmark = pytest.mark.filterwarnings("ignore")  # what bitsandbytes says of CPUs


def quantized(architecture: str, dtype: torch.dtype) -> PreTrainedModel:
    """A tiny model as a recipe with `quantization = "nf4"` holds it; in float64, one of the weights that it unpacks."""
    pytest.importorskip("bitsandbytes")
    with tempfile.TemporaryDirectory() as folder:
        saved = save_tiny(Path(folder), architecture)
        model = load_model(saved, dtype=torch.float32, device="cpu", quantization="nf4")
    if dtype is torch.float32:
        return model
    unpacked = tiny_model(architecture, dtype=dtype)
    for name, parameter in model.named_parameters():
        unpacked.get_parameter(name).copy_(dequantised(parameter))
    return unpacked


def qlora(architecture: str, dtype: torch.dtype, budget: int, fast: bool, again: bool) -> Outcome:
    """Factors over weights in four bits, with dropout."""
    model = quantized(architecture, dtype)
    adapted = inject_lora(model, blocks_of(model), rank=3, alpha=6, dropout=0.3, streams=STREAMS)
    move(adapted)
    with keyed_dropout(adapted, STREAMS), fast_lora(adapted) as count:
        assert count
    with precision(dtype):
        return step(adapted, trained(adapted), budget, fast, again)


def qadalora(architecture: str, dtype: torch.dtype, budget: int, fast: bool, again: bool) -> Outcome:
    """Three factors over weights in four bits, with dropout."""
    model = quantized(architecture, dtype)
    layers = [layer for layer in blocks_of(model) if len(layer.shape) == 2]
    ranks = AdaLoraSettings(init_r=4, target_r=2)
    adapted = inject_adalora(model, layers, settings=ranks, alpha=8.0, dropout=0.3, steps=9, streams=STREAMS)
    move(adapted)
    with precision(dtype):
        return step(adapted, trained(adapted), budget, fast, again)


def gates(architecture: str, dtype: torch.dtype, budget: int, fast: bool, again: bool) -> Outcome:
    """The gates of ILA over factors, over weights in four bits."""
    model = quantized(architecture, dtype)
    update = low_rank_update(layer_map(model))
    gamma = torch.linspace(0.2, 0.9, len(update.layers)).to(dtype).requires_grad_()
    with gated(model, update, gamma, fast=fast), precision(dtype):
        return step(model, {"gamma": gamma}, budget, fast, again)


KINDS: tuple[Kind, ...] = (qlora, qadalora, gates)
WAYS = tuple(product(BUDGETS, (False, True)))


def compare(kind: Kind, architecture: str, ways: Iterable[tuple[int, bool]]) -> None:
    """The fast twin in float32 against the plain one in float64, both over what bitsandbytes unpacks in float32.

    Two twins in float32 would be compared less sharply: the plain one, too, is up to 1.1e-5 away from float64.
    """
    exact = kind(architecture, torch.float64, BUDGETS[0], False, False)
    for budget, again in ways:
        assert_agree(kind(architecture, torch.float32, budget, True, again), exact, 1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_twins_agree_over_four_bits(kind: Kind, as_gpu: list[tuple[int, int]]) -> None:
    compare(kind, "llama", [(75, False)])
    assert as_gpu


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["llama", "mistral", "gemma2", "qwen3", "gpt_neox", "qwen3_moe"])
@pytest.mark.parametrize("kind", KINDS)
def test_twins_agree_over_four_bits_everywhere(kind: Kind, architecture: str, as_gpu: list[tuple[int, int]]) -> None:
    compare(kind, architecture, WAYS)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("architecture", "quantization", "dtype", "least"),
    [
        ("llama", "none", "float64", 1.0),
        ("mistral", "none", "float64", 1.0),
        ("gemma2", "none", "float64", 1.0),
        ("llama", "nf4", "float32", 0.99),
        ("mistral", "nf4", "float32", 0.99),
    ],
)
def test_studies_rank_and_select_the_same_layers(
    tmp_path: Path, architecture: str, quantization: str, dtype: str, least: float, as_gpu: list[tuple[int, int]]
) -> None:
    """As `test_plain` has it for a CPU; gradient scorers refuse weights in four bits."""
    recipe = STUDY if quantization == "none" else STUDY.replace('"gradient-norm"', '"update-taylor"')
    world = World(tmp_path, write_study(tmp_path, architecture, recipe=recipe))
    compute = (f"model.dtype={dtype}", f"model.quantization={quantization}")
    fast, plain = (world.run(*compute, *more).run for more in ((), ("model.fast=false",)))
    assert as_gpu or architecture == "gemma2"
    agree(fast, plain, least)
