"""What the training after pruning brings back: metrics, degeneration and broken programs, before and after it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from statistics import fmean
from typing import Any, Literal

import numpy as np

from layersig.analysis.results import FloatArray
from layersig.analysis.tables import Floor, mean_of, no_interval
from layersig.findings.arms import Arms, ends
from layersig.findings.contrasts import contrast, paired_seeds, scope_of
from layersig.findings.outcomes import Measure
from layersig.findings.responses import PASSED, Responses
from layersig.recipe.schema import BASE, Recipe
from layersig.topics.recovery.rows import RecoveryRow

Line = Mapping[str, Any]


def recovery_rows(arms: Arms, texts: Sequence[Responses]) -> Iterator[RecoveryRow]:
    """Every pair of arms that remove the same blocks, one of them trained afterwards.

    Args:
        arms: The arms.
        texts: What models wrote.
    """
    for pruned, recovered in _pairs(arms.recipe):
        yield from _metrics(arms, pruned, recovered)
        for after in texts:
            before = next((t for t in texts if (t.arm, t.data, t.task) == (pruned, after.data, after.task)), None)
            seeds = () if before is None else paired_seeds(after.seeds, before.seeds)
            if after.arm == recovered and before is not None and seeds:
                base = next((t for t in texts if (t.arm, t.task) == (BASE, after.task)), None)
                yield from _texts(arms, base, before.of(seeds), after.of(seeds))


def _pairs(recipe: Recipe) -> Iterator[tuple[str, str]]:
    pruning = [arm for arm in recipe.arms if arm.action == "prune"]
    for plain in pruning:
        for trained in pruning:
            alike = (plain.scorers, plain.rankings_of, plain.select) == (
                trained.scorers,
                trained.rankings_of,
                trained.select,
            )
            more = trained.recover is not None or trained.patch is not None
            if (plain.recover, plain.patch) == (None, None) and more and alike:
                yield plain.name, trained.name


def _metrics(arms: Arms, pruned: str, recovered: str) -> Iterator[RecoveryRow]:
    for measure, arm, data in arms.cells():
        found = contrast(arms.outcomes, measure, data, recovered, pruned) if arm == recovered else None
        if found is None:
            continue
        low, high = ends(found.estimate, arms.level)
        base = contrast(arms.outcomes, measure, data, recovered, BASE)
        yield RecoveryRow(
            pruned=pruned,
            recovered=recovered,
            data=data,
            task=measure.task,
            quantity=measure.metric,
            kind="metric",
            untouched=None if base is None else _mean(arms, base.values[1], measure),
            before=_mean(arms, found.values[1], measure),
            after=_mean(arms, found.values[0], measure),
            difference=found.value,
            low=low,
            high=high,
            level=arms.level,
            no_interval=found.no_interval,
            n=found.n,
            seeds=len(found.seeds),
            scope=found.scope.value,
        )


def _mean(arms: Arms, values: FloatArray, measure: Measure) -> float:
    return float(np.average(values, axis=1, weights=arms.outcomes.items[measure].weights).mean())


def _texts(arms: Arms, base: Responses | None, before: Responses, after: Responses) -> Iterator[RecoveryRow]:
    lines = [line for each in (before, after) for run in each.runs for line in run]
    for probe in dict.fromkeys(name for line in lines for name in line["probes"]):
        yield from _row(arms, base, before, after, probe, "probe", partial(_probe, probe))
    for error in sorted({line["code"]["error"] for line in lines if "code" in line} - PASSED):
        yield from _row(arms, base, before, after, error, "code error", partial(_ended, error))


def _by_item(run: Sequence[Line], value: Callable[[Line], float | None]) -> Mapping[str, float]:
    """The value of every item for which it is defined, the mean of its draws where there are several."""
    found: dict[str, list[float]] = {}
    for line in run:
        if (own := value(line)) is not None:
            found.setdefault(line["item"], []).append(own)
    return {item: fmean(draws) for item, draws in found.items()}


def _probe(name: str, line: Line) -> float | None:
    found: float | None = line["probes"].get(name)
    return found


def _ended(error: str, line: Line) -> float | None:
    return float(line["code"]["error"] == error) if "code" in line else None


def _row(
    arms: Arms,
    base: Responses | None,
    before: Responses,
    after: Responses,
    quantity: str,
    kind: Literal["probe", "code error"],
    value: Callable[[Line], float | None],
) -> Iterator[RecoveryRow]:
    """Nothing where the quantity is defined for no item before and after."""
    runs = [[_by_item(run, value) for run in each.runs] for each in (before, after)]
    items = [item for item in runs[0][0] if all(item in run for side in runs for run in side)]
    if not items:
        return
    was, now = (np.array([[run[item] for item in items] for run in side]) for side in runs)
    floor, size = Floor.DIFFERENCE if kind == "code error" else None, float(max(np.abs(was).max(), np.abs(now).max()))
    table = now - was
    low, high = ends(mean_of(table, floor=floor, magnitude=size), arms.level)
    bare = [] if base is None else [*_by_item(base.runs[0], value).values()]
    yield RecoveryRow(
        pruned=before.arm,
        recovered=after.arm,
        data=after.data,
        task=after.task,
        quantity=quantity,
        kind=kind,
        untouched=float(np.mean(bare)) if bare else None,
        before=float(was.mean()),
        after=float(now.mean()),
        difference=float(table.mean()),
        low=low,
        high=high,
        level=arms.level,
        no_interval=no_interval(table, floor, size),
        n=len(items),
        seeds=len(after.runs),
        scope=scope_of(after.seeds).value,
    )
