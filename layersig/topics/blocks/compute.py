"""Every quantity of a sweep: each block against the whole model on the same items, and all blocks together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from layersig.analysis.multiplicity import benjamini_hochberg
from layersig.analysis.results import Estimate, FloatArray
from layersig.analysis.simultaneous import LargestT, largest_of
from layersig.analysis.tables import Floor, mean_of, no_interval
from layersig.findings.responses import PASSED
from layersig.recipe.schema import BASE, Recipe
from layersig.records import Cell, block_label
from layersig.topics.blocks.rows import BlockRow
from layersig.topics.blocks.sweep import Sweep, generator_of

Kind = Literal["metric", "probe", "code error"]


@dataclass(frozen=True, slots=True, eq=False)
class _Quantity:
    """One quantity of a task on the units of a sweep.

    Attributes:
        whole: With all blocks, shape (units,); NaN where it is not defined.
        without: Without each block, same shape, by block.
        shares: Share of each unit in the weight of all; None where all are equal.
        floor: What right or wrong outcomes add to a difference, see `analysis.tables`.
        n: Items, where these are not the units.
    """

    task: str
    name: str
    kind: Kind
    primary: bool
    whole: FloatArray
    without: Mapping[int, FloatArray]
    shares: FloatArray | None = None
    floor: Floor | None = None
    n: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Effect:
    """A block's difference from the whole model, and what each unit adds to it beyond its expectation."""

    whole: float
    without: float
    n: int
    estimate: Estimate | None
    no_interval: str | None
    contributions: FloatArray


def block_rows(found: Sequence[Sweep], recipe: Recipe) -> Iterator[BlockRow]:
    """Every quantity of every sweep, block by block, with bands and p-values over the blocks."""
    for sweep in found:
        rows = [row for each in _quantities(sweep) for row in _of_quantity(sweep, each, recipe)]
        yield from _discovered(rows)


def _quantities(sweep: Sweep) -> Iterator[_Quantity]:
    yield from _metrics(sweep)
    yield from _probes(sweep)
    yield from _endings(sweep)


def _metrics(sweep: Sweep) -> Iterator[_Quantity]:
    outcomes = sweep.outcomes
    for measure, cells in outcomes.values.items():
        items = outcomes.items[measure]
        labels = {block: Cell(arm=block_label(block)) for block in sweep.blocks}
        without = {block: items.unit_values(cells[cell]) for block, cell in labels.items() if cell in cells}
        if Cell(arm=BASE) in cells:
            yield _Quantity(
                measure.task,
                measure.metric,
                "metric",
                outcomes.primary(measure),
                items.unit_values(cells[Cell(arm=BASE)]),
                without,
                items.shares,
                Floor.DIFFERENCE if outcomes.are_shares(measure) else None,
                len(items.names),
            )


def _probes(sweep: Sweep) -> Iterator[_Quantity]:
    for task, lines in _by_task(sweep).items():
        names = dict.fromkeys(name for of_model in lines.values() for line in of_model for name in line["probes"])
        for name in names:
            values = {label: {line["item"]: line["probes"].get(name) for line in own} for label, own in lines.items()}
            yield _on_items(sweep, task, name, "probe", values)


def _endings(sweep: Sweep) -> Iterator[_Quantity]:
    for task, lines in _by_task(sweep).items():
        ended = {
            label: {line["item"]: line["code"]["error"] for line in own if "code" in line}
            for label, own in lines.items()
        }
        for error in sorted({error for of_model in ended.values() for error in of_model.values()} - PASSED):
            shares = {label: {item: float(own[item] == error) for item in own} for label, own in ended.items()}
            yield _on_items(sweep, task, error, "code error", shares, Floor.DIFFERENCE)


def _by_task(sweep: Sweep) -> dict[str, dict[str, Sequence[Mapping[str, Any]]]]:
    """The lines that each model wrote, by task and label of the model."""
    found: dict[str, dict[str, Sequence[Mapping[str, Any]]]] = {}
    for each in sweep.texts:
        found.setdefault(each.task, {})[each.arm] = each.runs[0]
    return {task: lines for task, lines in found.items() if BASE in lines}


def _on_items(
    sweep: Sweep,
    task: str,
    name: str,
    kind: Kind,
    values: Mapping[str, Mapping[str, float | None]],
    floor: Floor | None = None,
) -> _Quantity:
    items = list(values[BASE])

    def vector(label: str) -> FloatArray:
        own = values[label]
        return np.array([np.nan if (value := own.get(item)) is None else value for item in items])

    labels = {block: block_label(block) for block in sweep.blocks}
    without = {block: vector(label) for block, label in labels.items() if label in values}
    return _Quantity(task, name, kind, False, vector(BASE), without, None, floor)


def _of_quantity(sweep: Sweep, quantity: _Quantity, recipe: Recipe) -> Iterator[BlockRow]:
    level = 1 - recipe.analyze.alpha
    effects = {
        block: effect for block, own in quantity.without.items() if (effect := _effect(quantity, own)) is not None
    }
    estimates = {block: each.estimate for block, each in effects.items() if each.estimate is not None}
    law = largest_t(
        [effects[block].contributions for block in estimates],
        list(estimates.values()),
        generator_of(recipe, sweep, quantity.task, quantity.name),
    )
    for block, each in effects.items():
        estimate = each.estimate
        single = None if estimate is None else estimate.interval(level)
        band = None if estimate is None or law is None else estimate.interval(law.single_level(level))
        yield BlockRow(
            scorer=sweep.cell.scorer or "",
            data=sweep.cell.data,
            seed=sweep.cell.seed,
            task=quantity.task,
            quantity=quantity.name,
            kind=quantity.kind,
            primary=quantity.primary,
            block=block,
            whole=each.whole,
            without=each.without,
            difference=each.without - each.whole,
            low=None if single is None else single.low,
            high=None if single is None else single.high,
            band_low=None if band is None else band.low,
            band_high=None if band is None else band.high,
            level=level,
            p=None if estimate is None else estimate.p_value(),
            p_max_t=None if estimate is None or law is None else law.p_value(_t(estimate)),
            p_bh=None,
            n=each.n,
            no_interval=each.no_interval,
        )


def _effect(quantity: _Quantity, own: FloatArray) -> _Effect | None:
    """None where the quantity is not defined for any item with and without the block."""
    defined = ~(np.isnan(own) | np.isnan(quantity.whole))
    count = int(defined.sum())
    if not count:
        return None
    whole, without = quantity.whole[defined], own[defined]
    table, size = (without - whole)[None], float(max(np.abs(whole).max(), np.abs(without).max()))
    contributions = np.zeros(own.size)
    contributions[defined] = (table[0] - table.mean()) / count
    return _Effect(
        float(whole.mean()),
        float(without.mean()),
        count if quantity.n is None else quantity.n,
        mean_of(table, quantity.shares, quantity.floor, size),
        no_interval(table, quantity.floor, size),
        contributions,
    )


def _t(estimate: Estimate) -> float:
    return (estimate.value if estimate.centre is None else estimate.centre) / estimate.se


def largest_t(
    contributions: Sequence[FloatArray], estimates: Sequence[Estimate], rng: np.random.Generator
) -> LargestT | None:
    """The law of the largest t over blocks; None where no block has an error.

    Args:
        contributions: What each unit adds to the effect of each block.
        estimates: The effects.
        rng: For the draws behind the law.
    """
    if not estimates:
        return None
    errors = np.array([each.se for each in estimates])
    return largest_of(np.stack(contributions), errors, min(each.df for each in estimates), rng)


def _discovered(rows: Sequence[BlockRow]) -> Iterator[BlockRow]:
    """The rows of one sweep with Benjamini and Hochberg's p-values, over all rows of a kind."""
    adjusted: dict[int, float] = {}
    for kind in dict.fromkeys(row.kind for row in rows):
        tested = [(place, row.p) for place, row in enumerate(rows) if row.kind == kind and row.p is not None]
        if tested:
            places, values = zip(*tested, strict=True)
            adjusted |= dict(zip(places, benjamini_hochberg(np.array(values)).tolist(), strict=True))
    return (row.model_copy(update={"p_bh": adjusted.get(place)}) for place, row in enumerate(rows))
