"""The claim "as good as all layers" in its fixed order, the ranks that arms may hold, and p-values within families."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from layersig.analysis.margins import as_good_as_all
from layersig.analysis.multiplicity import holm
from layersig.analysis.rank_intervals import MIN_SEEDS_FOR_RANKS, rank_intervals_items_and_seeds
from layersig.analysis.results import Alternative
from layersig.analysis.tables import Floor
from layersig.findings.arms import ALL_LAYERS, BASE, Arms
from layersig.findings.contrasts import contrast
from layersig.findings.controls import standing
from layersig.findings.rows import ArmRankRow, ClaimRow, ComparisonRow
from layersig.recipe.schema import RESERVED_ARMS


def claim_rows(arms: Arms) -> Iterator[ClaimRow]:
    """The fixed sequence of every arm that has a random control, on every primary measure with a margin.

    With enough random control sets, the last step is the arm's rank among them, else its difference from the first.
    """
    outcomes, alpha = arms.outcomes, arms.plan.alpha
    for measure, arm, data in arms.cells():
        margin, control = arms.plan.margin(measure), arms.plan.control(arm, "random control")
        if arm in RESERVED_ARMS or margin is None or control is None or not outcomes.primary(measure):
            continue
        moved, own, beyond = (
            contrast(outcomes, measure, data, *pair) for pair in [(ALL_LAYERS, BASE), (arm, ALL_LAYERS), (arm, control)]
        )
        if moved is None or own is None or beyond is None:
            continue
        gain, loss, selective = moved.favourable, own.favourable, beyond.favourable
        if gain is None or loss is None or selective is None:
            continue
        among = standing(arms, measure, arm, data)
        beats_random = selective.p_value(alternative=Alternative.GREATER)
        if among is not None and among.p is not None:
            beats_random = among.p
        sequence = as_good_as_all(gain, loss, beats_random, margin, alpha)
        yield ClaimRow(
            arm=arm,
            data=data,
            task=measure.task,
            metric=measure.metric,
            margin=margin,
            assay_p=sequence.assay.p,
            not_worse_p=None if sequence.not_worse is None else sequence.not_worse.p,
            beats_random_p=sequence.beats_random_p,
            control_sets=1 if among is None or among.p is None else among.sets.size,
            conclusion=sequence.conclusion.value,
            scope=own.scope.value,
            seeds=len(own.seeds),
            n=own.n,
        )


def arm_rank_rows(arms: Arms) -> Iterator[ArmRankRow]:
    """Simultaneous rank sets of the trained arms on every primary measure, from five seeds on."""
    outcomes = arms.outcomes
    out = {BASE, *arms.plan.further_controls}
    cells = [cell for cell in arms.cells() if cell[1] not in out and outcomes.primary(cell[0])]
    for measure, data in dict.fromkeys((measure, data) for measure, _, data in cells):
        names = [arm for m, arm, d in cells if (m, d) == (measure, data)]
        common = set.intersection(*(set(outcomes.seeds(measure, arm, data)) for arm in names))
        seeds = sorted(seed for seed in common if seed is not None)
        if len(seeds) < MIN_SEEDS_FOR_RANKS or len(names) < 2:
            continue
        tables = np.stack([outcomes.units(measure, arm, data, seeds) for arm in names])
        sign = 1.0 if measure.higher_is_better else -1.0
        if tables.shape[2] < 2:
            continue
        floor = Floor.DIFFERENCE if outcomes.are_shares(measure) else None
        shares = outcomes.items[measure].shares
        sets = rank_intervals_items_and_seeds(sign * tables, arms.plan.alpha, shares, floor)
        for arm, ranks in zip(names, sets, strict=True):
            yield ArmRankRow(
                arm=arm,
                data=data,
                task=measure.task,
                metric=measure.metric,
                value=sign * ranks.mean,
                best=ranks.best,
                worst=ranks.worst,
                seeds=len(seeds),
                level=arms.level,
            )


def adjusted(rows: Sequence[ComparisonRow]) -> Iterator[ComparisonRow]:
    """The rows with p-values adjusted by Holm's method inside families.

    The declared comparisons are one family. Of the others, a family is every arm on every primary measure against one
    kind of reference on one data set: the claim that some arm differs on some task. The untouched base is no claim and
    stays out.
    """
    families: dict[str, list[int]] = {}
    for i, row in enumerate(rows):
        if row.primary and row.p is not None and row.arm != BASE:
            family = "declared" if row.declared else f"exploratory: against {row.role}, {row.data}"
            families.setdefault(family, []).append(i)
    corrected: dict[int, dict[str, str | float]] = {}
    for family, members in families.items():
        values = holm(np.array([rows[i].p for i in members]))
        corrected |= {i: {"family": family, "adjusted_p": float(p)} for i, p in zip(members, values, strict=True)}
    for i, row in enumerate(rows):
        yield row.model_copy(update=corrected.get(i, {}))
