"""The likelihood of data without each block in turn, with everything in front of the block run once.

N + 1 separate evaluations of a model of N blocks run N * N blocks. What lies in front of the ablated block is the same
in all of them, so one pass keeps the state at every boundary and each ablation continues from there: N (N + 1) / 2.

Plain twin: `Runner.losses` of the model with the block taken out.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from layersig.data.pairs import Items, Pairs
from layersig.fast.batching import Batching, MicroBatch
from layersig.fast.head import logits_at
from layersig.fast.loss import sequence_sums
from layersig.models.blocks import BlockRunner
from layersig.scoring.block_states import batching_for, halving_for, states_of_tokens
from layersig.scoring.context import ScoringContext
from layersig.stages.halving import Halving

Ablation = Literal["skip", "zero", "mean"]

_LOGIT_ROWS = 256
"""Positions whose logits are turned into losses at once: keeps their float32 copy small."""


@dataclass(frozen=True, slots=True)
class SweepResult:
    """Losses per target token, or per pair, in nats.

    Attributes:
        loss: Of the model as it is.
        without: Of the model without each candidate, by its number.
    """

    loss: float
    without: dict[int, float]


def sweep(
    context: ScoringContext,
    indices: Sequence[int],
    candidates: Collection[int],
    *,
    removed: Collection[int] = (),
    how: Ablation = "skip",
) -> SweepResult:
    """The loss on training examples of the model as it is, and without each candidate.

    Args:
        context: Of a scorer that needs model and data.
        indices: Examples by index, taken together: the loss is summed over all their targets, over their number; of
            pairs it is the mean.
        candidates: Numbers of blocks, from 0.
        removed: Numbers of blocks that are gone throughout.
        how: What an ablated block leaves behind: `skip`, the state in front of it; `zero`, a state of zeros; `mean`,
            the state in front of it plus what the block adds on average over all tokens of `indices`.
    """
    items = context.learnt
    footprints: list[int] = items.footprints.tolist()
    divisor = int(items.weights[list(indices)].sum())
    runner = BlockRunner(context.model, removed)
    kept = sorted(candidates)
    halving = halving_for(context, items)
    context.reporter.start("sweep", len(indices), "example")
    with torch.no_grad(), context.counted([indices], items), batching_for(context, items) as batching:
        cuts = batching.cut(footprints, indices)
        added = _mean_added(context, runner, batching, halving, cuts) if how == "mean" else None

        def losses(cut: Sequence[int]) -> list[float]:
            """Of the model as it is, and without each candidate."""
            micro = batching.lay_out(items.sequences(cut), context.device)
            with logits_at(context.model, micro.positions):
                passed = runner.run(micro.inputs)
                found = [_share(items, cut, passed.logits, micro) / divisor]
                for place in kept:
                    state = _ablated(passed.states[place], how, None if added is None else added[place])
                    logits = runner.resume(micro.inputs, place + 1, state)
                    found.append(_share(items, cut, logits, micro) / divisor)
            return found

        total = [0.0] * (1 + len(kept))
        for cut in cuts:
            for found in context.once("sweep", partial(halving.run, losses, cut)):
                total = [one + other for one, other in zip(total, found, strict=True)]
            context.reporter.advance(len(cut))
    return SweepResult(total[0], dict(zip(kept, total[1:], strict=True)))


def _share(items: Items, cut: Sequence[int], logits: Tensor, micro: MicroBatch) -> float:
    """Sum of the losses of some items."""
    wide = torch.promote_types(logits.dtype, torch.float32)
    parts = zip(torch.split(logits, _LOGIT_ROWS), torch.split(micro.labels, _LOGIT_ROWS), strict=True)
    if not isinstance(items, Pairs):
        return sum(float(cross_entropy(part.to(wide), labels, reduction="sum")) for part, labels in parts)
    rows = torch.cat([cross_entropy(part.to(wide), labels, reduction="none") for part, labels in parts])
    return float(items.total_loss(cut, -sequence_sums(rows, micro)))


def _ablated(state: Tensor, how: Ablation, added: Tensor | None) -> Tensor:
    if how == "zero":
        return torch.zeros_like(state)
    return state if added is None else state + added.to(state.dtype)


def _mean_added(
    context: ScoringContext,
    runner: BlockRunner,
    batching: Batching,
    halving: Halving[int],
    cuts: Sequence[Sequence[int]],
) -> list[Tensor]:
    """What every block adds to the state, averaged over all tokens: [width] each, in float32 or wider."""

    def added(cut: Sequence[int]) -> tuple[int, list[Tensor]]:
        micro = batching.lay_out([context.examples[index] for index in cut], context.device)
        states = states_of_tokens(context, runner, micro)
        wide = torch.promote_types(states[0].dtype, torch.float32)
        return len(states[0]), [(after.to(wide) - before.to(wide)).sum(0) for before, after in pairwise(states)]

    sums = _Sums(len(runner))

    def add(_: int, cut: Sequence[int]) -> None:
        for tokens, found in halving.run(added, cut):
            sums.count += tokens
            sums.total = [one + other for one, other in zip(sums.total, found, strict=True)]

    context.in_passes("added", sums, cuts, add)
    return [each / sums.count for each in sums.total]


class _Sums:
    """What every block has added to the state so far, and over how many tokens."""

    def __init__(self, blocks: int) -> None:
        self.total: list[Any] = [0.0] * blocks
        self.count = 0

    def state(self) -> dict[str, Tensor]:
        """All of it."""
        return {"count": torch.tensor(self.count), **{str(block): each for block, each in enumerate(self.total)}}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Put back what `state` gave."""
        self.count = int(state["count"])
        self.total = [state[str(block)] for block in range(len(self.total))]
