"""What a forward pass leaves behind: the hidden state between blocks, and what goes into and comes out of layers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from functools import partial
from typing import Any, Literal, NamedTuple, TypeVar

import torch
from torch import Tensor

from layersig.data.pairs import Items
from layersig.errors import UserError
from layersig.fast.batching import Batching, MicroBatch, batching_of
from layersig.fast.budget import tokens_at_once
from layersig.fast.head import logits_at
from layersig.fast.layout import Layout
from layersig.layers import Layer
from layersig.models.blocks import BlockRunner
from layersig.models.devices import free, wide
from layersig.scoring.inputs import Inputs
from layersig.stages.halving import Halving

Found = TypeVar("Found")


class States(NamedTuple):
    """Hidden states of some examples, padding left out.

    Attributes:
        boundaries: Before every block and behind the last one, [tokens, width] each.
        lengths: Tokens of every example, in the order of the rows.
        prompts: Tokens of every example before its first target.
    """

    boundaries: tuple[Tensor, ...]
    lengths: tuple[int, ...]
    prompts: tuple[int, ...]

    def rows(self, token: Literal["last", "prompt"]) -> Tensor:
        """The row of one token of every example: its last one, or the last one before its first target.

        No block sees a later token, so that the states at the end of a prompt are those of the prompt alone.
        """
        lengths = torch.tensor(self.lengths)
        ends = lengths if token == "last" else torch.tensor(self.prompts)
        return (lengths.cumsum(0) - lengths + ends - 1).to(self.boundaries[0].device)


def block_states(context: Inputs, indices: Sequence[int]) -> Iterator[States]:
    """States of training examples, some examples at a time.

    Args:
        context: Of a scorer that needs model and data.
        indices: Examples by index.
    """
    yield from _passes(context, indices, partial(_states, context, BlockRunner(context.model)))


def measured_states(
    context: Inputs,
    indices: Sequence[int],
    measure: Callable[[States], Found],
    once: Callable[[Callable[[], list[Found]]], list[Found]],
) -> Iterator[Found]:
    """What is measured of the states of training examples, some examples at a time.

    Args:
        context: Of a scorer that needs model and data.
        indices: Examples by index.
        measure: Gives a JSON value.
        once: Does a piece of work, unless it was done before an interruption.
    """
    runner = BlockRunner(context.model)
    yield from _passes(context, indices, lambda cut, micro: measure(_states(context, runner, cut, micro)), once)


def _states(context: Inputs, runner: BlockRunner, cut: Sequence[int], micro: MicroBatch) -> States:
    examples = [context.examples[index] for index in cut]
    return States(
        states_of_tokens(context, runner, micro),
        tuple(len(example) for example in examples),
        tuple(int(example.targets.argmax()) for example in examples),
    )


def layer_inputs(
    context: Inputs,
    indices: Sequence[int],
    of: Callable[[str, Tensor, Tensor], Found],
    names: Collection[str] | None = None,
) -> Iterator[dict[str, Found]]:
    """What a function makes of the inputs and outputs of every layer, some examples at a time.

    Args:
        context: Of a scorer that needs model and data.
        indices: Examples by index.
        of: Called with the name of a layer, its inputs, [tokens, in], and its outputs, [tokens, out], without padding,
            example after example.
        names: Layers to look at; all of them when None.

    Raises:
        UserError: A layer is a parameter of fused experts, which see some of the tokens each.
    """
    members = [layer for group in context.groups for layer in group.members]
    layers = [layer for layer in members if names is None or layer.name in names]
    for layer in layers:
        if layer.is_parameter:
            raise UserError(
                f"{context.label} cannot see what goes into {layer.name}, a fused expert parameter; take a scorer that "
                "reads weights, gradients or the states between blocks"
            )

    def found(_: Sequence[int], micro: MicroBatch) -> dict[str, Found]:
        seen: dict[str, Found] = {}
        rows = _token_rows(micro.layouts[0], context.device)

        def look(layer: Layer, inputs: tuple[Any, ...], output: Tensor) -> None:
            given, made = (value.reshape(-1, value.shape[-1]) for value in (inputs[0], output))
            seen[layer.name] = of(layer.name, given[rows], made[rows])

        headless = all(layer.block is not None for layer in layers)
        with ExitStack() as hooks, _without_head(context) if headless else nullcontext():
            for layer in layers:
                module = context.model.get_submodule(layer.name)
                hook = module.register_forward_hook(lambda _, given, made, layer=layer: look(layer, given, made))
                hooks.callback(hook.remove)
            context.model(**micro.inputs, use_cache=False)
        return seen

    yield from _passes(context, indices, found)


def _passes(
    context: Inputs,
    indices: Sequence[int],
    run: Callable[[Sequence[int], MicroBatch], Found],
    once: Callable[[Callable[[], list[Found]]], list[Found]] = lambda work: work(),
) -> Iterator[Found]:
    """What `run` finds in a forward pass over some of the examples, until all have been run."""
    examples, device = context.examples, context.device
    lengths: list[int] = examples.lengths.tolist()
    context.reporter.start("states", len(indices), "example")
    with torch.no_grad(), batching_for(context) as batching:
        halving = halving_for(context)

        def passed(cut: Sequence[int]) -> Found:
            return run(cut, batching.lay_out([examples[index] for index in cut], device))

        for cut in batching.cut(lengths, indices):
            yield from once(partial(halving.run, passed, cut))
            context.reporter.advance(len(cut))


def halving_for(context: Inputs, items: Items | None = None) -> Halving[int]:
    """How a scorer's passes over training examples, or other items, are run where memory is short."""
    footprints: list[int] = (context.examples if items is None else items).footprints.tolist()
    return Halving(
        "training examples",
        lambda cut: len(cut) * max(footprints[index] for index in cut),
        partial(free, context.device),
    )


def batching_for(context: Inputs, items: Items | None = None) -> AbstractContextManager[Batching]:
    """How a scorer's passes over the training examples, or other items, are cut and laid out."""
    budget = tokens_at_once(context.model, context.train_settings.micro_batch_tokens, learning=False)
    longest = (context.examples if items is None else items).longest
    return batching_of(context.model, budget, longest, fast=context.fast)


def states_of_tokens(context: Inputs, runner: BlockRunner, micro: MicroBatch) -> tuple[Tensor, ...]:
    """States of a micro-batch at every token, example after example: [tokens, width] each."""
    with _without_head(context):
        states = runner.run(micro.inputs).states
    rows = _token_rows(micro.layouts[0], context.device)
    return tuple(state.reshape(-1, state.shape[-1])[rows] for state in states)


def _without_head(context: Inputs) -> AbstractContextManager[None]:
    """With no positions the head, the largest product of all, runs on no rows."""
    return logits_at(context.model, torch.empty(0, dtype=torch.long, device=context.device))


def _token_rows(layout: Layout, device: torch.device) -> Tensor:
    """Rows of a layer's input that hold a token, not padding, example after example."""
    return torch.cat([torch.arange(each.start, each.start + each.rows) for each in layout.segments]).to(device)


def cosines(first: Tensor, second: Tensor) -> Tensor:
    """Cosine of every row with the same row, in float32 or wider, within [-1, 1]."""
    wide = torch.promote_types(first.dtype, torch.float32)
    return torch.nn.functional.cosine_similarity(first.to(wide), second.to(wide), dim=-1).clamp(-1.0, 1.0)


def means(values: Tensor, lengths: Sequence[int]) -> Tensor:
    """Mean over the tokens of every example, [examples], in float64."""
    return torch.stack([wide(part).mean() for part in torch.split(values, list(lengths))])
