"""The training loss of given optimizer batches, without gradients."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from transformers import PreTrainedModel

from layersig.data.examples import Example, Examples
from layersig.fast.batching import batching_of
from layersig.fast.head import split_at_head
from layersig.fast.loss import target_loss


def batch_losses(
    model: PreTrainedModel,
    examples: Sequence[Example] | Examples,
    batches: Sequence[Sequence[int]],
    *,
    token_budget: int,
    device: torch.device,
) -> list[float]:
    """Loss of every optimizer batch: summed over its target tokens, over their number, in nats.

    Args:
        model: A causal language model on `device`, run in the mode it is in.
        examples: What `batches` index.
        batches: Optimizer batches.
        token_budget: Padded tokens of a micro-batch.
        device: Where the model is.
    """
    lengths = [len(examples[index]) for index in range(len(examples))]
    losses = []
    with (
        batching_of(model, token_budget, max(lengths), side_by_side=True) as batching,
        split_at_head(model) as split,
    ):

        def share(targets: int, cut: Sequence[int]) -> float:
            micro = batching.lay_out([examples[index] for index in cut], device)
            with torch.no_grad():
                return target_loss(split, micro, targets).item()

        for indices in batches:
            targets = sum(int(examples[index].targets.sum()) for index in indices)
            losses.append(sum(batching.lanes.run(partial(share, targets), batching.cut(lengths, indices))))
    return losses
