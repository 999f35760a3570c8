"""What a scorer measured on tasks without single blocks, read from the run folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from layersig.findings.files import RunFiles
from layersig.findings.forms import WrittenForm
from layersig.findings.outcomes import Measure, OutcomeTables, outcome_tables
from layersig.findings.responses import Responses, group_responses
from layersig.jsonform import Open, read_json, read_jsonl, read_rows
from layersig.recipe.schema import BASE, Recipe
from layersig.records import WHOLE, Cell, Outcome, OutcomeForm, block_label, labelled_block
from layersig.streams import Streams


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


def generator_of(recipe: Recipe, sweep: Sweep, *names: str) -> np.random.Generator:
    """The stream of random draws for one quantity of a sweep."""
    return Streams(recipe.root_seed).generator("sweep", sweep.cell.key, *names)
