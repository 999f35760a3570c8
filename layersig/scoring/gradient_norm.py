"""Gradient norm: how steeply the loss falls with each layer's weights, at the pretrained model."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from itertools import chain
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from layersig.errors import UserError
from layersig.plugin.components import Params as ComponentParams
from layersig.plugin.decorators import scorer

if TYPE_CHECKING:
    from torch import Tensor

    from layersig.scoring.context import ScoringContext


@scorer("gradient-norm", needs={"model", "data", "gradients"}, version=3)
class GradientNorm:
    """Frobenius norm of the gradient of the training loss, averaged over batches.

    The norm is taken for each optimizer batch and then averaged. Divided by the norm of the weights it is the relative
    gradient norm of surgical fine-tuning (Lee et al., arXiv 2210.11466, section 5). A unit of several layers counts as
    one long vector.

    With `layers.unit = "block"`, `reduce = "sum"`, `tensors = "all"`, `per_example` and `prompts` it is the score of
    Aletheia (arXiv 2604.15351; its code was read), which counts the tokens of prompts and padding and has five
    examples; padding never counts here, and the mean over examples replaces their sum, which ranks alike.
    """

    class Params(ComponentParams):
        """Parameters of `gradient-norm`."""

        later = frozenset({"reduce", "tensors", "per_example", "prompts"})

        batches: Annotated[int, Field(ge=1)] = 16
        """Optimizer batches to average over: one forward and backward pass each."""
        relative: bool = False
        """Divide by the Frobenius norm of the unit's pretrained weights."""
        reduce: Literal["norm", "sum"] = "norm"
        """The norm of all of a unit's gradients together, or the sum of the norms of its tensors, which favours units
        of many tensors."""
        tensors: Literal["layers", "all"] = "layers"
        """The weights of layers, or all parameters of a block, norms and biases included."""
        per_example: bool = False
        """Take the norm for every example of the batches, and not for the batch, in which gradients cancel."""
        prompts: bool = False
        """Count the tokens of prompts in the loss too."""

    def score(self, context: ScoringContext) -> Mapping[str, float]:
        """Mean norm of every unit."""
        params = context.params
        batches = list(context.optimizer_batches(params.batches))
        if params.per_example:
            batches = [(index,) for index in chain(*batches)]
        others = _others(context) if params.tensors == "all" else {}
        unit_of = {**context.unit_of, **{name: unit for unit, named in others.items() for name in named}}
        power = 2 if params.reduce == "norm" else 1
        totals: dict[str, list[float]] = defaultdict(lambda: [0.0] * len(batches))
        found = context.gradient_values(
            batches,
            lambda _, __, gradient: _norm(gradient) ** power,
            others={name: value for named in others.values() for name, value in named.items()},
        )
        for batch, values in enumerate(found):
            for name, value in values.items():
                totals[unit_of[name]][batch] += value
        norms = {name: sum(value ** (1 / power) for value in totals[name]) / len(batches) for name in context.layers}
        if not params.relative:
            return norms
        return {name: context.beside_weight(name, norm) for name, norm in norms.items()}


def _others(context: ScoringContext) -> dict[str, dict[str, Tensor]]:
    """Parameters of every block that are no weights of layers, by block and name.

    Raises:
        UserError: Units are no blocks.
    """
    from layersig.models.layermap import weight_name

    if any(group.kind != "block" for group in context.groups):
        raise UserError(
            f'{context.label}: tensors = "all" counts norms and biases, which belong to blocks; set '
            'layers.unit = "block" and leave `layers.head` out'
        )
    weights = {weight_name(layer) for group in context.groups for layer in group.members}
    parameters = [(name, value) for name, value in context.model.named_parameters() if name not in weights]
    return {
        group.name: {name: value for name, value in parameters if name.startswith(f"{group.name}.")}
        for group in context.groups
    }


def _norm(values: Tensor) -> float:
    import torch

    # Accumulated in float32 or wider: a sum of squares overflows or vanishes in half precision.
    return float(torch.linalg.vector_norm(values, dtype=torch.promote_types(values.dtype, torch.float32)))
