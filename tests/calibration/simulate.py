"""Generators of rankings and of score tables with a known truth."""

from dataclasses import dataclass

import numpy as np

from layersig.analysis.modulegrid import ModuleGrid, module_grid
from layersig.analysis.results import FloatArray
from layersig.analysis.twoway import MeanSquares

BLOCKS, TYPES = 30, 7
N_MODULES = BLOCKS * TYPES
K = 63  # 30 % of 210 modules


def decoder_grid() -> ModuleGrid:
    return module_grid(np.tile(np.arange(TYPES), BLOCKS), np.repeat(np.arange(BLOCKS), TYPES))


@dataclass(frozen=True, slots=True)
class Depth:
    """How a score field depends on depth: lag-one autocorrelation, share of variance common to the types of a block."""

    lag_one: float
    block: float


DEPTHS = tuple(Depth(lag_one, block) for block in (0.0, 0.3) for lag_one in (0.0, 0.3, 0.5, 0.7))


def score_fields(rng: np.random.Generator, shape: tuple[int, ...], depth: Depth) -> FloatArray:
    """Gaussian fields of variance 1, shape (*shape, 210), autoregressive over depth, correlated inside a block."""
    lags = np.abs(np.subtract.outer(np.arange(BLOCKS), np.arange(BLOCKS)))
    factor = np.linalg.cholesky(depth.lag_one**lags).T
    own = rng.standard_normal((*shape, TYPES, BLOCKS)) @ factor
    shared = rng.standard_normal((*shape, 1, BLOCKS)) @ factor
    field = np.sqrt(1 - depth.block) * own + np.sqrt(depth.block) * shared
    return np.asarray(np.swapaxes(field, -1, -2).reshape(*shape, N_MODULES))


def type_effects(rng: np.random.Generator) -> FloatArray:
    return np.tile(rng.standard_normal(TYPES), BLOCKS)


def table_mean_squares(
    rng: np.random.Generator, repetitions: int, seeds: int, items: int, seed_load: float, item_load: float, heavy: bool
) -> list[MeanSquares]:
    """Mean squares of seeds x items tables with true mean 0, drawn through their sufficient statistics.

    Residual variance is 1, seed variance ``seed_load / items``, item variance ``item_load / seeds``. Given the seed and
    item effects, the seed means, the item means and MS_residual of a table with normal residuals are independent, so
    drawing them is exact. Heavy tails (t with 3 degrees of freedom, scaled to the variance) enter through the seed and
    item effects; normal item effects are drawn through the chi-squared law of MS_item.
    """
    size = (repetitions, seeds)
    seed_effects = rng.standard_t(3, size) / np.sqrt(3) if heavy else rng.standard_normal(size)
    seed_means = np.sqrt(seed_load / items) * seed_effects
    residual_means = rng.standard_normal(size) / np.sqrt(items)
    overall = residual_means.mean(axis=1)
    ms_seed = items * (seed_means + residual_means).var(axis=1, ddof=1)
    if heavy:
        item_mean, ms_item = _heavy_items(rng, repetitions, seeds, items, item_load, overall)
    else:
        ms_item = (1 + item_load) * rng.chisquare(items - 1, repetitions) / (items - 1)
        item_mean = rng.standard_normal(repetitions) * np.sqrt(item_load / seeds / items)
    df = (seeds - 1) * (items - 1)
    ms_residual = rng.chisquare(df, repetitions) / df
    means = seed_means.mean(axis=1) + overall + item_mean
    columns = (means.tolist(), ms_seed.tolist(), ms_item.tolist(), ms_residual.tolist())
    return [MeanSquares(seeds, items, *row) for row in zip(*columns, strict=True)]


def _heavy_items(
    rng: np.random.Generator, repetitions: int, seeds: int, items: int, item_load: float, overall: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Mean item effect and MS_item; residual deviations of items are independent of the residual mean ``overall``."""
    means, squares = np.empty(repetitions), np.empty(repetitions)
    for row in range(repetitions):
        effects = np.sqrt(item_load / seeds / 3) * rng.standard_t(3, items)
        means[row] = effects.mean()
        squares[row] = seeds * (effects + rng.standard_normal(items) / np.sqrt(seeds)).var(ddof=1)
    return means, squares


def binary_tables(rng: np.random.Generator, arms: int, seeds: int, items: int, run_sd: float) -> FloatArray:
    """Right or wrong answers of arms that are the same method, shape (arms, seeds, items).

    Items differ in difficulty (logits of standard deviation 2), every run has an ability of its own (standard deviation
    ``run_sd`` logits) and answers with noise of its own.
    """
    difficulty = 2 * rng.standard_normal(items)
    ability = run_sd * rng.standard_normal((arms, seeds, 1))
    return np.asarray(rng.random((arms, seeds, items)) < 1 / (1 + np.exp(difficulty - ability)), dtype=np.float64)
