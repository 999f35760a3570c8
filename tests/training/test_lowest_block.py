"""The backward pass ends at the lowest chosen block, and training multiplies what the cost-aware policy counts."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from layersig.fast.runner import Workload, training_runner
from layersig.layers import Layer, LayerMap, Unit
from layersig.models.layermap import block_list, layer_map
from layersig.recipe.schema import TrainSettings
from layersig.selecting.costs import Arithmetic
from layersig.training.methods import Base, component_of, tuned
from tests.tiny import VOCABULARY, tiny_model
from tests.training.world import STREAMS, examples

RANK = 3
OTHERS = [pytest.param(name, marks=pytest.mark.slow) for name in ("qwen3", "mistral")]
METHODS = ("lora", "rslora", "dora", "pissa", "adalora", "full")


def settings(method: str, **more: object) -> TrainSettings:
    return TrainSettings(method=method, rank=RANK, dropout=0.0, batch_size=4, micro_batch_tokens=4096, **more)


def pass_once(model: nn.Module, layers: Sequence[Layer], train: TrainSettings, *, fast: bool, repeats: int = 1) -> None:
    batches = [(0, 1, 2, 3)] * repeats
    with tuned(model, layers, train, base=Base("b"), steps=300, streams=STREAMS) as tuning:
        work = Workload(tuning.model, tuning.parameters, examples(), batches, train, STREAMS, fast=fast)
        with training_runner(work) as runner:
            for step, batch in enumerate(batches, start=1):
                runner.loss_and_gradients(batch, step)


def blocks_with_gradients(model: nn.Module, layers: Sequence[Layer], train: TrainSettings, **how: object) -> set[int]:
    """Numbers of the blocks whose output belongs to the graph that the backward pass goes through."""
    found: set[int] = set()

    def look(number: int, output: Tensor | tuple[Tensor, ...]) -> None:
        first = output if isinstance(output, Tensor) else output[0]
        if first.requires_grad:
            found.add(number)

    handles = [
        block.register_forward_hook(lambda _, __, output, number=number: look(number, output))
        for number, block in enumerate(block_list(model)[1])
    ]
    try:
        pass_once(model, layers, train, **how)
    finally:
        for handle in handles:
            handle.remove()
    return found


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("architecture", ["llama", "gemma2", "gpt2"])
def test_gradients_go_back_to_the_lowest_chosen_block_and_no_further(
    architecture: str, method: str, fast: bool
) -> None:
    model = tiny_model(architecture)
    layers = list(layer_map(model))
    depth = 1 + max(layer.block for layer in layers)
    for lowest in (0, 1, depth - 1):
        chosen = [next(layer for layer in layers if layer.block == lowest), layers[-1]]
        assert blocks_with_gradients(model, chosen, settings(method), fast=fast) == set(range(lowest, depth))


def test_nor_do_they_with_checkpointing_or_where_frozen_blocks_are_not_run_again() -> None:
    model = tiny_model("llama")
    chosen = [layer for layer in layer_map(model) if layer.block == 1][:1]
    again = settings("lora", gradient_checkpointing=True)
    assert blocks_with_gradients(model, chosen, again, fast=True) == {1, 2}
    assert blocks_with_gradients(model, chosen, settings("lora"), fast=True, repeats=2) == {1, 2}


def multiplied(model: nn.Module, layers: Sequence[Layer], train: TrainSettings) -> float:
    """Multiplications of products with weights and factors in a step of plain autograd, per token; counted by torch."""
    with FlopCounterMode(display=False) as counter:
        pass_once(model, layers, train, fast=False)
    by_operation = counter.get_flop_counts()["Global"]
    products = sum(count for name, count in by_operation.items() if str(name) in ("aten.mm", "aten.addmm"))
    tokens = sum(len(examples()[index]) for index in range(4))
    return products / 2 / tokens


@pytest.mark.parametrize("method", ["lora", "full"])
@pytest.mark.parametrize(
    "architecture", ["llama", *(pytest.param(name, marks=pytest.mark.slow) for name in ("qwen3", "mistral"))]
)
def test_a_step_multiplies_what_is_counted(architecture: str, method: str) -> None:
    model = tiny_model(architecture)
    layers = layer_map(model)
    train, component = settings(method), component_of(method, ())
    work = component.create()
    trained = {layer.name: work.trained_values(layer, train) for layer in layers}
    groups = layers.groups(Unit.MODULE)
    counted = Arithmetic(groups, trained, component.result == "checkpoint", train, VOCABULARY).time
    group_of = {group.name: group for group in groups}
    for chosen in _sets(layers):
        found = multiplied(model, chosen, train)
        lowest = min(layer.block for layer in chosen)
        # The first product of the lowest block has a frozen input, so that its gradient is not asked for.
        first = [
            layer for layer in layers if layer.block == lowest and layer.kind[-6:] in ("q_proj", "k_proj", "v_proj")
        ]
        unasked = sum(layer.parameters for layer in first)
        if method == "lora":
            unasked += sum(RANK * layer.shape[-1] for layer in first if layer in chosen)
        assert counted.of([group_of[layer.name] for layer in chosen]) - found == pytest.approx(unasked)


def _sets(layers: LayerMap) -> list[list[Layer]]:
    """Sets of layers that hold first products of their lowest block: all layers, one block with others, one alone."""
    first = {block: [layer for layer in layers if layer.block == block][:3] for block in range(3)}
    return [list(layers), [*first[1], layers[-1]], first[2][:1]]
