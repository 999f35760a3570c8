"""Rankings and selections of a run as tables: scores over seeds, where the top lies, what each arm selects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from layersig.analysis.selections import descending_ranks, top_k
from layersig.findings.files import Scored, Selected
from layersig.findings.rows.layers import (
    ConcentrationRow,
    LayerRow,
    RankedLayerRow,
    RankingRow,
    SelectedLayerRow,
    SelectionRow,
)
from layersig.layers import Group, LayerMap
from layersig.recipe.schema import CONTROL_KINDS, Recipe
from layersig.records import Cell

_DEPTH_PARTS = 3


@dataclass(frozen=True, slots=True, eq=False)
class ScoreTable:
    """The rankings of one scorer on one data set at one checkpoint, a row a seed.

    Attributes:
        cell: The common cell, without a seed.
        kind: Registered kind of the scorer.
        seeds: Seed of each row.
        scores: Shape (seeds, units), units in model order.
        ties: Most tied units in any row.
        coverage: Share of units with a score of their own; None where the scorer looked at every unit.
    """

    cell: Cell
    kind: str
    seeds: tuple[int | None, ...]
    scores: NDArray[np.float64]
    ties: int
    coverage: float | None = None

    @property
    def control(self) -> bool:
        """Whether the scorer ignores the model and the data."""
        return self.kind in CONTROL_KINDS

    @property
    def named(self) -> str:
        """What sentences call it, such as `ila on norobots at 25 % of the reference training`."""
        data = "" if self.cell.data is None else f" on {self.cell.data}"
        early = self.cell.checkpoint not in (None, 1.0)
        when = f" at {self.cell.checkpoint:.0%} of the reference training" if early else ""
        return f"{self.cell.scorer}{data}{when}"

    @property
    def run_cells(self) -> frozenset[Cell]:
        """The cells of all rows."""
        return frozenset(map(self.run_cell, range(len(self.seeds))))

    def run_cell(self, row: int) -> Cell:
        """The cell of one row, seed included."""
        return Cell(scorer=self.cell.scorer, data=self.cell.data, seed=self.seeds[row], checkpoint=self.cell.checkpoint)


def score_tables(rankings: Sequence[Scored], groups: Sequence[Group], recipe: Recipe) -> tuple[ScoreTable, ...]:
    """Group the rankings of a run by everything but the seed, in the recipe's order; control scorers come last."""
    tables = []
    for cell, members in groupby(
        sorted(rankings, key=lambda s: _label(_seedless(s.cell))), lambda s: _seedless(s.cell)
    ):
        runs = list(members)
        scores = np.array([[run.ranking.scores[group.name] for group in groups] for run in runs], dtype=np.float64)
        choice = recipe.scorers.get(cell.scorer or "")
        kind = choice.kind if choice is not None else str(cell.scorer)
        seeds = tuple(run.cell.seed for run in runs)
        ties, coverage = max(run.ranking.ties for run in runs), runs[0].ranking.coverage
        tables.append(ScoreTable(cell, kind, seeds, scores, ties, coverage))
    order = {name: place for place, name in enumerate(recipe.scorers)}
    return tuple(sorted(tables, key=lambda table: (table.control, order.get(table.cell.scorer or "", len(order)))))


def layer_rows(groups: Sequence[Group]) -> tuple[LayerRow, ...]:
    """One row a unit."""
    return tuple(
        LayerRow(number=number, layer=group.name, block=group.block, kind=group.kind, parameters=group.parameters)
        for number, group in enumerate(groups)
    )


def ranking_row(table: ScoreTable) -> RankingRow:
    """The ranking as a whole."""
    return RankingRow(
        scorer=table.cell.scorer or "",
        kind=table.kind,
        control=table.control,
        data=table.cell.data,
        checkpoint=table.cell.checkpoint,
        runs=len(table.seeds),
        ties=table.ties,
        coverage=table.coverage,
    )


def ranked_layer_rows(table: ScoreTable, layers: Sequence[LayerRow]) -> tuple[RankedLayerRow, ...]:
    """The mean score and rank of every unit with its range over the seeds."""
    mean = table.scores.mean(axis=0)
    rank = descending_ranks(mean) + 1
    ranks = descending_ranks(table.scores) + 1
    return tuple(
        RankedLayerRow(
            scorer=table.cell.scorer or "",
            data=table.cell.data,
            checkpoint=table.cell.checkpoint,
            number=layer.number,
            layer=layer.layer,
            block=layer.block,
            kind=layer.kind,
            score=float(mean[i]),
            score_low=float(table.scores[:, i].min()),
            score_high=float(table.scores[:, i].max()),
            rank=int(rank[i]),
            rank_low=int(ranks[:, i].min()),
            rank_high=int(ranks[:, i].max()),
        )
        for i, layer in enumerate(layers)
    )


def concentration_rows(table: ScoreTable, layers: Sequence[LayerRow], k: int) -> tuple[ConcentrationRow, ...]:
    """How the top k spread over module types and over thirds of the depth."""
    selected = top_k(table.scores, k)
    kinds = list(dict.fromkeys(layer.kind for layer in layers))
    members = {("kind", kind): [layer.kind == kind for layer in layers] for kind in kinds}
    blocks = [layer.block for layer in layers]
    numbered = [block for block in blocks if block is not None]
    for part in np.array_split(np.arange(max(numbered, default=-1) + 1), _DEPTH_PARTS):
        if part.size:
            name = f"blocks {part[0]}-{part[-1]}" if part.size > 1 else f"block {part[0]}"
            members["depth", name] = [block is not None and part[0] <= block <= part[-1] for block in blocks]
    rows = []
    for (by, name), mask in members.items():
        counts = selected[:, np.array(mask)].sum(axis=1)
        rows.append(
            ConcentrationRow(
                scorer=table.cell.scorer or "",
                data=table.cell.data,
                checkpoint=table.cell.checkpoint,
                k=k,
                by="kind" if by == "kind" else "depth",
                group=name,
                layers=int(np.sum(mask)),
                selected=float(counts.mean()),
                selected_low=int(counts.min()),
                selected_high=int(counts.max()),
                share=float(counts.mean() / np.sum(mask)),
                expected=k / len(layers),
            )
        )
    return tuple(rows)


def selection_rows(selections: Sequence[Selected], layers: LayerMap, recipe: Recipe) -> tuple[SelectionRow, ...]:
    """What each arm selects, one row a data set."""
    policies = {arm.name: arm for arm in recipe.arms}
    everything = sum(layer.parameters for layer in layers)
    rows = []
    for (arm, data), runs in _by_arm(selections).items():
        declared = policies.get(arm)
        parameters = float(np.mean([run.selection.parameters for run in runs]))
        rows.append(
            SelectionRow(
                arm=arm,
                data=data,
                policy=_policy(declared.select.kind, declared.select.params, declared.scorers) if declared else "all",
                scorers=declared.scorers if declared else (),
                ranked_on=declared.rankings_of if declared else (),
                control=declared is not None and recipe.is_control(declared),
                action=declared.action if declared else "tune",
                runs=len(runs),
                layers=float(np.mean([len(run.selection.layers) for run in runs])),
                of=len(layers),
                parameters=parameters,
                share_of_parameters=parameters / everything,
            )
        )
    return tuple(rows)


def selected_layer_rows(selections: Sequence[Selected], layers: LayerMap) -> tuple[SelectedLayerRow, ...]:
    """How many runs of an arm selected each layer; layers that no run selected are left out."""
    rows = []
    for (arm, data), runs in _by_arm(selections).items():
        for number, layer in enumerate(layers):
            count = sum(layer.name in run.selection.layers for run in runs)
            if count:
                rows.append(
                    SelectedLayerRow(
                        arm=arm,
                        data=data,
                        number=number,
                        layer=layer.name,
                        block=layer.block,
                        kind=layer.kind,
                        selected=count,
                        runs=len(runs),
                    )
                )
    return tuple(rows)


def _by_arm(selections: Sequence[Selected]) -> Mapping[tuple[str, str | None], list[Selected]]:
    grouped: dict[tuple[str, str | None], list[Selected]] = {}
    for selected in selections:
        grouped.setdefault((selected.cell.arm or "", selected.cell.data), []).append(selected)
    return grouped


def _policy(kind: str, params: Mapping[str, object], scorers: Sequence[str]) -> str:
    told = [f"by {' and '.join(scorers)}"] if scorers else []
    return ", ".join([kind, *told, *(f"{key} {value}" for key, value in params.items())])


def _seedless(cell: Cell) -> Cell:
    return Cell(scorer=cell.scorer, data=cell.data, checkpoint=cell.checkpoint)


def _label(cell: Cell) -> tuple[str, str, float]:
    return cell.scorer or "", cell.data or "", cell.checkpoint or 0.0
