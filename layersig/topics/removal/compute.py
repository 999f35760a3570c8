"""Retention over the number of blocks removed: arms that prune alike and differ in that number alone."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

from layersig.analysis.retention import mean_of_ratios, ratio_of_tables
from layersig.findings.arms import Arms
from layersig.findings.files import Selected
from layersig.findings.outcomes import Measure
from layersig.findings.shown import finite_set
from layersig.layers import LayerMap
from layersig.recipe.schema import Arm, Recipe
from layersig.topics.removal.rows import RemovalRow
from layersig.topics.retention.compute import ratio_parts
from layersig.topics.retention.rows import RetentionClassRow, RetentionRow

_SIZES = {"count", "fraction", "like"}
"""Parameters of policies that say how many blocks go, or which arm says it."""


def removal_rows(
    arms: Arms,
    kept: Sequence[RetentionRow],
    means: Sequence[RetentionClassRow],
    selections: Sequence[Selected],
    layers: LayerMap | None,
) -> Iterator[RemovalRow]:
    """The curves of every series of at least two numbers of blocks, by task and as the mean over a format's tasks.

    Args:
        arms: The arms.
        kept: Retention of every arm by task.
        means: The same as means over the tasks of a format.
        selections: What every arm removes.
        layers: The layers of the model; None where no stage looked at it.
    """
    if layers is None:
        return
    removed = _removed(selections, layers)
    for name, members in _series(arms.recipe).items():
        for data in dict.fromkeys(row.data for row in kept):
            sizes = {
                arm: blocks
                for arm in members
                if (blocks := removed.get((arm, data), removed.get((arm, None)))) is not None
            }
            if len(set(sizes.values())) > 1:
                yield from _curves(arms, name, data, sizes, kept, means, len(layers.blocks))


def _removed(selections: Sequence[Selected], layers: LayerMap) -> Mapping[tuple[str, str | None], int]:
    """Number of blocks that an arm removes, the same in all its runs."""
    found = {}
    for each in selections:
        blocks = {layers.by_name[name].block for name in each.selection.layers if name in layers.by_name}
        found[each.cell.arm or "", each.cell.data] = len(blocks)
    return found


def _series(recipe: Recipe) -> Mapping[str, list[str]]:
    """Arms that prune, by what they have in common besides the number of blocks."""
    found: dict[str, list[str]] = {}
    for arm in recipe.arms:
        if arm.action == "prune":
            found.setdefault(_common(arm), []).append(arm.name)
    return found


def _common(arm: Arm) -> str:
    rest = {key: value for key, value in arm.select.params.items() if key not in _SIZES and value not in ((), [], None)}
    parts = [" and ".join(arm.scorers) or arm.select.kind]
    if arm.scorers and arm.select.kind != "lowest":
        parts.append(arm.select.kind)
    parts += [
        f"{key} = {json.dumps(value)}" for key, value in sorted(rest.items()) if (key, value) != ("end", "lowest")
    ]
    parts += [f"ranked on {', '.join(arm.rankings_of)}"] if arm.rankings_of else []
    parts += [f"patched on {arm.patch} examples"] if arm.patch is not None else []
    if arm.recover is not None:
        given = ", ".join(f"{key} = {json.dumps(value)}" for key, value in sorted(arm.recover.items()))
        given = ", ".join(filter(None, [given, "" if arm.recover_on == "all" else f"on {arm.recover_on}"]))
        parts.append(f"recovered{f' ({given})' if given else ''}")
    return ", ".join(parts)


def _curves(
    arms: Arms,
    series: str,
    data: str | None,
    sizes: Mapping[str, int],
    kept: Sequence[RetentionRow],
    means: Sequence[RetentionClassRow],
    of: int,
) -> Iterator[RemovalRow]:
    own = [row for row in kept if row.arm in sizes and row.data in (data, None) and row.retention is not None]
    for task, metric in dict.fromkeys((row.task, row.metric) for row in own):
        rows = sorted(
            (row for row in own if (row.task, row.metric) == (task, metric)), key=lambda row: (sizes[row.arm], row.arm)
        )
        points = sum(row.shape is not None for row in rows)
        for row in rows:
            yield _of_task(arms, series, row, sizes[row.arm], of, points)
    of_format = [row for row in means if row.arm in sizes and row.data in (data, None)]
    for form in dict.fromkeys(row.format for row in of_format):
        rows_of = sorted((row for row in of_format if row.format == form), key=lambda row: (sizes[row.arm], row.arm))
        if rows_of[0].tasks > 1:
            points = sum(row.low is not None for row in rows_of)
            for mean in rows_of:
                parts = [r for r in own if r.primary and (r.arm, r.format) == (mean.arm, form)]
                yield _of_format(arms, series, mean, parts, sizes[mean.arm], of, points)


def _of_task(arms: Arms, series: str, row: RetentionRow, removed: int, of: int, points: int) -> RemovalRow:
    band = finite_set(None)
    if row.shape is not None:
        (part,) = ratio_parts(arms, [row])
        shares = arms.outcomes.items[Measure(row.task, row.metric)].shares
        found = ratio_of_tables(part.numerator, part.denominator, _together(arms, points), shares, part.added)
        band = finite_set(found.from_zero())
    return RemovalRow(
        series=series,
        arm=row.arm,
        data=row.data,
        task=row.task,
        metric=row.metric,
        primary=row.primary,
        format=row.format,
        removed=removed,
        of=of,
        retention=row.retention or 0.0,
        shape=row.shape,
        low=row.low,
        high=row.high,
        band_shape=band.shape,
        band_low=band.low,
        band_high=band.high,
        level=row.level,
        points=points,
        floor=row.floor / row.base if row.floor is not None and row.base else None,
        n=row.n,
        seeds=row.seeds,
        scope=row.scope,
    )


def _of_format(
    arms: Arms, series: str, mean: RetentionClassRow, rows: Sequence[RetentionRow], removed: int, of: int, points: int
) -> RemovalRow:
    known = mean.low is not None
    estimate = mean_of_ratios(ratio_parts(arms, rows)) if known else None
    band = None if estimate is None else estimate.interval(_together(arms, points))
    return RemovalRow(
        series=series,
        arm=mean.arm,
        data=mean.data,
        task=None,
        metric=None,
        primary=True,
        format=mean.format,
        removed=removed,
        of=of,
        retention=mean.retention,
        shape="interval" if known else None,
        low=mean.low,
        high=mean.high,
        band_shape=None if band is None else "interval",
        band_low=None if band is None else max(0.0, band.low),
        band_high=None if band is None else band.high,
        level=mean.level,
        points=points,
        floor=None,
        n=None,
        seeds=mean.seeds,
        scope=mean.scope,
    )


def _together(arms: Arms, points: int) -> float:
    """Coverage of each point with which all of them are covered, whatever their dependence."""
    return 1 - (1 - arms.level) / points
