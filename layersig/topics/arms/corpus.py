"""Rows of metrics that are computed over all items at once."""

from __future__ import annotations

from collections.abc import Iterator

from layersig.findings.arms import Arms, ends
from layersig.findings.contrasts import scope_of
from layersig.findings.rows.arms import ResultRow, SeedResultRow
from layersig.recipe.schema import BASE


def corpus_results(arms: Arms) -> Iterator[ResultRow]:
    """Value and standard error of every arm on every corpus metric."""
    corpus = arms.corpus
    for measure, arm, data in arms.corpus_cells():
        seeds = corpus.tables.seeds(measure, arm, data)
        table = corpus.tables.raw(measure, arm, data, seeds)
        estimate = corpus.estimate(measure, table)
        low, high = ends(estimate, arms.level)
        yield ResultRow(
            arm=arm,
            data=data,
            task=measure.task,
            metric=measure.metric,
            primary=arms.primary(measure),
            higher_is_better=measure.higher_is_better,
            value=float(table[:, 0].mean()),
            se=estimate.se if estimate else None,
            low=low,
            high=high,
            level=arms.level,
            no_interval=corpus.no_interval(measure, table),
            n=corpus.n[measure],
            clusters=corpus.n_clusters(measure),
            strata=None,
            seeds=0 if arm == BASE else len(seeds),
            scope=scope_of(seeds).value,
        )


def corpus_seed_results(arms: Arms) -> Iterator[SeedResultRow]:
    """The value of every training run on every corpus metric."""
    for measure, arm, data in arms.corpus_cells():
        seeds = arms.corpus.tables.seeds(measure, arm, data)
        for seed, row in zip(seeds, arms.corpus.tables.raw(measure, arm, data, seeds), strict=True):
            yield SeedResultRow(
                arm=arm, data=data, seed=seed, task=measure.task, metric=measure.metric, value=float(row[0])
            )
