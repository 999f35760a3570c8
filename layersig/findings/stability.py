"""What a ranking is worth: noise ceiling, agreement between data sets, single layers, variance, checkpoints."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from layersig.analysis.agreement import RunDesign, agreement_jackknife_runs, label_permutation_test
from layersig.analysis.attenuation import corrected_between
from layersig.analysis.components import variance_components
from layersig.analysis.identity import identity_gain, residual_agreement
from layersig.analysis.overlap import kappa_curve
from layersig.analysis.results import Alternative, Estimate
from layersig.analysis.sentences import sharing_sentence
from layersig.analysis.sharing import ratio_bound_jackknife_runs, sharing_test
from layersig.findings.fractions import finite
from layersig.findings.grid import Grid
from layersig.findings.rankings import ScoreTable
from layersig.findings.rows import CheckpointRow, ComponentRow, SharingRow, StabilityRow
from layersig.recipe.schema import Recipe
from layersig.streams import Streams

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Replicates:
    """Rankings of one scorer over data sets and seeds, every data set with the same seeds.

    Attributes:
        scorer: Name of the scorer.
        checkpoint: Its checkpoint.
        data: Labels of the data sets.
        seeds: Values of the seed axis.
        scores: Shape (data sets, seeds, units).
    """

    scorer: str
    checkpoint: float | None
    data: tuple[str, ...]
    seeds: tuple[int, ...]
    scores: FloatArray

    @property
    def runs(self) -> FloatArray:
        """Scores, shape (data sets x seeds, units)."""
        return self.scores.reshape(-1, self.scores.shape[-1])

    @property
    def design(self) -> RunDesign:
        """A data set is a cell; equal seeds share initialisation and order, so they are left out together."""
        cells = np.repeat(np.arange(len(self.data)), len(self.seeds))
        return RunDesign(cells, np.tile(np.array(self.seeds), len(self.data)) if len(self.data) > 1 else None)


def replicates(tables: Sequence[ScoreTable]) -> tuple[Replicates, ...]:
    """Scorers that look at the model, with at least two seeds on every data set; ragged ones keep common seeds."""
    found = []
    keys = dict.fromkeys((table.cell.scorer or "", table.cell.checkpoint) for table in tables if not table.control)
    for scorer, checkpoint in keys:
        members = [table for table in tables if (table.cell.scorer, table.cell.checkpoint) == (scorer, checkpoint)]
        known = [{seed for seed in table.seeds if seed is not None} for table in members]
        seeds = tuple(sorted(set.intersection(*known)))
        if len(seeds) < 2:
            continue
        scores = np.stack([table.scores[[table.seeds.index(seed) for seed in seeds]] for table in members])
        data = tuple(table.cell.data or "" for table in members)
        found.append(Replicates(scorer, checkpoint, data, seeds, scores))
    return tuple(found)


def stability_rows(found: Replicates, sizes: Sequence[int], grid: Grid, level: float) -> Iterator[StabilityRow]:
    """Noise ceiling, agreement between data sets, their ratio, residual agreement and identity gain at every size."""
    n, design = found.runs.shape[1], found.design

    def row(data: str | None, k: int, quantity: str, estimate: Estimate, runs: int, shared: bool) -> StabilityRow:
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
            data_sets=len(found.data) if data is None else 1,
            left_out="a seed of all data sets" if shared else "a run",
        )

    for k in sizes:
        if not 0 < k < n:
            continue
        for data, scores in zip(found.data, found.scores, strict=True):
            own = RunDesign(np.zeros(len(scores), dtype=np.int64))
            yield row(data, k, "within", agreement_jackknife_runs(scores, own, k).within, len(scores), False)
            gain = identity_gain(scores, own, k, grid.types, grid.depths)
            yield row(data, k, "identity gain", gain, len(scores), False)
            beyond = residual_agreement(scores, own, grid.types, grid.depths)
            yield row(data, k, "residual agreement", beyond, len(scores), False)
        if len(found.data) > 1:
            agreement = agreement_jackknife_runs(found.runs, design, k)
            runs = len(found.runs)
            yield row(None, k, "within", agreement.within, runs, True)
            yield row(None, k, "between", agreement.between, runs, True)
            if isfinite(agreement.ratio.value):
                yield row(None, k, "ratio", agreement.ratio, runs, True)


def sharing_rows(found: Replicates, sizes: Sequence[int], model: str, recipe: Recipe) -> Iterator[SharingRow]:
    """The sharing test at every size, and the opposite question, asked of whole rankings; needs two data sets."""
    n = found.runs.shape[1]
    if len(found.data) < 2:
        return
    level = 1 - recipe.analyze.alpha
    corrected = corrected_between(found.runs, found.design)
    interval = corrected.interval(level) if corrected else None
    rng = Streams(recipe.root_seed).generator("relabel", found.scorer)
    labels = label_permutation_test(found.runs, found.design, rng)
    for k in (size for size in sizes if 0 < size < n):
        bound = ratio_bound_jackknife_runs(found.runs, found.design, k, level)
        test = sharing_test(bound, found.design, recipe.analyze.sharing_margin)
        yield SharingRow(
            scorer=found.scorer,
            checkpoint=found.checkpoint,
            k=k,
            of=n,
            ratio=finite(bound.ratio),
            lower=finite(bound.lower),
            level=bound.level,
            margin=test.margin,
            seeds=len(found.seeds),
            data_sets=len(found.data),
            verdict=test.verdict.value,
            sentence=sharing_sentence(test, k, n, found.data, model, found.scorer),
            corrected=corrected.value if corrected else None,
            corrected_low=interval.low if interval else None,
            corrected_high=interval.high if interval else None,
            p_different=corrected.p_value(1.0, Alternative.LESS) if corrected else None,
            p_exchangeable=labels.p if labels else None,
            least_p=labels.least if labels else None,
            relabellings=labels.draws if labels else None,
        )


def component_rows(found: Replicates, grid: Grid, level: float) -> Iterator[ComponentRow]:
    """Variance components on the block x type grid; nothing where there is no such grid, or nothing varies on it."""
    if grid.modules is None or min(grid.modules.index.shape, default=0) < 2:
        return
    if not np.all(np.ptp(grid.modules.fields(found.scores), axis=(2, 3)) > 0):
        return
    for part in variance_components(grid.modules.fields(found.scores), len(found.data) > 1, level):
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
            key = (choice.kind, repr(sorted(choice.params.items())), table.cell.data)
            series.setdefault(key, []).append(table)
    for members in series.values():
        ordered = sorted(members, key=lambda table: table.cell.checkpoint or 0.0)
        if len(ordered) > 1:
            yield ordered[-1], ordered[:-1]
