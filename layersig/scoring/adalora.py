"""AdaLoRA's importance of the directions of each layer's update."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from layersig.plugin.components import Params as ComponentParams
from layersig.plugin.decorators import scorer
from layersig.training.footprint import portions

if TYPE_CHECKING:
    from torch import Tensor

    from layersig.models.updates import Delta
    from layersig.scoring.context import ScoringContext

_SMOOTHED = ("sensitivity", "uncertainty")


@scorer("adalora-sensitivity", needs={"model", "data", "update", "gradients"}, version=4)
class AdaLoraSensitivity:
    """How sensitive the loss is to a unit's update, by the importance with which AdaLoRA hands out ranks.

    AdaLoRA (Zhang et al., arXiv 2303.10512, section 3.2), with the update as Delta = P diag(lambda) Q: the sensitivity
    of an entry p is I = |p dL/dp|, smoothed over batches, I' <- b1 I' + (1 - b1) I; its uncertainty is
    U <- b2 U + (1 - b2) |I - I'|; its score is s = I' U; triplet i has S_i = s(lambda_i) + mean_j s(P_ji) +
    mean_j s(Q_ij). Deviations: the paper smooths over the steps of a training that learns P, lambda and Q, here they
    are the singular value decomposition of a finished update and stay still; and the paper cuts ranks by S_i, here a
    unit has the sum of all of them. One batch has no uncertainty to speak of: take several.
    """

    class Params(ComponentParams):
        """Parameters of `adalora-sensitivity`."""

        batches: Annotated[int, Field(ge=2)] = 16
        """Optimizer batches to smooth over: one forward and backward pass each."""
        beta1: Annotated[float, Field(gt=0, lt=1)] = 0.85
        """Smoothing of the sensitivity (paper)."""
        beta2: Annotated[float, Field(gt=0, lt=1)] = 0.85
        """Smoothing of the uncertainty (paper)."""

    def score(self, context: ScoringContext) -> Mapping[str, float]:
        """Importance of every unit."""
        import torch

        params: AdaLoraSensitivity.Params = context.params
        batches = context.optimizer_batches(params.batches)
        ones = torch.ones(len(context.layers), dtype=torch.float32, device=context.device)
        scores = dict.fromkeys(context.layers, 0.0)
        with context.gated(lambda: ones):
            # What low-rank updates need is small. Of a dense update it is several times its own bytes, and the batches
            # are gone through for some layers at a time.
            for group in map(dict, portions(self._entries(context), lambda entry: entry[1].nbytes)):
                self._visit(context, batches, group)
                for layer, entries in group.items():
                    scores[context.unit_of[layer]] += entries.total()
        return scores

    def _entries(self, context: ScoringContext) -> Iterator[tuple[str, _Smoothed]]:
        """Every layer with its triplets."""
        params: AdaLoraSensitivity.Params = context.params
        for layer in context.unit_of:
            delta = context.update.delta(layer).near(context.device)
            yield layer, _Smoothed(params.beta1, params.beta2, triplets_of(delta))

    def _visit(
        self, context: ScoringContext, batches: Sequence[tuple[int, ...]], group: Mapping[str, _Smoothed]
    ) -> None:
        from layersig.models.devices import wide

        def products(_: int, layer: str, gradient: Tensor) -> tuple[Tensor, ...]:
            exact = wide(gradient)
            p, values, q = (each.to(exact.device) for each in group[layer].triplets)
            along_q, along_p = exact @ q.mT, p.mT @ exact
            slopes = (along_q * values.unsqueeze(-2), (along_q * p).sum(-2), along_p * values.unsqueeze(-1))
            return tuple(each * slope for each, slope in zip((p, values, q), slopes, strict=True))

        def visit(_: int, layer: str, found: tuple[Tensor, ...]) -> None:
            group[layer].add(*found)

        context.visit_parts(batches, products, visit, layers=group, memory=_Group(group))


def triplets_of(delta: Delta) -> tuple[Tensor, Tensor, Tensor]:
    """P (..., out, r), lambda (..., r) and Q (..., r, in) of a change in float64; of factors, from r x r matrices.

    Those of a dense change D come from the eigenvectors of D D' or D' D, whichever is smaller. A lambda below 1e-8 of
    the largest is lost in the rounding of their eigenvalues, and is 0: what a triplet adds to the score falls with
    lambda^2.
    """
    import torch

    from layersig.models.devices import wide

    b = wide(delta.b)
    if delta.a is None:
        if b.shape[-2] > b.shape[-1]:
            q, values, p = _from_gram(b.mT)
            return p.mT, delta.scale * values, q.mT
        p, values, q = _from_gram(b)
        return p, delta.scale * values, q
    left, right = torch.linalg.qr(b), torch.linalg.qr(wide(delta.a).mT)
    p, values, q = torch.linalg.svd(left.R @ right.R.mT)
    return left.Q @ p, delta.scale * values, q @ right.Q.mT


def _from_gram(b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The triplets of a matrix that is at least as wide as high."""
    import torch

    squares, p = torch.linalg.eigh(b @ b.mT)
    least = torch.finfo(b.dtype).eps * squares[..., -1:]
    values = torch.where(squares > least, squares.clamp(min=0).sqrt(), 0.0)
    return p, values, (p.mT @ b) * torch.where(values > 0, 1 / values, 0.0).unsqueeze(-1)


class _Group:
    """What the passes over the batches have added up by now, for layers that are visited together."""

    def __init__(self, group: Mapping[str, _Smoothed]) -> None:
        self._group = group

    def state(self) -> dict[str, Tensor]:
        """Sensitivities and uncertainties by name."""
        return {
            f"{layer}/{name}/{place}": value
            for layer, entries in self._group.items()
            for name in _SMOOTHED
            for place, value in enumerate(getattr(entries, name))
        }

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Put back what `state` gave."""
        for layer, entries in self._group.items():
            for name in _SMOOTHED:
                places = range(len(entries.triplets))
                setattr(entries, name, tuple(state[f"{layer}/{name}/{place}"] for place in places))


@dataclass(slots=True)
class _Smoothed:
    """Sensitivity and uncertainty of the entries of P, lambda and Q of one layer."""

    beta1: float
    beta2: float
    triplets: tuple[Tensor, ...]
    sensitivity: tuple[Tensor, ...] = ()
    uncertainty: tuple[Tensor, ...] = ()

    @property
    def nbytes(self) -> int:
        """Bytes of the triplets, and of what is made and kept of each of their entries."""
        return 4 * sum(each.nbytes for each in self.triplets)

    def add(self, *products: Tensor) -> None:
        """Take in p dL/dp of one batch."""
        fresh = tuple(each.abs() for each in products)
        old = self.sensitivity or tuple(each.new_zeros(each.shape) for each in fresh)
        self.sensitivity = tuple(self.beta1 * was + (1 - self.beta1) * now for was, now in zip(old, fresh, strict=True))
        swings = [(now - mean).abs() for now, mean in zip(fresh, self.sensitivity, strict=True)]
        doubt = self.uncertainty or tuple(each.new_zeros(each.shape) for each in fresh)
        self.uncertainty = tuple(
            self.beta2 * was + (1 - self.beta2) * swing for was, swing in zip(doubt, swings, strict=True)
        )

    def total(self) -> float:
        """Sum of the importance of all triplets."""
        p, values, q = (i * u for i, u in zip(self.sensitivity, self.uncertainty, strict=True))
        return float((values + p.mean(-2) + q.mean(-1)).sum())
