"""Rankings of several models beside each other: each carried over to the layers of every other, in both directions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import permutations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from layersig.analysis.agreement import RunDesign, agreement_jackknife_runs
from layersig.analysis.carrying import by_depth, relative_ranks
from layersig.analysis.multiplicity import holm
from layersig.analysis.overlap import pairwise_kappa
from layersig.analysis.results import Estimate
from layersig.analysis.selections import membership
from layersig.analysis.sharing import SharingVerdict, ratio_bound_jackknife_runs, sharing_test
from layersig.analysis.surrogates import interior, residuals, surrogate_test
from layersig.findings.files import RunFiles
from layersig.findings.rankings import ScoreTable, layer_rows, score_tables
from layersig.findings.shown import finite
from layersig.findings.unit_grid import grid_of
from layersig.layers import Group, Unit
from layersig.recipe.schema import Recipe
from layersig.streams import Streams
from layersig.topics.across_models.rows import ModelCeilingRow, ModelPairRow

FloatArray = NDArray[np.float64]

_FRACTIONS = (0.30, 0.75)


@dataclass(frozen=True)
class RankedModel:
    """A model of the study, by its run.

    Attributes:
        name: Name of the model in the study.
        run: Its run folder.
        recipe: Its resolved recipe.
    """

    name: str
    run: Path
    recipe: Recipe

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """What the rankings are of."""
        return RunFiles(self.run).groups(Unit(self.recipe.layers.unit))

    @cached_property
    def tables(self) -> dict[tuple[str, str | None], ScoreTable]:
        """The last rankings of every scorer that looks at the model, by scorer and data set."""
        unit = Unit(self.recipe.layers.unit)
        scored = [each for each in RunFiles(self.run).rankings if each.ranking.unit is unit]
        found: dict[tuple[str, str | None], ScoreTable] = {}
        for table in score_tables(scored, self.groups, self.recipe):
            place = (table.cell.scorer or "", table.cell.data)
            last = found.get(place)
            newer = last is None or (table.cell.checkpoint or 0) > (last.cell.checkpoint or 0)
            if not table.control and table.kind != "transfer" and newer:
                found[place] = table
        return found

    @cached_property
    def fractions(self) -> tuple[float, ...]:
        """Shares of layers that arms select; the paper's where none selects a share."""
        given = {arm.select.params.get("fraction") for arm in self.recipe.arms if arm.select.kind == "top"}
        return tuple(sorted(share for share in given if isinstance(share, float) and share < 1)) or _FRACTIONS


@dataclass(frozen=True, slots=True, eq=False)
class _Carried:
    """Runs of two models over the covered units of one of them.

    Attributes:
        scores: Runs of the source, then those of the target, shape (2 x seeds, covered units).
        seeds: Seeds that both have.
        covered: Positions of the covered units among all of the target.
        units: Units of the target.
    """

    scores: FloatArray
    seeds: tuple[int | None, ...]
    covered: NDArray[np.int64]
    units: int

    @property
    def design(self) -> RunDesign:
        """A model is a cell; equal seeds share the order of the data, so they are left out together."""
        count = len(self.seeds)
        return RunDesign(np.repeat(np.arange(2), count), np.tile(np.arange(count), 2))


def model_pair_rows(models: Sequence[RankedModel]) -> tuple[ModelPairRow, ...]:
    """Every scorer and data set that two models share, in both directions, at every share of layers."""
    found = list(_carried(models))
    count = sum(len(target.fractions) for _, target, _, _ in found)
    rows = [
        row for source, target, place, carried in found for row in _rows(source, target, place, carried, max(1, count))
    ]
    tested = [number for number, row in enumerate(rows) if row.p is not None]
    for number, p in zip(tested, holm(np.array([rows[n].p for n in tested])) if tested else (), strict=True):
        rows[number] = rows[number].model_copy(update={"adjusted_p": float(p)})
    return tuple(row.model_copy(update={"sentence": _sentence(row)}) for row in rows)


def model_ceiling_rows(models: Sequence[RankedModel]) -> Iterator[ModelCeilingRow]:
    """How far the seeds of each model agree."""
    for model in models:
        for (scorer, data), table in model.tables.items():
            count, n = table.scores.shape
            for share in model.fractions if count > 1 else ():
                k = max(1, round(share * n))
                if k >= n:
                    continue
                within = agreement_jackknife_runs(table.scores, RunDesign(np.zeros(count, dtype=np.int64)), k).within
                low, high = _ends(within, 1 - model.recipe.analyze.alpha)
                yield ModelCeilingRow(
                    scorer=scorer,
                    data=data,
                    model=model.name,
                    k=k,
                    of=n,
                    seeds=count,
                    kappa=within.value,
                    low=low,
                    high=high,
                )


def model_notes(models: Sequence[RankedModel]) -> tuple[str, ...]:
    """Pairs of models that cannot be compared, and why."""
    compared = {(source.name, target.name) for source, target, _, _ in _carried(models)}
    return tuple(
        f"{source.name} and {target.name} are not compared: they share no scorer on the same data set with a common "
        'seed, or no module type (`layers.unit = "block"` ranks what every architecture has).'
        for source, target in permutations(models, 2)
        if (source.name, target.name) not in compared and source.name < target.name
    )


def _carried(
    models: Sequence[RankedModel],
) -> Iterator[tuple[RankedModel, RankedModel, tuple[str, str | None], _Carried]]:
    for source, target in permutations(models, 2):
        for place, theirs in source.tables.items():
            own = target.tables.get(place)
            carried = None if own is None else _carry(source, target, theirs, own)
            if carried is not None:
                yield source, target, place, carried


def _carry(source: RankedModel, target: RankedModel, theirs: ScoreTable, own: ScoreTable) -> _Carried | None:
    """The source's runs on the units of the target; None without a common seed or a common module type."""
    seeds = tuple(seed for seed in theirs.seeds if seed in own.seeds)
    names = [group.name for group in target.groups]
    known = [group.name for group in source.groups]
    runs = [by_depth(relative_ranks(known, theirs.scores[[theirs.seeds.index(seed)]]), names) for seed in seeds]
    if not runs or len(runs[0]) < 2:
        return None
    covered = np.array([place for place, name in enumerate(names) if name in runs[0]])
    mapped = np.array([[run[names[place]] for place in covered] for run in runs])
    kept = own.scores[[own.seeds.index(seed) for seed in seeds]][:, covered]
    return _Carried(np.concatenate([mapped, kept]), seeds, covered, len(names))


def _rows(
    source: RankedModel, target: RankedModel, place: tuple[str, str | None], carried: _Carried, count: int
) -> Iterator[ModelPairRow]:
    analyze, of = target.recipe.analyze, carried.covered.size
    level = 1 - analyze.alpha
    correlation, p = _beyond(target, source, place, carried)
    for share in target.fractions:
        k = max(1, round(share * of))
        if k >= of:
            continue
        row = ModelPairRow(
            scorer=place[0],
            data=place[1],
            source=source.name,
            target=target.name,
            units=carried.units,
            coverage=of / carried.units,
            k=k,
            of=of,
            seeds=len(carried.seeds),
            kappa=0.0,
            low=None,
            high=None,
            ceiling=None,
            ceiling_low=None,
            ceiling_high=None,
            ratio=None,
            lower=None,
            level=1 - analyze.alpha / count,
            margin=analyze.sharing_margin,
            verdict=None,
            correlation=correlation,
            p=p,
            adjusted_p=None,
            sentence="",
        )
        if len(carried.seeds) == 1:
            members = np.stack([membership(scores, k) for scores in carried.scores])
            yield row.model_copy(update={"kappa": float(pairwise_kappa(members)[0, 1])})
            continue
        agreement = agreement_jackknife_runs(carried.scores, carried.design, k)
        bound = ratio_bound_jackknife_runs(carried.scores, carried.design, k, row.level)
        low, high = _ends(agreement.between, level)
        ceiling_low, ceiling_high = _ends(agreement.within, level)
        yield row.model_copy(
            update={
                "kappa": agreement.between.value,
                "low": low,
                "high": high,
                "ceiling": agreement.within.value,
                "ceiling_low": ceiling_low,
                "ceiling_high": ceiling_high,
                "ratio": finite(bound.ratio),
                "lower": finite(bound.lower),
                "verdict": sharing_test(bound, carried.design, row.margin).verdict.value,
            }
        )


def _beyond(
    target: RankedModel, source: RankedModel, place: tuple[str, str | None], carried: _Carried
) -> tuple[float | None, float | None]:
    """Correlation of what type and smooth depth leave, and its p-value."""
    grid = grid_of(layer_rows([target.groups[number] for number in carried.covered]))
    where = interior(grid.types, grid.depths)
    if where is None:
        return None, None
    count = len(carried.seeds)
    a, b = residuals(carried.scores[:count], where), residuals(carried.scores[count:], where)
    pairs = ~np.eye(count, dtype=np.bool_) if count > 1 else np.ones((1, 1), dtype=np.bool_)
    rng = Streams(target.recipe.root_seed).generator("models", source.name, target.name, *map(str, place))
    test = surrogate_test(a, b, pairs, rng, draws=target.recipe.analyze.resamples)
    return test.statistic, test.p


def _ends(estimate: Estimate, level: float) -> tuple[float | None, float | None]:
    interval = estimate.interval(level)
    return finite(interval.low), finite(interval.high)


def _sentence(row: ModelPairRow) -> str:
    """What may be said of one direction."""
    where = (
        f"{row.scorer}{f' on {row.data}' if row.data else ''}, top {row.k} of {row.of} layers with a counterpart, "
        f"coverage {100 * row.coverage:.0f} %, S = {row.seeds}"
    )
    way = f"the ranking of {row.source} on the layers of {row.target}"
    figures = f"kappa {row.kappa:.2f}"
    if row.ceiling is None:
        return (
            f"Exploratory: {way} agrees with its own at {figures} ({where}); with one seed there is no noise ceiling "
            "to hold that against."
        )
    if row.verdict == SharingVerdict.NO_CEILING.value or row.ratio is None:
        return (
            f"Exploratory: {way}: no verdict, since two seeds of one model are not shown to agree above chance "
            f"({figures}; {where})."
        )
    least = "no lower bound" if row.lower is None else f"lower bound {row.lower:.2f}"
    figures += (
        f", {row.ratio:.2f} of the {row.ceiling:.2f} that two seeds of one model agree; "
        f"one-sided {100 * row.level:.4g} % {least}, margin {row.margin:.2f}"
    )
    said = {
        SharingVerdict.SHARED.value: "shares layers with its own as far as seeds do",
        SharingVerdict.NOT_SHOWN.value: "is not shown to share layers with its own, which is no proof of difference",
        SharingVerdict.TOO_FEW_SEEDS.value: "gets no verdict with fewer than five seeds",
        SharingVerdict.EQUAL.value: "puts the same layers first as its own with every seed",
        SharingVerdict.NO_NOISE.value: "gets no verdict, since nothing varies between the seeds of a model",
    }[str(row.verdict)]
    return f"Exploratory: {way} {said}: {figures} ({where})."
