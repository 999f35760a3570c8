"""Sweeps over single blocks on tasks: each block against the whole model on the same items, and all blocks together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from layersig.analysis.multiplicity import benjamini_hochberg
from layersig.analysis.results import Estimate, FloatArray, Interval
from layersig.analysis.retention import RatioPart, mean_of_ratios, ratio_of_tables
from layersig.analysis.simultaneous import LargestT, largest_of
from layersig.analysis.tables import Floor, mean_of, no_interval
from layersig.findings.arms import BASE, Arms
from layersig.findings.files import RunFiles
from layersig.findings.forms import WrittenForm
from layersig.findings.outcomes import Measure, OutcomeTables, outcome_tables
from layersig.findings.plan import Plan
from layersig.findings.responses import PASSED, Responses, group_responses
from layersig.findings.shown import finite_set
from layersig.jsonform import Open, read_json, read_jsonl, read_rows
from layersig.recipe.schema import Recipe
from layersig.records import WHOLE, Cell, Outcome, OutcomeForm, block_label, labelled_block
from layersig.streams import Streams
from layersig.topics.blocks.rows import BlockMeanRow, BlockRetentionRow, BlockRow
from layersig.topics.retention.compute import class_rows, ratio_parts, retention_rows
from layersig.topics.retention.rows import RetentionRow

Kind = Literal["metric", "probe", "code error"]


class _ResultsForm(Open):
    """`results.json` of an evaluation without a block."""

    tasks: dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Sweep:
    """What one scorer measured on tasks, with the whole model in the place of the untouched base.

    Attributes:
        cell: The scorer, and its data set and seed where it depends on them.
        blocks: Numbers of the blocks that were left out, one at a time.
        outcomes: Outcomes by measure; the arms are `base` and `block_label` of each block.
        texts: What was written.
        floors: Outcomes of the whole model without the items' own questions.
        records: What was recorded of each task.
    """

    cell: Cell
    blocks: tuple[int, ...]
    outcomes: OutcomeTables
    texts: tuple[Responses, ...]
    floors: tuple[Outcome, ...]
    records: Mapping[str, Mapping[str, Any]]


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


def block_sweeps(files: RunFiles, stratified: frozenset[str] = frozenset()) -> tuple[Sweep, ...]:
    """Every sweep of a run whose whole model was measured too."""
    return tuple(
        _sweep(cell, folders, stratified)
        for cell, folders in files.ablations().items()
        if WHOLE in folders and len(folders) > 1
    )


def _sweep(cell: Cell, folders: Mapping[str, Any], stratified: frozenset[str]) -> Sweep:
    labels = {block: label for label in folders if (block := labelled_block(label)) is not None}
    cells = {Cell(arm=BASE): folders[WHOLE]}
    cells |= {Cell(arm=block_label(block)): folders[labels[block]] for block in sorted(labels)}
    records = read_json(folders[WHOLE] / "results.json", _ResultsForm)["tasks"]
    directions = {
        Measure(task, metric): bool(higher)
        for task, record in records.items()
        for metric, higher in record.get("higher_is_better", {}).items()
    }
    outcomes = outcome_tables(
        (
            (each, [Outcome.from_json(row) for row in read_rows(path / "items.jsonl", OutcomeForm)])
            for each, path in cells.items()
        ),
        directions,
        stratified,
    )
    answered = {each: path / "responses.jsonl" for each, path in cells.items()}
    texts = group_responses(
        (each, list(read_jsonl(path, WrittenForm))) for each, path in answered.items() if path.exists()
    )
    floors = folders[WHOLE] / "floors.jsonl"
    measured = [Outcome.from_json(row) for row in read_rows(floors, OutcomeForm)] if floors.exists() else []
    return Sweep(cell, tuple(sorted(labels)), outcomes, texts, tuple(measured), records)


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
    law = _law(
        [effects[block].contributions for block in estimates],
        list(estimates.values()),
        _rng(recipe, sweep, quantity.task, quantity.name),
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


def _law(
    contributions: Sequence[FloatArray], estimates: Sequence[Estimate], rng: np.random.Generator
) -> LargestT | None:
    """None where no block has an error."""
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


def block_retention_rows(
    found: Sequence[Sweep], recipe: Recipe, model: str
) -> tuple[tuple[BlockRetentionRow, ...], tuple[BlockMeanRow, ...]]:
    """Retention without each block, by task and as the mean over the tasks of a format."""
    by_task: list[BlockRetentionRow] = []
    means: list[BlockMeanRow] = []
    for sweep in found:
        arms = Arms(sweep.outcomes, recipe, Plan(recipe, frozenset()), model)
        kept = retention_rows(arms, sweep.floors, sweep.records)
        by_task += _kept_by_task(sweep, arms, kept)
        means += _kept_by_format(sweep, arms, kept)
    return tuple(by_task), tuple(means)


def _kept_by_task(sweep: Sweep, arms: Arms, kept: Sequence[RetentionRow]) -> Iterator[BlockRetentionRow]:
    for task, metric in dict.fromkeys((row.task, row.metric) for row in kept):
        rows = sorted((row for row in kept if (row.task, row.metric) == (task, metric)), key=_block_of)
        parts = {row.arm: ratio_parts(arms, [row])[0] for row in rows if row.shape is not None}
        law = _law_of_ratios([[part] for part in parts.values()], _rng(arms.recipe, sweep, "retention", task, metric))
        shares = arms.outcomes.items[Measure(task, metric)].shares
        for row in rows:
            part, band = parts.get(row.arm), finite_set(None)
            if part is not None and law is not None:
                whole = ratio_of_tables(
                    part.numerator, part.denominator, law.single_level(arms.level), shares, part.added
                )
                band = finite_set(whole.from_zero())
            yield BlockRetentionRow(
                scorer=sweep.cell.scorer or "",
                data=sweep.cell.data,
                seed=sweep.cell.seed,
                task=task,
                metric=metric,
                primary=row.primary,
                format=row.format,
                block=_block_of(row),
                whole=row.base,
                without=row.value,
                retention=row.retention,
                shape=row.shape,
                low=row.low,
                high=row.high,
                band_shape=band.shape,
                band_low=band.low,
                band_high=band.high,
                floor=row.floor,
                at_floor=row.at_floor,
                corrected=row.corrected,
                corrected_shape=row.corrected_shape,
                corrected_low=row.corrected_low,
                corrected_high=row.corrected_high,
                level=row.level,
                n=row.n,
                no_interval=row.no_interval,
            )


def _kept_by_format(sweep: Sweep, arms: Arms, kept: Sequence[RetentionRow]) -> Iterator[BlockMeanRow]:
    means = class_rows(arms, kept)
    for form in dict.fromkeys(row.format for row in means):
        rows = sorted((row for row in means if row.format == form), key=lambda row: labelled_block(row.arm) or 0)
        parts = {}
        for row in rows:
            own = [each for each in kept if each.primary and each.arm == row.arm and each.format == form]
            parts[row.arm] = ratio_parts(arms, [each for each in own if each.retention is not None])
        estimates = {arm: found for arm, each in parts.items() if (found := mean_of_ratios(each)) is not None}
        law = _law_of_ratios([parts[arm] for arm in estimates], _rng(arms.recipe, sweep, "mean retention", form))
        for row in rows:
            band: Interval | None = None
            if law is not None and row.arm in estimates:
                band = estimates[row.arm].interval(law.single_level(arms.level))
            yield BlockMeanRow(
                scorer=sweep.cell.scorer or "",
                data=sweep.cell.data,
                seed=sweep.cell.seed,
                format=form,
                block=labelled_block(row.arm) or 0,
                retention=row.retention,
                low=row.low,
                high=row.high,
                band_low=None if band is None else max(0.0, band.low),
                band_high=None if band is None else band.high,
                level=row.level,
                tasks=row.tasks,
            )


def _law_of_ratios(sums: Sequence[Sequence[RatioPart]], rng: np.random.Generator) -> LargestT | None:
    """The law for several sums of ratios on the same items; the parts of every sum belong to the same tasks."""
    estimates = [mean_of_ratios(parts) for parts in sums]
    known = [
        (np.concatenate([part.contributions() for part in parts]), estimate)
        for parts, estimate in zip(sums, estimates, strict=True)
        if estimate is not None
    ]
    return _law([contributions for contributions, _ in known], [estimate for _, estimate in known], rng)


def _block_of(row: RetentionRow) -> int:
    return labelled_block(row.arm) or 0


def _rng(recipe: Recipe, sweep: Sweep, *names: str) -> np.random.Generator:
    return Streams(recipe.root_seed).generator("sweep", sweep.cell.key, *names)
