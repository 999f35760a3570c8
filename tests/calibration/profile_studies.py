"""Rankings whose layers share a profile over depth, made up or published: do tests of agreement hold their level?"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import numpy as np

from layersig.analysis.identity import type_depth_fit
from layersig.analysis.rankcorr import normal_scores
from layersig.analysis.results import FloatArray
from layersig.analysis.surrogates import EDGE_BLOCKS, Interior, interior, residuals, surrogate_test
from tests.calibration.depth_studies import DRAWS, raw_phase_p
from tests.calibration.profiles import real_profiles
from tests.calibration.report import Study, Table, at_most, percent

ONE_PAIR = np.ones((1, 1), dtype=np.bool_)
Profile = Callable[[np.random.Generator, int, int], FloatArray]
"""A profile of shape (blocks, types)."""


def _autoregressive(rng: np.random.Generator, blocks: int, types: int, lag_one: float = 0.5) -> FloatArray:
    lags = np.abs(np.subtract.outer(np.arange(blocks), np.arange(blocks)))
    factor = np.linalg.cholesky(lag_one**lags)
    own, shared = rng.standard_normal((blocks, types)), rng.standard_normal((blocks, 1))
    return np.asarray(factor @ (np.sqrt(0.7) * own + np.sqrt(0.3) * shared))


def _ends(blocks: int, width: int = 2) -> FloatArray:
    place = np.arange(blocks)
    return np.asarray(((place < width) | (place >= blocks - width)).astype(np.float64)[:, None])


def _shifted(rng: np.random.Generator, blocks: int, types: int, width: int = 2) -> FloatArray:
    shift = 3 * rng.standard_normal((blocks, 1))
    return _autoregressive(rng, blocks, types) + _ends(blocks, width) * shift


def _walk(rng: np.random.Generator, blocks: int, types: int) -> FloatArray:
    own, shared = rng.standard_normal((blocks, types)), rng.standard_normal((blocks, 1))
    return np.asarray((np.sqrt(0.7) * own + np.sqrt(0.3) * shared).cumsum(axis=0) / np.sqrt(blocks / 2))


def _trend(rng: np.random.Generator, blocks: int, types: int, slope: float | None = None) -> FloatArray:
    steep = 2 * rng.standard_normal() if slope is None else slope
    return _autoregressive(rng, blocks, types) + steep * np.linspace(-1, 1, blocks)[:, None]


SHAPES: dict[str, Profile] = {
    "autoregressive, lag-1 .5": _autoregressive,
    "linear trend of random slope": _trend,
    "shared linear trend": lambda rng, b, t: _trend(rng, b, t, 1.5),
    "first and last two blocks, variance x 9": lambda rng, b, t: _autoregressive(rng, b, t) * (1 + 2 * _ends(b)),
    "first and last two blocks shifted, one by one": _shifted,
    "all four end blocks shifted together": lambda rng, b, t: (
        _autoregressive(rng, b, t) + 3 * _ends(b) * rng.standard_normal()
    ),
    "variance growing over depth": lambda rng, b, t: _autoregressive(rng, b, t) * np.linspace(1, 3, b)[:, None],
    "random walk": _walk,
    "log-normal scores": lambda rng, b, t: np.exp(1.5 * _autoregressive(rng, b, t)),
}
_WIDE_ENDS: Profile = lambda rng, b, t: _shifted(rng, b, t, 3)  # noqa: E731
_SIZES = ((12, 4), (16, 7), (32, 7), (30, 1))


def shapes(reps: int, rng: np.random.Generator) -> Study:
    """Two independent rankings of shapes that no test of stationary profiles survives."""
    rows, held = [], []
    for name, profile in (*SHAPES.items(), ("*first and last three blocks shifted, one by one*", _WIDE_ENDS)):
        found = [_shape_rates(reps, rng, profile, *size) for size in _SIZES]
        rows.append((name, *(f"{percent(raw)} / {percent(residual)}" for raw, residual in found)))
        if profile is not _WIDE_ENDS:
            held += [residual for _, residual in found]
    power = tuple(
        (
            f"{blocks} x {types}",
            *(percent(rate) for rate in _shape_rates(reps, rng, _autoregressive, blocks, types, 0.3)),
        )
        for blocks, types in _SIZES
    )
    return Study(
        "Agreement of rankings with trends and odd ends",
        "Two independent rankings of blocks x types; fields of variance 1, shared in a block .3. Each cell: phases of "
        "the scores (one-sided, Spearman) / the test of the reports (residuals without the first and last two blocks, "
        f"two-sided). {DRAWS} surrogates. A shared trend is agreement for the first, and none for the second. In "
        "italics: a shape that the test does not survive, as the reports say.",
        (
            Table(
                "shapes",
                "Rejections of independent rankings (nominal 5 %).",
                ("shape", *(f"{blocks} x {types}" for blocks, types in _SIZES)),
                tuple(rows),
            ),
            Table(
                "shapes-power",
                "Rejections when autoregressive fields correlate by .3.",
                ("blocks x types", "phases of the scores", "residuals"),
                power,
            ),
        ),
        (at_most("surrogate test of residuals: trends, odd ends, walks, growing variance", held, 0.07),),
    )


def _shape_rates(
    reps: int, rng: np.random.Generator, profile: Profile, blocks: int, types: int, shared: float = 0.0
) -> tuple[float, float]:
    where = grid_interior(blocks, types)
    rejected = np.zeros(2)
    for _ in range(reps):
        common = np.sqrt(shared) * profile(rng, blocks, types) if shared else 0.0
        a, b = (common + np.sqrt(1 - shared) * profile(rng, blocks, types) for _ in range(2))
        level = rng.standard_normal(types) if types > 1 else 0.0
        rejected += _rejections(a + level, b + level, where, rng)
    raw, residual = (rejected / reps).tolist()
    return raw, residual


def grid_interior(blocks: int, types: int) -> Interior:
    where = interior(np.tile(np.arange(types), blocks), np.repeat(np.arange(blocks), types))
    assert where is not None
    return where


def _rejections(a: FloatArray, b: FloatArray, where: Interior, rng: np.random.Generator) -> FloatArray:
    """Whether phases of the scores, and whether the test of residuals, find that two profiles agree."""
    raw = raw_phase_p(a - a.mean(axis=0), b - b.mean(axis=0), rng) <= 0.05
    one, other = (residuals(each[None], where) for each in np.stack([a.ravel(), b.ravel()]))
    return np.array([raw, surrogate_test(one, other, ONE_PAIR, rng, draws=DRAWS).p <= 0.05], dtype=np.float64)


def on_real_profiles(reps: int, rng: np.random.Generator) -> Study:
    """Independent rankings that keep the trend, the ends and the spread of real ones."""
    profiles = {name: normal_scores(scores.ravel()).reshape(scores.shape) for name, scores in real_profiles().items()}
    blocks, types = next(iter(profiles.values())).shape
    where, kinds = grid_interior(blocks, types), np.tile(np.arange(types), blocks)
    depths = np.repeat(np.arange(blocks), types)
    inside = (depths >= EDGE_BLOCKS) & (depths < blocks - EDGE_BLOCKS)
    # A variant of one scorer, such as its relative norm, is no second profile.
    pairs = [(a, b) for a, b in combinations(profiles, 2) if not b.startswith(a)]
    rows, held = [], []
    for how, redraw in (("signs of blocks", _signs), ("phases", _phases), ("order of stretches", _stretches)):
        rates = []
        for first, second in pairs:
            rejected = np.zeros(2)
            for _ in range(max(20, reps // 4)):
                made = []
                for name in (first, second):
                    scores = profiles[name].ravel().copy()
                    fit = type_depth_fit(scores[inside], kinds[inside], depths[inside])
                    rest = (scores[inside] - fit).reshape(-1, types)
                    scores[inside] = fit + redraw(rng, rest).ravel()
                    made.append(scores.reshape(blocks, types))
                rejected += _rejections(*made, where, rng)
            rates.append(rejected / max(20, reps // 4))
        raw, residual = np.array(rates).T
        rows.append((how, *(percent(f(x)) for x in (raw, residual) for f in (np.mean, np.max))))
        held.append(float(residual.mean()))
    header = ("what is randomised", "phases of the scores, mean", "worst pair", "residuals, mean", "worst pair")
    return Study(
        "Independent rankings with the shape of real ones",
        f"Profiles of {len(profiles)} scorers on SmolLM2-135M-Instruct (30 blocks x 7 types, tests/calibration/"
        "profiles.json). Every pair keeps its trends (type x cubic depth) and its first and last two blocks as they "
        "are; the residuals of the other blocks are drawn anew, for the two rankings independently: a sign for every "
        "block, the same for its types; Fourier phases, the same for all types; stretches of three blocks in another "
        f"order and with signs. {max(20, reps // 4)} repetitions a pair of scorers of different kinds; the target is "
        "on the mean over pairs.",
        (Table("real-profiles", "Rejections of independent rankings (nominal 5 %).", header, tuple(rows)),),
        (at_most("surrogate test of residuals on real profiles", held, 0.07),),
    )


def _signs(rng: np.random.Generator, rest: FloatArray) -> FloatArray:
    return np.asarray(rest * rng.choice([-1.0, 1.0], size=(len(rest), 1)))


def _phases(rng: np.random.Generator, rest: FloatArray) -> FloatArray:
    spectrum = np.fft.rfft(rest, axis=0)
    angles = rng.uniform(0, 2 * np.pi, size=(len(spectrum), 1))
    angles[0] = 0
    return np.asarray(np.fft.irfft(spectrum * np.exp(1j * angles), n=len(rest), axis=0))


def _stretches(rng: np.random.Generator, rest: FloatArray) -> FloatArray:
    parts = np.array_split(np.roll(rest, rng.integers(len(rest)), axis=0), len(rest) // 3)
    return np.concatenate([parts[i] * rng.choice([-1.0, 1.0]) for i in rng.permutation(len(parts))])
