"""Held-out pairs: how far a model prefers the chosen responses, by the margin of an objective."""

from __future__ import annotations

from collections.abc import Callable
from statistics import fmean
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from layersig.data.examples import Examples
from layersig.data.pairs import Pairs
from layersig.evaluating.heldout import loss_outcomes, mean_losses
from layersig.evaluating.kept import KeptAnswers
from layersig.objectives import PairObjective
from layersig.recipe.schema import AUTO_BATCH_ON_CPU, TokenBudget
from layersig.records import Outcome

LOSS, MARGIN, ACCURACY = "preference_loss", "preference_margin", "preference_accuracy"
"""Metrics of a pair: the loss of the objective, its margin, and whether the margin is positive (1/2 where it is 0)."""


def log_probabilities(
    model: PreTrainedModel,
    sequences: Examples,
    name: str,
    batch_tokens: TokenBudget,
    advance: Callable[[int, int], None],
    kept: KeptAnswers,
    fast: bool,
) -> NDArray[np.float64]:
    """Log-probabilities of the responses of pairs, in nats, [pairs, 2].

    Equal sequences in batches of equal size give equal bytes, so that the untouched model has margins of exactly 0
    against itself. The free memory of the device therefore decides nothing here.

    Args:
        model: In eval mode.
        sequences: Of all pairs, in the order of `Pairs.sequences`.
        name: What they are called where a loss is not finite.
        batch_tokens: Padded tokens that go through the model at once; "auto" stands for the same number everywhere.
        advance: Called with sequences and real tokens done.
        kept: Where losses are kept as they come.
        fast: Whether sequences are batched.
    """
    budget = AUTO_BATCH_ON_CPU if batch_tokens == "auto" else batch_tokens
    losses = mean_losses(model, sequences, name, budget, advance, kept, fast)
    totals: NDArray[np.float64] = np.array(losses, np.float64) * sequences.target_counts
    return -totals.reshape(-1, 2)


def preference_outcomes(
    pairs: Pairs, objective: PairObjective, params: Any, name: str, found: NDArray[np.float64]
) -> list[Outcome]:
    """What a model does on held-out pairs: loss, margin and accuracy of the preference, and the usual held-out loss.

    Args:
        pairs: The held-out side.
        objective: The objective that they are measured by.
        params: Its parameters.
        name: Name of the data set; the task is `heldout/NAME`.
        found: What `log_probabilities` gave.
    """
    margin = objective.margin(params, pairs.scored(range(len(pairs)), torch.from_numpy(found)))
    values = {
        LOSS: objective.loss(params, margin),
        MARGIN: margin,
        ACCURACY: (margin > 0) + 0.5 * (margin == 0),
    }
    outcomes = [
        Outcome(f"heldout/{name}", example.id, metric, value, 1.0, example.group)
        for metric, each in values.items()
        for example, value in zip(pairs.chosen, each.tolist(), strict=True)
    ]
    return outcomes + loss_outcomes(pairs.chosen, name, (-found[:, 0] / pairs.chosen.target_counts).tolist())


def preference_summary(outcomes: list[Outcome]) -> dict[str, Any]:
    """Means of the preference metrics, for `results.json`; nothing where no pairs were measured."""
    values = {metric: [each.value for each in outcomes if each.metric == metric] for metric in (LOSS, MARGIN, ACCURACY)}
    if not values[LOSS]:
        return {}
    means: dict[str, Any] = {metric: fmean(each) for metric, each in values.items()}
    return means | {"higher_is_better": {LOSS: False, MARGIN: True, ACCURACY: True}}
