"""What scorers of blocks are computed on, kept apart from what arms are evaluated on unless a recipe says otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from layersig.errors import UserError
from layersig.plugin.components import Params
from layersig.recipe.schema import Task

if TYPE_CHECKING:
    from layersig.scoring.context import ScoringContext


class SelectionParams(Params):
    """On which conversations a scorer of blocks is computed."""

    batches: Annotated[int, Field(ge=1)] = 16
    """Optimizer batches of training data to read, each example once."""
    leak: bool = False
    """Compute scores on the held-out conversations, on which arms are evaluated too. Only to reproduce studies that did
    so: the report marks every arm that reads such scores."""


class TaskParams(SelectionParams):
    """On which conversations or tasks a scorer of blocks is computed."""

    tasks: tuple[Task, ...] = ()
    """Selection tasks, instead of training data: entries as in `evaluate.tasks`. Their items are drawn from those that
    `evaluate.tasks` does not show; with `leak`, from those that it does."""


def drawn(context: ScoringContext) -> tuple[int, ...]:
    """The examples that a scorer of blocks reads, each once."""
    return context.draw(context.params.batches * context.train_settings.batch_size)


def blocks_only(context: ScoringContext) -> tuple[str, ...]:
    """Names of the units to score, all of them blocks.

    Raises:
        UserError: The output head counts as a layer.
    """
    if any(group.block is None for group in context.groups):
        raise UserError("this scorer scores blocks alone, and the output head is none; leave `layers.head` out")
    return context.layers
