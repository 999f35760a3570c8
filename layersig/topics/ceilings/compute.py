"""The noise ceiling of every ranking: whether its seeds agree above chance, and on single layers."""

from __future__ import annotations

from collections.abc import Sequence

from layersig.analysis.agreement_sentences import ceiling_sentence
from layersig.analysis.ceiling import Ceiling, CeilingVerdict, noise_ceiling, residual_ceiling
from layersig.analysis.multiplicity import holm_of_tested
from layersig.findings.rankings import ScoreTable
from layersig.findings.shown import finite
from layersig.findings.unit_grid import Grid
from layersig.topics.ceilings.rows import CeilingRow


def ceiling_rows(
    tables: Sequence[ScoreTable], sizes: Sequence[int], grid: Grid, level: float, alpha: float
) -> tuple[CeilingRow, ...]:
    """Every ranking of a scorer that looks at the model, at every size.

    Args:
        tables: The rankings.
        sizes: Sizes of the selections.
        grid: Types and depths of the units.
        level: Coverage of the intervals.
        alpha: Level of the family of all tests.
    """
    told = [table for table in tables if not table.control]
    proper = [k for k in sizes if 0 < k < grid.types.size]
    residuals = [residual_ceiling(table.scores, grid.types, grid.depths) for table in told]
    residual_p = holm_of_tested([residual.p for residual in residuals])
    found = [
        (table, k, noise_ceiling(table.scores, k), residual, beyond)
        for table, residual, beyond in zip(told, residuals, residual_p, strict=True)
        for k in proper
    ]
    adjusted_p = holm_of_tested([ceiling.p for _, _, ceiling, _, _ in found])
    tests = sum(p is not None for p in adjusted_p)
    rows = []
    for (table, k, ceiling, residual, beyond), p in zip(found, adjusted_p, strict=True):
        n, seeded = table.scores.shape[1], table.seeds != (None,)
        verdict = ceiling.verdict(p, alpha) if seeded else CeilingVerdict.NO_SEED
        low, high = _ends(ceiling, level)
        residual_low, residual_high = _ends(residual, level)
        rows.append(
            CeilingRow(
                scorer=table.cell.scorer or "",
                checkpoint=table.cell.checkpoint,
                data=table.cell.data,
                seeds=ceiling.seeds if seeded else 0,
                k=k,
                of=n,
                kappa=_value(ceiling),
                low=low,
                high=high,
                level=level,
                p=ceiling.p,
                adjusted_p=p,
                tests=tests,
                above_chance=verdict.above_chance,
                verdict=verdict.value,
                sentence=ceiling_sentence(verdict, ceiling, table.named, k, n, level=level, adjusted_p=p, tests=tests),
                residual=_value(residual),
                residual_low=residual_low,
                residual_high=residual_high,
                residual_p=residual.p,
                residual_adjusted_p=beyond,
            )
        )
    return tuple(rows)


def _value(found: Ceiling) -> float | None:
    return None if found.estimate is None else found.estimate.value


def _ends(found: Ceiling, level: float) -> tuple[float | None, float | None]:
    interval = found.interval(level)
    return (None, None) if interval is None else (finite(interval.low), finite(interval.high))
