"""Signal-to-noise ratio of each weight by its singular values: the layer scores of Spectrum, and corrected ones."""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import fmean
from typing import TYPE_CHECKING, Literal

from layersig import Params as ComponentParams
from layersig import scorer

if TYPE_CHECKING:
    from torch import Tensor

    from layersig.scoring.context import ScoringContext

__all__ = ["Spectrum", "median_of_noise", "threshold_of_noise"]

LAYERSIG_API = ">=1.0,<2"


@scorer("spectrum", needs={"weights"}, version=2)
class Spectrum:
    """Sum of the singular values above a noise level, over the sum of those below.

    `released` is Spectrum (Hartford et al., arXiv 2406.06623; its code was read). Of singular values S of a matrix,
    shortest side over longest beta: sigma = IQR(S) / 1.349, threshold sigma (1 + sqrt(beta)), and the ratio is
    divided by the largest singular value; an empty noise part counts as 1. Two faults are kept: W -> 10 W divides the
    score by 10, and the threshold, in which the size of the matrix is missing, lies below most singular values of an
    elongated one, or below all, so that pure noise scores high.

    `marchenko-pastur` corrects both. The threshold is that of Gavish and Donoho (arXiv 1305.5870, equations 4 and 11,
    from memory, checked against their table of constants) for noise of unknown level, lambda(beta) / sqrt(mu(beta))
    times the median of S, with mu the median of the Marchenko-Pastur law; and nothing is divided by the largest value.
    Noise then scores 0, at any scale. It counts as no less than what rounds the largest value, so a weight of a few
    directions and nothing else scores high, not as one without signal.

    The paper ranks within module types: take the policy `quota`. A unit of several layers, or of experts, has the mean
    of their scores. Weights are read one at a time; the model is not loaded.
    """

    class Params(ComponentParams):
        """Parameters of `spectrum`."""

        variant: Literal["marchenko-pastur", "released"] = "marchenko-pastur"
        """The corrected ratio, or that of Spectrum's code."""

    def score(self, context: ScoringContext) -> Mapping[str, float]:
        """Ratio of every unit."""
        ratio = {"released": _released, "marchenko-pastur": _corrected}[context.params.variant]
        context.reporter.start("singular values", len(context.layers), "layer")
        scores = {}
        for group in context.groups:
            found = [ratio(values, layer.shape) for layer in group.members for values in _spectra(context, layer.name)]
            scores[group.name] = fmean(found)
            context.reporter.advance(1)
        return scores


def threshold_of_noise(beta: float) -> float:
    """The singular value above which signal is kept, in units of the median one, for matrices with sides beta : 1."""
    root = math.sqrt(beta**2 + 14 * beta + 1)
    return math.sqrt((2 * (beta + 1) + 8 * beta / (beta + 1 + root)) / median_of_noise(beta))


def median_of_noise(beta: float, points: int = 20_000) -> float:
    """Median of the Marchenko-Pastur law, whose density is sqrt((b - x) (x - a)) / (2 pi beta x) from a to b.

    Args:
        beta: Shorter side over longer side, above 0 and at most 1; a, b = (1 -+ sqrt(beta))^2.
        points: Of the midpoint rule.
    """
    centre, radius = 1 + beta, 2 * math.sqrt(beta)
    step, mass, angle = math.pi / points, 0.0, 0.0
    # x = centre - radius cos(angle) turns the density into a smooth function of the angle.
    while mass < 0.5:
        angle += step
        middle = angle - step / 2
        last = radius**2 * math.sin(middle) ** 2 / (2 * math.pi * beta * (centre - radius * math.cos(middle))) * step
        mass += last
    return centre - radius * math.cos(angle - step * (mass - 0.5) / last)


def _spectra(context: ScoringContext, layer: str) -> list[Tensor]:
    """Singular values of a weight, or of each of its experts, the largest first; float32 or wider."""
    import torch

    weight = context.weight(layer)
    values = torch.linalg.svdvals(weight.to(torch.promote_types(weight.dtype, torch.float32)))
    return list(values.reshape(-1, values.shape[-1]))


def _beta(shape: tuple[int, ...]) -> float:
    return min(shape[-2:]) / max(shape[-2:])


def _released(values: Tensor, shape: tuple[int, ...]) -> float:
    import torch

    quartiles = torch.quantile(values, torch.tensor([0.25, 0.75], dtype=values.dtype))
    sigma = float(quartiles[1] - quartiles[0]) / 1.349
    signal, noise = _sums(values, sigma * (1 + math.sqrt(_beta(shape))))
    largest = float(values[0])
    return signal / (noise or 1.0) / largest if largest else 0.0


def _corrected(values: Tensor, shape: tuple[int, ...]) -> float:
    import torch

    signal, noise = _sums(values, threshold_of_noise(_beta(shape)) * float(values.quantile(0.5)))
    # Where most values are 0 so is the threshold, and nothing is left below it.
    rounding = float(values[0]) * torch.finfo(values.dtype).eps
    return signal / max(noise, rounding) if signal else 0.0


def _sums(values: Tensor, threshold: float) -> tuple[float, float]:
    above = values > threshold
    return float(values[above].sum()), float(values[~above].sum())
