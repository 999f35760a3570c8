"""What training one unit alone gains: the reference of every score that claims to foresee it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from statistics import fmean
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from layersig.errors import UserError
from layersig.plugin.components import Params as ComponentParams
from layersig.plugin.decorators import scorer
from layersig.records import EVERYTHING, UNTRAINED, ContributionForm

if TYPE_CHECKING:
    from layersig.layers import Layer
    from layersig.scoring.context import ScoringContext


@scorer("layer-contribution", needs={"model", "data"}, version=1)
class LayerContribution:
    """Fall of the validation loss when one unit alone is trained: L(base) - L(k), each unit in a training of its own.

    Divided by the fall when everything is trained it is the layer contribution C(k) = (S_k - S_base) / (S_full -
    S_base) of "Is one layer enough?" (arXiv 2607.01232; abstract and a detailed note read, no code found). Deviations:
    supervised tuning by the recipe's `[train]` in place of reinforcement learning, S is minus a loss, and all trainings
    have one learning rate, where the paper takes the best of four for the full one. The score is not divided, so that
    it ranks units also where the full training gains nothing. A unit without a gradient scores 0.

    The best of many noisy scores is too high. So half of the validation conversations, by whole groups, rank the units,
    and the other half is there to measure the chosen ones; the report has C with its Fieller set on both.
    """

    class Params(ComponentParams):
        """Parameters of `layer-contribution`."""

        steps: Annotated[int, Field(ge=1)] = 64
        """Optimizer steps of every training. Cost: `steps` x (units + 1) training steps."""
        validation: Annotated[float, Field(gt=0, lt=1)] = 0.2
        """Share of the training conversations, by whole groups, that no training sees and losses are measured on."""

    def score(self, context: ScoringContext) -> Mapping[str, float]:
        """Fall of the loss by unit, in nats per target token, a mean over groups of conversations."""
        trained, halves = _split(context)
        batches = context.optimizer_batches(context.params.steps, trained)
        layers: dict[str, Sequence[Layer]] = {group.name: group.members for group in context.groups}
        runs = {
            UNTRAINED: (),
            EVERYTHING: tuple(layer for group in context.groups for layer in group.members),
            **layers,
        }
        context.reporter.start("trainings", (len(runs) - 1) * len(batches), "step")
        found = {name: _measured(context, name, chosen, batches, halves) for name, chosen in runs.items()}
        context.trajectory.extend(dict(form) for form in found.values())
        base = fmean(found[UNTRAINED]["chosen_by"])
        return {name: base - fmean(found[name]["chosen_by"]) for name in context.layers}


_Halves = tuple[Mapping[str, Sequence[int]], Mapping[str, Sequence[int]]]
"""Examples by group, of the half that ranks and of the half that stays fresh."""


def _split(context: ScoringContext) -> tuple[list[int], _Halves]:
    """The examples to train on, and those to measure on.

    Raises:
        UserError: There are too few groups for both halves to tell how sure a mean over them is.
    """
    from layersig.data.split import validation_indices

    examples = context.examples
    kept = validation_indices(examples.groups, context.params.validation, context.root_seed)
    members: dict[str, list[int]] = {}
    for index in sorted(kept):
        members.setdefault(examples.groups[index], []).append(index)
    if len(members) < 4:
        raise UserError(
            f"{context.label}: validation = {context.params.validation:g} keeps {len(members)} groups of "
            "conversations, and two halves of two at least are needed; raise it, or give more data"
        )
    names = sorted(members)
    first, second = names[::2], names[1::2]
    trained = [index for index in range(len(examples)) if index not in kept]
    return trained, ({name: members[name] for name in first}, {name: members[name] for name in second})


def _measured(
    context: ScoringContext, name: str, layers: Sequence[Layer], batches: Sequence[Sequence[int]], halves: _Halves
) -> ContributionForm:
    """Losses after one training."""
    with context.tuned(layers, batches) if layers else nullcontext():
        ranked, fresh = (_losses(context, groups) for groups in halves)
    return ContributionForm(trained=name, chosen_by=ranked, fresh=fresh)


def _losses(context: ScoringContext, groups: Mapping[str, Sequence[int]]) -> list[float]:
    """Mean loss of the conversations of every group."""
    order = [index for members in groups.values() for index in members]
    losses: dict[int, float] = dict(zip(order, context.losses([(index,) for index in order]), strict=True))
    return [fmean(losses[index] for index in members) for members in groups.values()]
