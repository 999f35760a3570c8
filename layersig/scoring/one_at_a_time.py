"""The loss when a single layer's update is taken away, or put in alone: the exact references of cheaper scorers.

Nothing is trained, and on the batches that are looked at nothing is approximated. Cost: a forward pass over them for
every unit, and one more. What one layer changes may be less than what bfloat16 rounds away (a loss moves by up to half
a percent), so a warning asks for float32.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from layersig.errors import UserError
from layersig.plugin.components import Params as ComponentParams
from layersig.plugin.decorators import scorer

if TYPE_CHECKING:
    from layersig.scoring.context import ScoringContext


class _Params(ComponentParams):
    later = frozenset({"skip"})

    batches: Annotated[int, Field(ge=1)] = 2
    """Optimizer batches, the same for every unit. Cost: `batches` x (units + 1) forward passes."""
    skip: Annotated[int, Field(ge=0)] = 0
    """Optimizer batches to pass over first, in the order that the reference training takes them too: as many as it has
    steps leave conversations that it has not seen."""


@scorer("leave-one-out", needs={"model", "data", "update"}, version=1)
class LeaveOneOut:
    """How much the loss rises when one unit loses its update: L(theta_0 + Delta - Delta_i) - L(theta_0 + Delta).

    Single ablation of the update, not of the layer: the pretrained weight stays. Two layers whose updates do the same
    thing both score low.
    """

    Params = _Params

    def score(self, context: ScoringContext) -> Mapping[str, float]:
        """Rise of the loss without each unit's update, in nats per target token."""
        return _changes(context, 1.0)


@scorer("add-one-in", needs={"model", "data", "update"}, version=1)
class AddOneIn:
    """How much the loss falls when one unit alone gets its update: L(theta_0) - L(theta_0 + Delta_i).

    An update that works only together with others scores low.
    """

    Params = _Params

    def score(self, context: ScoringContext) -> Mapping[str, float]:
        """Fall of the loss with each unit's update alone, in nats per target token."""
        return {name: -change for name, change in _changes(context, 0.0).items()}


def _changes(context: ScoringContext, start: float) -> dict[str, float]:
    """Change of the loss when one gate goes from `start` to 1 - `start`, all others staying at `start`."""
    import torch

    dtype = torch.promote_types(context.model.dtype, torch.float32)
    if context.model.dtype != dtype:
        context.reporter.warn(
            f"one layer's share of the loss may be less than {context.model.dtype} rounds away; set "
            'model.dtype = "float32" for an exact reference'
        )
    gates = torch.full((len(context.layers),), start, dtype=dtype, device=context.device)
    batches = _batches(context)
    changes: dict[str, float] = {}
    context.reporter.start("one at a time", len(gates), "layer")
    with context.gated(lambda: gates):
        origin = fmean(context.losses(batches))
        for place, name in enumerate(context.layers):
            gates[place] = 1 - start
            changes[name] = fmean(context.losses(batches)) - origin
            gates[place] = start
            context.reporter.advance(1)
    return changes


def _batches(context: ScoringContext) -> Sequence[tuple[int, ...]]:
    """The batches behind those that are passed over, which hold other conversations than these."""
    skip, count = context.params.skip, context.params.batches
    wanted, there = (skip + count) * context.train_settings.batch_size, len(context.examples)
    if skip and wanted > there:
        raise UserError(
            f"{context.label}: skip = {skip} and batches = {count} take {wanted} conversations; {there} are there to "
            "train on, so some would come twice"
        )
    return context.optimizer_batches(skip + count)[skip:]
