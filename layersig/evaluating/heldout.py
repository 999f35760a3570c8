"""Loss on held-out conversations, per conversation."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain

import torch
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from layersig.data.batches import collate, micro_batches
from layersig.data.examples import Example, Examples
from layersig.distributed.world import world
from layersig.errors import StageFailed
from layersig.evaluating.kept import KeptAnswers
from layersig.fast import plain
from layersig.fast.budget import read_at_once
from layersig.fast.head import LOGIT_ELEMENTS, logits_at
from layersig.fast.profile import LOGIT_ROWS
from layersig.models.devices import free
from layersig.recipe.schema import TokenBudget
from layersig.records import Outcome
from layersig.stages.halving import Halving


def mean_losses(
    model: PreTrainedModel,
    examples: Examples,
    name: str,
    batch_tokens: TokenBudget,
    advance: Callable[[int, int], None] = lambda examples, tokens: None,
    kept: KeptAnswers | None = None,
    fast: bool = True,
) -> list[float]:
    """Mean loss per target token of each conversation, in nats; cross entropy is taken in float32 or above.

    Args:
        model: In eval mode.
        examples: The conversations.
        name: What they are called where a loss is not finite.
        batch_tokens: Padded tokens that go through the model at once; "auto" leaves them to the device.
        advance: Called with examples and real tokens done.
        kept: Where losses are kept as they come, and found by the next process; None keeps none.
        fast: Whether examples are batched, and logits taken at targets only.

    Returns:
        Losses in the order of `examples`.

    Raises:
        StageFailed: A loss is NaN or infinite.
    """
    known = (kept or KeptAnswers()).round(identity.encode() for identity in examples.ids)
    losses: dict[int, float] = dict(known.known)
    advance(len(losses), known.tokens)
    budget = min(read_at_once(model, batch_tokens), LOGIT_ELEMENTS // model.config.get_text_config().vocab_size)
    halving = halving_of(model, examples)

    def means(batch: Sequence[int]) -> list[float]:
        found = token_losses(model, [examples[index] for index in batch], fast=fast)
        return [float(each.mean()) for each in found]

    def run(own: Sequence[Sequence[int]]) -> Iterator[list[float]]:
        for batch in own:
            yield list(chain.from_iterable(halving.run(means, batch)))

    cut = micro_batches(examples.lengths, range(len(examples)), budget)
    for batch, values, _ in world().shared([batch for batch in cut if not known.has(batch)], run):
        found = dict(zip(batch, values, strict=True))
        for index, loss in found.items():
            if not math.isfinite(loss):
                example = examples[index]
                raise StageFailed(f"{name}: conversation {example.id} has the loss {loss}; check the weights")
        tokens = sum(len(examples[index]) for index in batch)
        known.keep(found, tokens)
        losses |= found
        advance(len(batch), tokens)
    return [losses[index] for index in range(len(examples))]


def heldout_losses(
    model: PreTrainedModel,
    examples: Examples,
    name: str,
    batch_tokens: TokenBudget,
    advance: Callable[[int, int], None] = lambda examples, tokens: None,
    kept: KeptAnswers | None = None,
    fast: bool = True,
) -> list[Outcome]:
    """The loss on a held-out split; see `mean_losses` and `loss_outcomes`, where `name` is that of the data set."""
    losses = mean_losses(model, examples, f"heldout/{name}", batch_tokens, advance, kept, fast)
    return loss_outcomes(examples, name, losses)


def loss_outcomes(examples: Examples, name: str, losses: Sequence[float]) -> list[Outcome]:
    """Mean losses of held-out conversations as outcomes.

    The weight of an outcome is its number of target tokens, so the weighted mean over outcomes is the loss per target
    token of the split.

    Args:
        examples: The conversations; of pairs, those with the chosen responses.
        name: Name of the data set; the task is `heldout/NAME`.
        losses: What `mean_losses` gave for them.
    """
    return [
        Outcome(f"heldout/{name}", example.id, "loss", loss, float(example.targets.sum()), example.group)
        for example, loss in zip(examples, losses, strict=True)
    ]


def halving_of(model: PreTrainedModel, examples: Sequence[Example]) -> Halving[int]:
    """How batches of examples, given by index, are run where memory is short; the longest of a batch is its first."""
    return Halving("held-out examples", lambda batch: len(batch) * len(examples[batch[0]]), partial(free, model.device))


def token_losses(model: PreTrainedModel, examples: Sequence[Example], *, fast: bool = True) -> Iterator[torch.Tensor]:
    """Loss of every target token of each example, in nats: float64 tensors on the CPU, in the order of `examples`."""
    if not fast:
        with torch.inference_mode():
            yield from (plain.token_losses(model, example).cpu().double() for example in examples)
        return
    batch = collate(examples)
    rows, columns = torch.nonzero(batch.targets, as_tuple=True)
    before = rows * batch.tokens.shape[1] + columns - 1
    with torch.inference_mode(), logits_at(model, before.to(model.device)):
        logits = model(input_ids=batch.tokens.to(model.device), use_cache=False).logits
    wanted = batch.tokens[rows, columns].to(model.device)
    losses = torch.cat(
        [
            cross_entropy(part if part.dtype == torch.float64 else part.float(), targets, reduction="none")
            for part, targets in zip(torch.split(logits, LOGIT_ROWS), torch.split(wanted, LOGIT_ROWS), strict=True)
        ]
    )
    yield from torch.split(losses.cpu().double(), batch.targets.sum(1).tolist())
