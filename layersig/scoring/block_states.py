"""What blocks do to the hidden state of every token: the passes behind block influence and angular distance."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from layersig.fast.batching import Batching, MicroBatch, batching_of
from layersig.fast.budget import tokens_at_once
from layersig.fast.head import logits_at
from layersig.fast.layout import Layout
from layersig.models.blocks import BlockRunner
from layersig.models.devices import free, wide
from layersig.scoring.context import ScoringContext
from layersig.stages.halving import Halving

Value = TypeVar("Value")


class States(NamedTuple):
    """Hidden states of some examples, padding left out.

    Attributes:
        boundaries: Before every block and behind the last one, [tokens, width] each.
        lengths: Tokens of every example, in the order of the rows.
    """

    boundaries: tuple[Tensor, ...]
    lengths: tuple[int, ...]


def measured_states(
    context: ScoringContext, indices: Sequence[int], measure: Callable[[States], Value]
) -> Iterator[Value]:
    """What is measured of the states of training examples, some examples at a time.

    Args:
        context: Of a scorer that needs model and data.
        indices: Examples by index.
        measure: Gives a JSON value, which outlives an interruption.
    """
    examples, device = context.examples, context.device
    lengths: list[int] = examples.lengths.tolist()
    runner = BlockRunner(context.model)
    context.reporter.start("states", len(indices), "example")
    with torch.no_grad(), context.counted([indices]), batching_for(context) as batching:
        halving = halving_for(context)

        def states(cut: Sequence[int]) -> States:
            micro = batching.lay_out([examples[index] for index in cut], device)
            flat = states_of_tokens(context, runner, micro)
            return States(flat, tuple(segment.rows for segment in micro.layouts[0].segments))

        def measures(cut: Sequence[int]) -> list[Value]:
            return [measure(each) for each in halving.run(states, cut)]

        for cut in batching.cut(lengths, indices):
            yield from context.once("states", partial(measures, cut))
            context.reporter.advance(len(cut))


def halving_for(context: ScoringContext) -> Halving[int]:
    """How a scorer's passes over training examples, given by index, are run where memory is short."""
    lengths: list[int] = context.examples.lengths.tolist()
    return Halving(
        "training examples",
        lambda cut: len(cut) * max(lengths[index] for index in cut),
        partial(free, context.device),
    )


def batching_for(context: ScoringContext) -> AbstractContextManager[Batching]:
    """How a scorer's passes over the training examples are cut and laid out."""
    budget = tokens_at_once(context.model, context.train_settings.micro_batch_tokens, learning=False)
    return batching_of(context.model, budget, int(context.examples.lengths.max()), fast=context.fast)


def states_of_tokens(context: ScoringContext, runner: BlockRunner, micro: MicroBatch) -> tuple[Tensor, ...]:
    """States of a micro-batch at every token, example after example: [tokens, width] each."""
    # The states are all that is wanted. With no positions the head, the largest product of all, runs on no rows.
    with logits_at(context.model, torch.empty(0, dtype=torch.long, device=context.device)):
        states = runner.run(micro.inputs).states
    rows = _token_rows(micro.layouts[0], context.device)
    return tuple(state.reshape(-1, state.shape[-1])[rows] for state in states)


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
