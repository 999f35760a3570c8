"""Memory of a 7B model's gradients and trainings, counted on the meta device: nothing is allocated."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cross_entropy

from layersig.data.examples import Examples
from layersig.fast import recompute
from layersig.fast.meta_attention import meta_attention
from layersig.fast.runner import reading_runner
from layersig.models.layermap import layer_map, layer_parameter
from layersig.models.live_bytes import LiveBytes
from layersig.training.gradients import visit_gradients
from tests.scoring.world import World
from tests.shapes import LLAMA_2_7B, on_meta, rows_of
from tests.tiny import tiny_batch, tiny_model
from tests.training.world import examples

GIB = 2**30
SEVEN = on_meta(LLAMA_2_7B)
BLOCK = 202_375_168  # weights of a block of Llama-2-7B, its linear layers alone
HIDDEN, DEPTH = 4096, 32


def _peak_of_gradients(found: Examples, budget: int, buffer: int, *, recompute: bool) -> tuple[int, int]:
    """Peak beyond the weights, and how many gradients were seen."""
    parameters = {layer.name: layer_parameter(SEVEN, layer) for layer in layer_map(SEVEN)}
    seen = 0

    def visit(batch: int, name: str, gradient: torch.Tensor) -> None:
        nonlocal seen
        seen += 1
        assert gradient.dtype is torch.float32

    with (
        meta_attention(SEVEN),
        LiveBytes(SEVEN.parameters()) as live,
        reading_runner(SEVEN, found, budget, pack=False, recompute=recompute) as runner,
    ):
        held = live.current
        visit_gradients(runner, parameters, found, [range(len(found))], visit, buffer=buffer)
        assert live.current == held, "everything is given back"
    return live.peak - held, seen


@pytest.mark.parametrize("pieces", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_gradients_of_7b_take_one_block_and_stated_buffers(pieces):
    tokens, buffer = 16_384, 4 * GIB
    found = rows_of(8 * pieces, 2048)
    with_recomputation, seen = _peak_of_gradients(found, tokens, buffer, recompute=True)
    assert seen == 7 * DEPTH
    inputs_of_blocks = tokens * HIDDEN * 2 * DEPTH
    inside_a_block = tokens * 200_000  # bytes a token and block without factors
    assert with_recomputation < inputs_of_blocks + inside_a_block + 4 * BLOCK + (pieces > 1) * buffer
    assert 6 * buffer < 4 * BLOCK * DEPTH, "sums of all layers would not fit"


def test_recomputation_is_what_saves_memory():
    found = rows_of(2, 2048)
    kept, _ = _peak_of_gradients(found, 4096, 4 * GIB, recompute=False)
    again, _ = _peak_of_gradients(found, 4096, 4 * GIB, recompute=True)
    assert kept > 4096 * DEPTH * 150_000, "every block keeps 174 kB a token"
    assert again < kept / 4


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("buffer", [0, 3000, 2**30])
@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_the_sums_are_those_of_the_whole_batch(architecture, buffer, recompute):
    model = tiny_model(architecture, dtype=torch.float64).requires_grad_(False)
    parameters = {layer.name: layer_parameter(model, layer) for layer in layer_map(model)}
    seen: dict[str, torch.Tensor] = {}
    found, batch = examples(), (0, 2, 5, 7)
    with reading_runner(model, found, 40, pack=False, recompute=recompute) as runner:
        assert runner.in_pieces(batch, len) > 1
        visit_gradients(
            runner, parameters, found, [batch], lambda _, name, value: seen.update({name: value.clone()}), buffer=buffer
        )
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in parameters.values())
    losses, count = torch.zeros((), dtype=torch.float64), 0
    for parameter in parameters.values():
        parameter.requires_grad_(True)
    for index in batch:
        tokens, targets = torch.from_numpy(found[index].tokens.astype("int64")), found[index].targets
        where = torch.from_numpy(targets).nonzero().flatten()
        losses = losses + cross_entropy(
            model(input_ids=tokens[None]).logits[0][where - 1], tokens[where], reduction="sum"
        )
        count += len(where)
    for (name, parameter), due in zip(
        parameters.items(), torch.autograd.grad(losses / count, list(parameters.values())), strict=True
    ):
        torch.testing.assert_close(seen[name], due, rtol=1e-6, atol=1e-12)
        assert parameter.dtype is seen[name].dtype


def test_sums_of_bfloat16_gradients_are_float32():
    model = tiny_model("llama", dtype=torch.bfloat16).requires_grad_(False)
    parameters = {layer.name: layer_parameter(model, layer) for layer in layer_map(model)}
    found, batch = examples(8), tuple(range(8))
    with reading_runner(model, found, 1, pack=False) as runner:
        pieces = runner.in_pieces(batch, list)
        divisor = int(found.target_counts.sum())
        name, parameter = next(iter(parameters.items()))
        parameter.requires_grad_(True)
        parts = [torch.autograd.grad(runner.loss(piece, divisor), parameter)[0].float() for piece in pieces]
        parameter.requires_grad_(False)
        seen: dict[str, torch.Tensor] = {}
        visit_gradients(runner, {name: parameter}, found, [batch], lambda _, name, value: seen.update({name: value}))
    assert len(parts) == 8
    assert torch.equal(seen[name], sum(parts[1:], parts[0]))


@pytest.mark.parametrize("scorer", ["gradient-norm", "update-taylor", "adalora-sensitivity"])
def test_gradient_scorers_recompute_where_trainings_do(tmp_path, scorer, monkeypatch):
    entered = 0
    plain = recompute.checkpoint

    def counted(*args, **kwargs):
        nonlocal entered
        entered += 1
        return plain(*args, **kwargs)

    monkeypatch.setattr(recompute, "checkpoint", counted)
    world = World(tmp_path)
    world.write_data(tiny_batch(rows=8, length=12).tolist())
    generator = torch.Generator().manual_seed(0)
    world.write_update(
        {
            each.name: tuple(torch.randn(n, 2, generator=generator).view(s) for n, s in _factors(each))
            for each in world.layers
        }
    )
    rankings = [world.ranking(scorer, {"batches": 2}, gradient_checkpointing=on).scores for on in (False, True)]
    assert entered > 0
    assert rankings[1] == pytest.approx(rankings[0], rel=1e-5, abs=1e-7)


def _factors(layer):
    out, inner = layer.shape
    return [(out, (out, 2)), (inner, (2, inner))]
