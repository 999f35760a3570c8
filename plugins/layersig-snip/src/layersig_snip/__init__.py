"""Scores from the gradient of every weight: sensitivity (SNIP), Taylor importance, accumulated gradients (GMT)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from layersig import Params as ComponentParams
from layersig import scorer

if TYPE_CHECKING:
    from torch import Tensor

    from layersig.scoring.context import ScoringContext

__all__ = ["Gmt", "Snip", "Taylor"]

LAYERSIG_API = ">=1.0,<2"


@scorer("snip", needs={"model", "data", "gradients"}, version=2)
class Snip:
    """Connection sensitivity of each unit's weights: |g W| / sum of |g W| over the whole model, summed or averaged.

    SNIP (Lee et al., arXiv 1810.02340, section 4.1). Deviations: the paper scores single weights, on one mini-batch and
    at initialisation; here weights are pretrained, a unit's score is the sum or the mean over its weights, and with
    several batches |g W| is averaged over them.
    """

    class Params(ComponentParams):
        """Parameters of `snip`."""

        batches: Annotated[int, Field(ge=1)] = 8
        """Optimizer batches to average over: one forward and backward pass each."""
        reduce: Literal["sum", "mean"] = "sum"
        """`sum` favours large units, `mean` dense ones."""

    def score(self, context: ScoringContext) -> Mapping[str, float]:
        """Share of every unit in the sensitivity of the model; of `mean`, over the number of its weights."""

        def value(_: int, layer: str, gradient: Tensor) -> float:
            return _sum(gradient * context.weight(layer))

        totals: dict[str, float] = defaultdict(float)
        for found in context.gradient_values(context.optimizer_batches(context.params.batches), value):
            for layer, sensitivity in found.items():
                totals[context.unit_of[layer]] += sensitivity
        whole = sum(totals.values()) or 1.0
        sizes = {group.name: group.parameters if context.params.reduce == "mean" else 1 for group in context.groups}
        return {name: totals[name] / whole / sizes[name] for name in context.layers}


@scorer("taylor", needs={"model", "data", "gradients"}, version=2)
class Taylor:
    """First-order Taylor importance of each unit's weights: (sum of g W)^2 of the unit, or sum of (g W)^2.

    Molchanov et al. (arXiv 1906.10771, equations 8 and 5): the squared change of the loss, to first order, when the
    weights become 0. `group` takes them away together, so that contributions of opposite sign cancel; `single` one at
    a time. Averaged over batches, as the paper averages over mini-batches. Deviation: a unit is a layer or several,
    not a filter.
    """

    class Params(ComponentParams):
        """Parameters of `taylor`."""

        batches: Annotated[int, Field(ge=1)] = 8
        """Optimizer batches to average over: one forward and backward pass each."""
        removed: Literal["group", "single"] = "group"
        """Whether the weights of a unit are taken away together or one at a time."""

    def score(self, context: ScoringContext) -> Mapping[str, float]:
        """Mean squared first-order change of the loss, by unit."""
        import torch

        count, together = context.params.batches, context.params.removed == "group"

        def value(_: int, layer: str, gradient: Tensor) -> float:
            product = (gradient * context.weight(layer)).to(torch.promote_types(gradient.dtype, torch.float32))
            return float(product.sum() if together else product.square().sum())

        totals: dict[str, list[float]] = defaultdict(lambda: [0.0] * count)
        for batch, found in enumerate(context.gradient_values(context.optimizer_batches(count), value)):
            for layer, slope in found.items():
                totals[context.unit_of[layer]][batch] += slope
        power = 2 if together else 1
        return {name: sum(value**power for value in totals[name]) / count for name in context.layers}


@scorer("gmt", needs={"model", "data", "gradients"}, version=2)
class Gmt:
    """Mean |Gamma| over each unit's weights, with Gamma a gradient accumulated over a window of batches.

    Gradient-mask tuning (arXiv 2406.15330) updates the single weights whose |Gamma| is largest. Deviations: units are
    ranked instead of weights, at the pretrained model, averaged over windows; and a window's gradient is that of all
    its target tokens, so that a batch counts by how many it has. A gradient of every layer is in memory at once.
    """

    class Params(ComponentParams):
        """Parameters of `gmt`."""

        window: Annotated[int, Field(ge=1)] = 4
        """Optimizer batches in an accumulated gradient; opposite gradients cancel within it, not between windows."""
        windows: Annotated[int, Field(ge=1)] = 4
        """Windows to average over. Cost: `window` x `windows` forward and backward passes."""

    def score(self, context: ScoringContext) -> Mapping[str, float]:
        """Mean absolute accumulated gradient of every unit."""
        params: Gmt.Params = context.params
        batches = context.optimizer_batches(params.window * params.windows)
        totals: dict[str, float] = defaultdict(float)
        for found in context.gradient_values(_joined(batches, params.window), lambda _, __, gradient: _sum(gradient)):
            for layer, value in found.items():
                totals[context.unit_of[layer]] += value / params.windows
        return {group.name: totals[group.name] / group.parameters for group in context.groups}


def _joined(batches: Sequence[tuple[int, ...]], window: int) -> list[tuple[int, ...]]:
    """Each `window` batches as one."""
    return [tuple(chain(*batches[start : start + window])) for start in range(0, len(batches), window)]


def _sum(values: Tensor) -> float:
    """Sum of absolute values, in float32 or wider."""
    import torch

    return float(torch.linalg.vector_norm(values, 1, dtype=torch.promote_types(values.dtype, torch.float32)))
