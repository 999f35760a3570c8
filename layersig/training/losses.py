"""The training loss of given optimizer batches, without gradients."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import PreTrainedModel

from layersig.data.examples import Example, Examples
from layersig.training.batching import batching_of
from layersig.training.loss import target_loss


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
    with torch.no_grad(), batching_of(model, token_budget, max(lengths)) as batching:
        for indices in batches:
            targets = sum(int(examples[index].targets.sum()) for index in indices)
            loss = 0.0
            for cut in batching.cut(lengths, indices):
                micro = batching.lay_out([examples[index] for index in cut], device)
                loss += target_loss(model, micro, targets).item()
            losses.append(loss)
    return losses
