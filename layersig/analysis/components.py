"""Where the variance of module scores comes from: type, depth, single modules, data, sample of rows, seed, run."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from layersig.analysis.quantiles import chi2_quantile
from layersig.analysis.results import FloatArray, Interval

_LEAST_DF_FOR_INTERVAL = 3
_BLOCKS_PER_DF = 3.0
"""Neighbouring blocks are alike: mean squares over depth count a third of their blocks (autocorrelation up to .7)."""


@dataclass(frozen=True, slots=True)
class Component:
    """One variance component.

    Attributes:
        name: type, depth, type x depth; or data set, sample of rows, seed, run, scoring, which mean their interaction
            with modules.
        variance: Unbiased estimate; may be negative, which means "about zero".
        share: Variance over the sum of the non-negative components.
        df: Degrees of freedom at the level that was sampled: data sets - 1, not (data sets - 1) x modules, because the
            modules of one run are not independent; for depth and type x depth, a third of the blocks.
        interval: Interval of the variance, cut off at 0; None when df < 3.
    """

    name: str
    variance: float
    share: float
    df: int
    interval: Interval | None


@dataclass(frozen=True, slots=True)
class _MeanSquare:
    value: float
    df: float


@dataclass(frozen=True, slots=True)
class _Noise:
    """A source of noise.

    Attributes:
        all: Its mean square over all modules.
        parts: Those over each part of the grid.
        repeats: Scorings that share one draw of it.
    """

    all: _MeanSquare
    parts: Mapping[str, _MeanSquare]
    repeats: int


@dataclass(frozen=True, slots=True)
class _Term:
    """A mean square with its coefficient in the estimate of a component."""

    coefficient: float
    square: _MeanSquare

    @property
    def value(self) -> float:
        return self.coefficient * self.square.value


@dataclass(frozen=True, slots=True)
class _Parts:
    """A quantity on the block x type grid in the three parts that an analysis of variance keeps apart.

    Attributes:
        type: Sum of squares of the means of the types, and so on for the other two.
    """

    type: float
    depth: float
    module: float

    @property
    def total(self) -> float:
        return self.type + self.depth + self.module


def variance_components(fields: FloatArray, seeds_crossed: bool, level: float = 0.95) -> tuple[Component, ...]:
    """Variance components of scores on the block x type grid by the analysis of variance.

    Every run is centred and scaled to variance 1 first, so that a component is a share of the spread of a ranking.
    Noise of a run, a seed or a data set may itself be shared by the types of a block or by the blocks of a type. The
    errors of the depth and the type profile are therefore taken from the same parts of the noise, not from its average
    over modules: noise that moves whole blocks is not a common depth profile.

    Args:
        fields: Scores, shape (data sets, samples of rows, seeds, scorings, blocks, types). Seeds, blocks and types are
            2 or more, the others may be 1. A scoring is another draw of the scorer's own randomness on one training.
        seeds_crossed: Whether equal seed indices of different data sets and samples share a seed; then seed is a
            component.
        level: Coverage of the intervals.

    Returns:
        Components in the order type, depth, type x depth, data set, sample of rows, seed (when crossed), run, scoring.
        Those of which there is one are left out; without repeated scorings, run holds the noise of the scorer too.

    Raises:
        ValueError: The shape is wrong.

    Source:
        Searle, Casella and McCulloch 1992, Variance Components, chapter 4 (balanced data, expected mean squares);
        intervals by the modified large-sample method of Ting et al. 1990 (Burdick and Graybill 1992, chapter 3), which
        may hold 0, with the sampled level's degrees of freedom, which is conservative.
    """
    if fields.ndim != 6 or min(fields.shape) < 1 or min(fields.shape[2], *fields.shape[4:]) < 2:
        raise ValueError(
            "fields must have shape (data sets, samples, seeds >= 2, scorings, blocks >= 2, types >= 2), "
            f"got {fields.shape}"
        )
    n_data, n_samples, n_seeds, n_scorings, blocks, types = fields.shape
    cells = n_data * n_samples
    if seeds_crossed and cells < 2:
        raise ValueError("seeds can be crossed only with two or more data sets or samples")
    y = fields - fields.mean(axis=(-2, -1), keepdims=True)
    y = y / np.sqrt((y**2).mean(axis=(-2, -1), keepdims=True))
    trained = y.mean(axis=3)
    mean = trained.mean(axis=(0, 1, 2))
    of_cell, of_data = trained.mean(axis=2), trained.mean(axis=(1, 2))
    seed_part = trained.mean(axis=(0, 1)) - mean if seeds_crossed else np.zeros((n_seeds, blocks, types))
    run_part = trained - seed_part - of_cell[:, :, None]
    contrasts = _Parts(types - 1, blocks - 1, (blocks - 1) * (types - 1))
    over_depth = max(1.0, (blocks - 1) / _BLOCKS_PER_DF)
    independent = {"type": 1.0, "depth": over_depth, "module": over_depth * (types - 1)}

    def noise(part: FloatArray, repeats: int, df: int) -> _Noise:
        found = _sums_of_squares(part)
        return _Noise(
            _MeanSquare(repeats * found.total / (df * (blocks * types - 1)), df),
            {
                name: _MeanSquare(
                    repeats * getattr(found, name) / (df * getattr(contrasts, name)), df * independent[name]
                )
                for name in independent
            },
            repeats,
        )

    components = []

    def add(name: str, source: _Noise, beneath: _Noise | None = None) -> None:
        share = [_Term(1 / source.repeats, source.all)]
        taken = [] if beneath is None else [_Term(-1 / source.repeats, beneath.all)]
        components.append(_component(name, [*share, *taken], level))

    scoring = None
    if n_scorings > 1:
        scoring = noise(y - trained[:, :, :, None], 1, cells * n_seeds * (n_scorings - 1))
        add("scoring", scoring)
    run = noise(run_part, n_scorings, (cells - 1) * (n_seeds - 1) if seeds_crossed else cells * (n_seeds - 1))
    add("run", run, scoring)
    seed, nested = None, run
    if seeds_crossed:
        seed = noise(seed_part, cells * n_scorings, n_seeds - 1)
        add("seed", seed, run)
    if n_samples > 1:
        sample = noise(of_cell - of_data[:, None], n_seeds * n_scorings, n_data * (n_samples - 1))
        add("sample of rows", sample, run)
        nested = sample
    if n_data > 1:
        data = noise(of_data - mean, n_samples * n_seeds * n_scorings, n_data - 1)
        add("data set", data, nested)
        nested = data
    below = {name: [_Term(1.0, square)] for name, square in nested.parts.items()}
    if seed is not None:
        # Data and seeds both hold the noise of runs, which is counted once.
        for name, terms in below.items():
            terms += [_Term(1.0, seed.parts[name]), _Term(-1.0, run.parts[name])]
    runs = cells * n_seeds * n_scorings
    found = _sums_of_squares(mean)
    squares = {
        name: _Term(1.0, _MeanSquare(runs * getattr(found, name) / getattr(contrasts, name), df))
        for name, df in (("type", types - 1), ("depth", over_depth), ("module", independent["module"]))
    }
    over_noise = {name: [squares[name], *_scaled(below[name], -1.0)] for name in squares}
    components.append(_component("type x depth", list(_scaled(over_noise["module"], 1 / runs)), level))
    for name, width in (("depth", types), ("type", blocks)):
        terms = [*over_noise[name], *_scaled(over_noise["module"], -1.0)]
        components.append(_component(name, list(_scaled(terms, 1 / (runs * width))), level))
    total = sum(max(0.0, component.variance) for component in components)
    return tuple(replace(c, share=max(0.0, c.variance) / total) for c in reversed(components))


def _sums_of_squares(values: FloatArray) -> _Parts:
    """Over all leading axes; `values` has mean 0 on the grid of its last two axes, blocks and types."""
    blocks, types = values.shape[-2:]
    type_means, depth_means = values.mean(axis=-2), values.mean(axis=-1)
    of_type, of_depth = blocks * float((type_means**2).sum()), types * float((depth_means**2).sum())
    return _Parts(of_type, of_depth, float((values**2).sum()) - of_type - of_depth)


def _scaled(terms: Sequence[_Term], factor: float) -> Iterator[_Term]:
    return (_Term(factor * term.coefficient, term.square) for term in terms)


def _component(name: str, terms: list[_Term], level: float) -> Component:
    """A component whose first term is the mean square of the level that it varies at."""
    variance, df = sum(term.value for term in terms), terms[0].square.df
    interval = None
    if df >= _LEAST_DF_FOR_INTERVAL:
        down = up = 0.0
        for term in terms:
            low, high = (chi2_quantile(q, term.square.df) for q in ((1 - level) / 2, (1 + level) / 2))
            shrink, stretch = 1 - term.square.df / high, term.square.df / low - 1
            down += ((shrink if term.coefficient > 0 else stretch) * term.value) ** 2
            up += ((stretch if term.coefficient > 0 else shrink) * term.value) ** 2
        interval = Interval(max(0.0, variance - down**0.5), max(0.0, variance + up**0.5), level)
    return Component(name, variance, float("nan"), round(df), interval)
