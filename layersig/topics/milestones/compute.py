"""The course of trainings: how far they went, where the loss was stable, and how early the ranking was there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from itertools import pairwise
from math import isfinite
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layersig.analysis.milestones import (
    MilestoneAgreement,
    in_sequence,
    milestone_agreement,
    milestone_sentence,
    successive_agreement,
)
from layersig.analysis.results import Estimate
from layersig.analysis.sentences import status_of
from layersig.findings.files import RunFiles
from layersig.findings.forms import StabilityForm, TrainingForm
from layersig.findings.rankings import ScoreTable
from layersig.findings.shown import finite, finite_set
from layersig.recipe.schema import ALL_LAYERS, Recipe
from layersig.records import Cell
from layersig.topics.milestones.rows import MilestoneRow, SuccessiveRow, TrainingRow
from layersig.topics.stability.variation import checkpoint_series

FloatArray = NDArray[np.float64]

_TRAINING_STAGES = frozenset({"reference", "tune", "recover"})


def training_rows(files: RunFiles) -> Iterator[TrainingRow]:
    """Length and epsilon-stability of every training that left a log."""
    stages = {
        files.cell(stage["cell"]): stage for stage in files.manifest["stages"] if stage["kind"] in _TRAINING_STAGES
    }
    for cell, log in files.trainings:
        steps, planned, found = len(log["steps"]), log["planned_steps"], log["stability"]
        stage: Mapping[str, Any] = stages.get(cell, {})
        rate = stage.get("seconds_per_token")
        a_step = None if rate is None else rate * sum(step["tokens"] for step in log["steps"]) / steps
        yield TrainingRow(
            arm=cell.arm or "",
            data=cell.data,
            seed=cell.seed,
            steps=steps,
            planned_steps=planned,
            continued_from=int(stage.get("continued_from", 0)),
            seconds_per_step=a_step,
            seconds_saved=None if a_step is None else (planned - steps) * a_step,
            epsilon=found["epsilon"],
            window=found["window"],
            stable_from=found["step"],
            change=found["change"],
            noise=found["noise"],
            verdict=_stability(found, steps),
            **_looks(log),
        )


def with_time(rows: Sequence[MilestoneRow], trainings: Sequence[TrainingRow]) -> Iterator[MilestoneRow]:
    """Milestones with the time of the reference training up to each of them."""
    known: dict[str | None, list[float]] = {}
    for training in trainings:
        if training.arm == ALL_LAYERS and training.seconds_per_step is not None:
            known.setdefault(training.data, []).append(training.seconds_per_step * training.planned_steps)
    for row in rows:
        whole = known.get(row.data)
        yield row if whole is None else row.model_copy(update={"seconds": row.checkpoint * fmean(whole)})


def _looks(log: TrainingForm) -> dict[str, Any]:
    """What the looks at the ranking came to, where there were some."""
    watched = log.get("rank_stability")
    if watched is None:
        return {}
    taus = [look["tau"] for look in watched["looks"]]
    last = ", ".join(f"{tau:.2f}" for tau in taus[-watched["in_a_row"] :])
    rule = f"Kendall's tau of the layers by size of update, {watched['in_a_row']} times in a row at least "
    rule += f"{watched['tau']:g} (last: {last})" if taus else f"{watched['tau']:g} (too few looks)"
    at = watched["stable_at"]
    said = f"ended at step {at}: {rule}" if at is not None else f"ran to its planned end: not {rule}"
    return {"rank_stable_at": at, "rank_taus": tuple(taus), "rank_rule": said}


def _stability(found: StabilityForm, steps: int) -> str:
    """What epsilon-stability comes to."""
    if found["change"] is None or found["noise"] is None:
        return f"too short to tell: {steps} steps, and it takes {2 * found['window']}"
    if found["noise"] > found["epsilon"]:
        return "cannot tell: the scatter of batches is wider than epsilon"
    return "not stable" if found["step"] is None else f"stable from step {found['step']}"


def successive_rows(tables: Sequence[ScoreTable], sizes: Sequence[int], recipe: Recipe) -> Iterator[SuccessiveRow]:
    """Every scorer's ranking at a checkpoint against that at the next one, run by run."""
    level = 1 - recipe.analyze.alpha
    for last, others in checkpoint_series(tables, recipe):
        for table, following in pairwise([*others, last]):
            if table.cell.checkpoint is None or following.cell.checkpoint is None:
                continue
            early, late = _common(table, following)
            n = early.shape[1]
            for k in (size for size in sizes if 0 < size < n and len(early)):
                kappa, tau = successive_agreement(early, late, k)
                low, high = _ends(kappa, level)
                yield SuccessiveRow(
                    kind=table.kind,
                    data=table.cell.data,
                    checkpoint=table.cell.checkpoint,
                    next=following.cell.checkpoint,
                    k=k,
                    of=n,
                    kappa=kappa.value,
                    low=low,
                    high=high,
                    level=level,
                    tau=finite(tau),
                    runs=len(early),
                )


def milestone_rows(
    tables: Sequence[ScoreTable],
    sizes: Sequence[int],
    recipe: Recipe,
    declared_rankings: Set[Cell] = frozenset(),
) -> tuple[MilestoneRow, ...]:
    """Whether each checkpoint reaches the required share of the noise ceiling of the last one.

    Args:
        tables: Rankings of all scorers.
        sizes: Sizes of the selections.
        recipe: What was declared.
        declared_rankings: The rankings that were scored after they were declared. The tests of a series of these alone
            are declared, and corrected apart from the others.
    """
    level = 1 - recipe.analyze.alpha
    sequences = [
        _sequence(last, others, k, recipe, declared_rankings)
        for last, others in checkpoint_series(tables, recipe)
        for k in sizes
        if 0 < k < last.scores.shape[1]
    ]
    tested = [[found.p_value(level) for _, found in sequence] for sequence in sequences]
    families = Counter(
        sequence[0][0].declared
        for sequence, ps in zip(sequences, tested, strict=True)
        if any(p is not None for p in ps)
    )
    rows = []
    for sequence, ps in zip(sequences, tested, strict=True):
        for (row, found), p, stepped in zip(sequence, ps, in_sequence(ps), strict=True):
            adjusted = None if stepped is None else min(1.0, families[row.declared] * stepped)
            verdict = found.verdict(adjusted, level)
            what = f"{row.kind}, top {row.k} of {row.of}{f', on {row.data}' if row.data else ''}"
            said = milestone_sentence(
                found, verdict, adjusted, after=row.checkpoint, end=row.last, what=what, level=level
            )
            sentence = f"{status_of(row.declared)}: {said}"
            rows.append(
                row.model_copy(update={"p": p, "adjusted_p": adjusted, "verdict": verdict.value, "sentence": sentence})
            )
    return tuple(sorted(rows, key=lambda row: (row.kind, row.data or "", row.k, row.checkpoint)))


def _sequence(
    last: ScoreTable, others: Sequence[ScoreTable], k: int, recipe: Recipe, declared_rankings: Set[Cell]
) -> list[tuple[MilestoneRow, MilestoneAgreement]]:
    """The milestones of one scorer at one size, the latest first, still without what needs the correction."""
    declared = all(table.run_cells <= declared_rankings for table in (*others, last))
    found = []
    for table in reversed(others):
        early, end = _common(table, last)
        if len(early) >= 2 and table.cell.checkpoint is not None and last.cell.checkpoint is not None:
            agreement = milestone_agreement(early, end, k, recipe.analyze.sharing_margin, 1 - recipe.analyze.alpha)
            found.append((_row(table, last, agreement, k, recipe, declared=declared), agreement))
    return found


def _row(
    table: ScoreTable, last: ScoreTable, found: MilestoneAgreement, k: int, recipe: Recipe, *, declared: bool
) -> MilestoneRow:
    level = 1 - recipe.analyze.alpha
    (agreement_low, agreement_high), (ceiling_low, ceiling_high) = (
        _ends(each, level) for each in (found.agreement, found.ceiling)
    )
    shares = finite_set(found.shares if isfinite(found.excess.se) and found.excess.se > 0 else None)
    return MilestoneRow(
        kind=table.kind,
        scorers=(table.cell.scorer or "", last.cell.scorer or ""),
        data=table.cell.data,
        checkpoint=table.cell.checkpoint or 0.0,
        last=last.cell.checkpoint or 1.0,
        k=k,
        of=table.scores.shape[1],
        agreement=found.agreement.value,
        agreement_low=agreement_low,
        agreement_high=agreement_high,
        ceiling=found.ceiling.value,
        ceiling_low=ceiling_low,
        ceiling_high=ceiling_high,
        share=finite(found.shares.ratio),
        shape=shares.shape,
        low=shares.low,
        high=shares.high,
        level=level,
        required=found.required,
        declared=declared,
        p=None,
        adjusted_p=None,
        seeds=found.seeds,
        verdict="",
        sentence="",
    )


def _common(table: ScoreTable, other: ScoreTable) -> tuple[FloatArray, FloatArray]:
    """The scores of both in the seeds that both have."""
    seeds = [seed for seed in table.seeds if seed in other.seeds]
    mine, theirs = (each.scores[[each.seeds.index(seed) for seed in seeds]] for each in (table, other))
    return mine, theirs


def _ends(estimate: Estimate, level: float) -> tuple[float | None, float | None]:
    """Ends of the interval, from three seeds on and where something varies."""
    if estimate.df < 2 or not estimate.se > 0:
        return None, None
    interval = estimate.interval(level)
    return finite(interval.low), finite(interval.high)
