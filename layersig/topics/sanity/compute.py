"""Sanity tests of scores: rules of place, ties, size, and nonsense in place of the data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np

from layersig.analysis.agreement_sentences import Across
from layersig.analysis.identity import type_depth_fit
from layersig.analysis.overlap import kuncheva, pairwise_kappa, uniform_law
from layersig.analysis.positions import RULES
from layersig.analysis.quantiles import t_quantile
from layersig.analysis.rankcorr import normal_scores, spearman
from layersig.analysis.results import BoolArray, FloatArray
from layersig.analysis.selections import membership
from layersig.findings.rankings import ScoreTable
from layersig.findings.rows.layers import LayerRow
from layersig.findings.unit_grid import Grid
from layersig.recipe.schema import Recipe
from layersig.topics.sanity.rows import SanityRow, TextRow, TieRow
from layersig.topics.stability.rows import SharingRow

FITTED = "type x depth"
NATURAL = "natural"


def sanity_rows(tables: Sequence[ScoreTable], sizes: Sequence[int], grid: Grid, level: float) -> Iterator[SanityRow]:
    """Every ranking that looks at the model beside every rule, at every size."""
    for table in _looking(tables):
        runs, count = table.scores.shape
        fits = type_depth_fit(normal_scores(table.scores), grid.types, grid.depths)
        for k in sizes:
            chosen = membership(table.scores, k)
            own = pairwise_kappa(chosen)[_pairs(runs)]
            law = uniform_law(count, k, k)
            low, high = (float(kuncheva(np.array(float(each)), count, k)) for each in law.overlap_range())
            for rule in (*RULES, FITTED):
                if rule == FITTED:
                    # As in the policy of that name: equal values of a smooth curve may differ in the last digit.
                    kappas = kuncheva(membership(np.round(fits, 12), k) @ chosen.T, count, k)[_pairs(runs)]
                else:
                    kappas = kuncheva(chosen @ membership(RULES[rule](count), k), count, k)
                ends = (None, None) if rule == FITTED else _interval(kappas, level)
                yield SanityRow(
                    scorer=table.cell.scorer or "",
                    checkpoint=table.cell.checkpoint,
                    data=table.cell.data,
                    runs=runs,
                    k=k,
                    of=count,
                    rule=rule,
                    kappa=float(kappas.mean()),
                    low=ends[0],
                    high=ends[1],
                    level=level,
                    chance_low=low,
                    chance_high=high,
                    ceiling=float(own.mean()) if runs > 1 else None,
                )


def tie_rows(tables: Sequence[ScoreTable], sizes: Sequence[int], units: Sequence[LayerRow]) -> Iterator[TieRow]:
    """Ties of every ranking that looks at the model, and the correlation of its scores with size."""
    weights = np.array([unit.parameters for unit in units], dtype=np.float64)
    for table in _looking(tables):
        tied = np.mean([len(run) - (np.unique(run, return_counts=True)[1] == 1).sum() for run in table.scores])
        correlation = spearman(table.scores.mean(axis=0), weights)
        for k in sizes:
            decided = (membership(table.scores, k) == 1).sum(axis=1)
            yield TieRow(
                scorer=table.cell.scorer or "",
                checkpoint=table.cell.checkpoint,
                data=table.cell.data,
                runs=len(table.seeds),
                k=k,
                of=len(units),
                tied=float(tied),
                undecided=float((k - decided).mean()),
                size_correlation=correlation if np.isfinite(correlation) else None,
            )


def text_rows(
    tables: Sequence[ScoreTable], sizes: Sequence[int], sharing: Sequence[SharingRow], recipe: Recipe
) -> Iterator[TextRow]:
    """Rankings on natural text beside those on other text of the same scorer; nothing where no text is nonsense."""
    texts = {data.name: data.text for data in recipe.data}
    if set(texts.values()) <= {NATURAL}:
        return
    tested = {(row.scorer, row.checkpoint, row.cells, row.k): row for row in sharing if row.across == Across.DATA_SETS}
    for first, second in combinations(_looking(tables), 2):
        one, other = first.cell, second.cell
        if (one.scorer, one.checkpoint) != (other.scorer, other.checkpoint) or None in (one.data, other.data):
            continue
        names = tuple((cell.data or "").partition(">")[0] for cell in (one, other))
        a, b = sorted(names, key=lambda name: texts[name] != NATURAL)
        if texts[a] != NATURAL:
            continue
        for k in sizes:
            within, between = _agreement(first, second, k)
            test = tested.get((one.scorer or "", one.checkpoint, names, k))
            yield TextRow(
                scorer=one.scorer or "",
                checkpoint=one.checkpoint,
                a=a,
                b=b,
                text=texts[b],
                k=k,
                of=first.scores.shape[1],
                kappa=between,
                ceiling=within,
                ratio=between / within if within is not None and within > 0 else None,
                lower=None if test is None else test.lower,
                adjusted_p=None if test is None else test.adjusted_p,
                verdict=None if test is None else test.verdict,
            )


def _looking(tables: Sequence[ScoreTable]) -> list[ScoreTable]:
    return [table for table in tables if not table.control]


def _pairs(runs: int) -> BoolArray:
    """Pairs of different runs; a run alone is paired with itself."""
    return ~np.eye(runs, dtype=np.bool_) if runs > 1 else np.ones((1, 1), dtype=np.bool_)


def _interval(values: FloatArray, level: float) -> tuple[float | None, float | None]:
    """Student's interval of a mean; ends of None with fewer than three values."""
    if values.size < 3:
        return None, None
    half = float(t_quantile((1 + level) / 2, values.size - 1) * values.std(ddof=1) / values.size**0.5)
    return float(values.mean()) - half, float(values.mean()) + half


def _agreement(first: ScoreTable, second: ScoreTable, k: int) -> tuple[float | None, float]:
    """Kappa of different seeds within each of two rankings, and of different seeds of the two."""
    seeds = np.array([str(seed) for seed in (*first.seeds, *second.seeds)])
    cell = np.repeat([0, 1], [len(first.seeds), len(second.seeds)])
    kappa = pairwise_kappa(membership(np.concatenate([first.scores, second.scores]), k))
    across, unlike = cell[:, None] != cell, seeds[:, None] != seeds
    between = across & unlike if (across & unlike).any() else across
    within = [kappa[unlike & (cell == each) & (cell[:, None] == each)] for each in (0, 1)]
    ceiling = None if any(values.size == 0 for values in within) else float(np.mean([each.mean() for each in within]))
    return ceiling, float(kappa[between].mean())
