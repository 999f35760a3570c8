"""What a ranking is worth: noise ceiling, agreement between data sets, single layers, variance, checkpoints."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import isfinite

import numpy as np

from layersig.analysis.agreement import RunDesign, agreement_jackknife_runs, repeat_agreement
from layersig.analysis.components import variance_components
from layersig.analysis.identity import identity_gain, residual_agreement
from layersig.analysis.overlap import kappa_curve
from layersig.analysis.results import Estimate
from layersig.findings.rankings import ScoreTable
from layersig.findings.shown import finite
from layersig.findings.unit_grid import Grid
from layersig.recipe.schema import Recipe
from layersig.topics.stability.replicates import Replicates
from layersig.topics.stability.rows import CheckpointRow, ComponentRow, StabilityRow


def stability_rows(found: Replicates, sizes: Sequence[int], grid: Grid, level: float) -> Iterator[StabilityRow]:
    """Noise ceilings, agreement between data sets, their ratio, residual agreement and identity gain at every size."""
    n, apart = found.runs.shape[1], found.apart

    def row(
        data: str | None, k: int, quantity: str, estimate: Estimate, runs: int, data_sets: int, shared: bool
    ) -> StabilityRow:
        interval = estimate.interval(level)
        return StabilityRow(
            scorer=found.scorer,
            checkpoint=found.checkpoint,
            data=data,
            k=k,
            of=n,
            quantity=quantity,
            value=estimate.value,
            se=finite(estimate.se),
            df=estimate.df,
            low=finite(interval.low),
            high=finite(interval.high),
            lower=finite(estimate.lower_bound(level)),
            level=level,
            runs=runs,
            data_sets=data_sets,
            left_out="a seed of all data sets" if shared else "a run",
        )

    for k in sizes:
        if not 0 < k < n:
            continue
        for place, (data, scores) in enumerate(zip(found.data, found.scores, strict=True)):
            own = RunDesign(np.zeros(len(scores), dtype=np.int64))
            if found.repeats is not None:
                again = repeat_agreement(np.concatenate([scores[None], found.repeats[:, place]]), k)
                yield row(data, k, "rescored", again, len(scores), 1, False)
            yield row(data, k, "within", agreement_jackknife_runs(scores, own, k).within, len(scores), 1, False)
            gain = identity_gain(scores, own, k, grid.types, grid.depths)
            yield row(data, k, "identity gain", gain, len(scores), 1, False)
            beyond = residual_agreement(scores, own, grid.types, grid.depths)
            yield row(data, k, "residual agreement", beyond, len(scores), 1, False)
        for name, halves in found.halves.items():
            across = agreement_jackknife_runs(halves.runs, halves.design, k).between
            if isfinite(across.value):  # equal rows under two names are no two halves
                yield row(name, k, "other half", across, len(halves.runs), 1, True)
        if len(found.data_sets) > 1:
            agreement = agreement_jackknife_runs(apart.runs, apart.data_set_design, k)
            runs, count = len(apart.runs), len(found.data_sets)
            yield row(None, k, "other half" if apart.halved else "within", agreement.within, runs, count, True)
            yield row(None, k, "between", agreement.between, runs, count, True)
            if isfinite(agreement.ratio.value):
                yield row(None, k, "ratio", agreement.ratio, runs, count, True)


def component_rows(found: Replicates, grid: Grid, level: float) -> Iterator[ComponentRow]:
    """Variance components on the block x type grid; nothing where there is no such grid, or nothing varies on it.

    Halves count as samples of a data set where every data set has both.
    """
    if grid.modules is None or min(grid.modules.index.shape, default=0) < 2:
        return
    apart = found.apart
    fields = grid.modules.fields(apart.nested)
    if not np.all(np.ptp(fields, axis=(-2, -1)) > 0):
        return
    for part in variance_components(fields, seeds_crossed=len(apart.data) > 1, level=level):
        yield ComponentRow(
            scorer=found.scorer,
            checkpoint=found.checkpoint,
            component=part.name,
            variance=part.variance,
            share=part.share,
            df=part.df,
            low=None if part.interval is None else part.interval.low,
            high=None if part.interval is None else part.interval.high,
            level=level,
        )


def checkpoint_rows(tables: Sequence[ScoreTable], sizes: Sequence[int], recipe: Recipe) -> Iterator[CheckpointRow]:
    """Scorers that differ in nothing but their checkpoint, each against the last one, run by run."""
    for last, others in checkpoint_series(tables, recipe):
        for table in others:
            seeds = [seed for seed in table.seeds if seed in last.seeds]
            if not seeds or table.cell.checkpoint is None or last.cell.checkpoint is None:
                continue
            a = table.scores[[table.seeds.index(seed) for seed in seeds]]
            b = last.scores[[last.seeds.index(seed) for seed in seeds]]
            curves, n = kappa_curve(a, b), a.shape[1]
            for k in (size for size in sizes if 0 < size < n):
                kappa = curves[:, k - 1]
                yield CheckpointRow(
                    kind=table.kind,
                    data=table.cell.data,
                    checkpoint=table.cell.checkpoint,
                    last=last.cell.checkpoint,
                    k=k,
                    of=n,
                    kappa=float(kappa.mean()),
                    kappa_low=float(kappa.min()),
                    kappa_high=float(kappa.max()),
                    runs=len(seeds),
                )


def checkpoint_series(tables: Sequence[ScoreTable], recipe: Recipe) -> Iterator[tuple[ScoreTable, list[ScoreTable]]]:
    """Rankings that differ in nothing but their checkpoint: the last one, and the others in ascending order."""
    series: dict[tuple[str, str, str | None], list[ScoreTable]] = {}
    for table in tables:
        choice = recipe.scorers.get(table.cell.scorer or "")
        if choice is not None and table.cell.checkpoint is not None:
            own = repr((sorted(choice.params.items()), sorted(choice.train.items()), choice.stream))
            key = (choice.kind, own, table.cell.data)
            series.setdefault(key, []).append(table)
    for members in series.values():
        ordered = sorted(members, key=lambda table: table.cell.checkpoint or 0.0)
        if len(ordered) > 1:
            yield ordered[-1], ordered[:-1]
