"""Where the variance of module scores comes from: type, depth, single modules, data set, seed, run."""

from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from layersig.analysis.results import FloatArray, Interval

_LEAST_DF_FOR_INTERVAL = 3


@dataclass(frozen=True, slots=True)
class Component:
    """One variance component.

    Attributes:
        name: type, depth, type x depth, data set, seed or run; the last three mean their interaction with modules.
        variance: Unbiased estimate; may be negative, which means "about zero".
        share: Variance over the sum of the non-negative components.
        df: Degrees of freedom at the level that was sampled: data sets - 1, not (data sets - 1) x modules, because the
            modules of one run are not independent.
        interval: 95 % interval of the variance; None when df < 3, when the estimate is not positive, or when its
            effective degrees of freedom are below 1.
    """

    name: str
    variance: float
    share: float
    df: int
    interval: Interval | None


@dataclass(frozen=True, slots=True)
class _MeanSquare:
    value: float
    df: int


def variance_components(fields: FloatArray, seeds_crossed: bool) -> tuple[Component, ...]:
    """Variance components of scores on the block x type grid by the analysis of variance.

    Every run is centred and scaled to variance 1 first, so that a component is a share of the spread of a ranking.

    Args:
        fields: Scores, shape (data sets, seeds, blocks, types), each length at least 2 (data sets may be 1).
        seeds_crossed: Whether equal seed indices of different data sets share a seed; then seed is a component.

    Returns:
        Components in the order type, depth, type x depth, data set, seed (when crossed), run. Data set is left out with
        one data set.

    Raises:
        ValueError: The shape is wrong.

    Source:
        Searle, Casella and McCulloch 1992, Variance Components, chapter 4 (balanced data, expected mean squares);
        intervals by Satterthwaite 1946 with the sampled level's degrees of freedom, which is conservative.
    """
    if fields.ndim != 4 or min(fields.shape[1:]) < 2:
        raise ValueError(f"fields must have shape (data sets, seeds >= 2, blocks >= 2, types >= 2), got {fields.shape}")
    n_data, n_seeds, blocks, types = fields.shape
    if seeds_crossed and n_data < 2:
        raise ValueError("seeds can be crossed only with two or more data sets")
    runs = n_data * n_seeds
    y = fields - fields.mean(axis=(2, 3), keepdims=True)
    y = y / np.sqrt((y**2).mean(axis=(2, 3), keepdims=True))
    modules = blocks * types - 1
    mean = y.mean(axis=(0, 1))
    type_part, depth_part = mean.mean(axis=0), mean.mean(axis=1)
    module_part = mean - type_part - depth_part[:, None]
    data_part = y.mean(axis=1) - mean
    seed_part = y.mean(axis=0) - mean if seeds_crossed else np.zeros((n_seeds, blocks, types))
    run_part = y - mean - data_part[:, None] - seed_part

    run_df = (n_data - 1) * (n_seeds - 1) if seeds_crossed else n_data * (n_seeds - 1)
    run = _MeanSquare(float((run_part**2).sum()) / (run_df * modules), run_df)
    module_df = (blocks - 1) * (types - 1)
    module = _MeanSquare(float((module_part**2).sum()) * runs / module_df, module_df)
    depth = _MeanSquare(float((depth_part**2).sum()) * runs * types / (blocks - 1), blocks - 1)
    kind = _MeanSquare(float((type_part**2).sum()) * runs * blocks / (types - 1), types - 1)
    components = [_component("run", [run], [], 1)]
    below, back = [run], []
    if seeds_crossed:
        seed = _MeanSquare(float((seed_part**2).sum()) * n_data / ((n_seeds - 1) * modules), n_seeds - 1)
        components.append(_component("seed", [seed], [run], n_data))
        below, back = [seed], [run]
    if n_data > 1:
        data = _MeanSquare(float((data_part**2).sum()) * n_seeds / ((n_data - 1) * modules), n_data - 1)
        components.append(_component("data set", [data], [run], n_seeds))
        below = [data, seed] if seeds_crossed else [data]
    components.append(_component("type x depth", [module, *back], below, runs))
    components.append(_component("depth", [depth], [module], runs * types))
    components.append(_component("type", [kind], [module], runs * blocks))
    total = sum(max(0.0, component.variance) for component in components)
    return tuple(replace(c, share=max(0.0, c.variance) / total) for c in reversed(components))


def _component(name: str, plus: list[_MeanSquare], minus: list[_MeanSquare], divisor: int) -> Component:
    variance = (sum(ms.value for ms in plus) - sum(ms.value for ms in minus)) / divisor
    interval = None
    if plus[0].df >= _LEAST_DF_FOR_INTERVAL and variance > 0:
        df = variance**2 / sum((ms.value / divisor) ** 2 / ms.df for ms in [*plus, *minus])
        if df >= 1:
            low, high = (variance * df / float(stats.chi2.ppf(q, df)) for q in (0.975, 0.025))
            interval = Interval(low, high, 0.95)
    return Component(name, variance, float("nan"), plus[0].df, interval)
