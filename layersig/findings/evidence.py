"""What topics compute their rows from: the files of a run and what several topics derive from them, once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from layersig.analysis.looks import Look
from layersig.findings.arms import Arms
from layersig.findings.conclusions import Conclusions, conclusions
from layersig.findings.corpus import CorpusTables, corpus_tables
from layersig.findings.files import RunFiles, Selected
from layersig.findings.looks import look_of
from layersig.findings.outcomes import OutcomeTables, outcome_tables
from layersig.findings.plan import Plan
from layersig.findings.rankings import ScoreTable, layer_rows, score_tables
from layersig.findings.responses import Responses, responses_of
from layersig.findings.rows.layers import LayerRow
from layersig.findings.samples import Sample, samples
from layersig.findings.unfinished import unfinished
from layersig.findings.unit_grid import Grid, grid_of
from layersig.layers import Group, Unit
from layersig.recipe.schema import RESERVED_ARMS, Recipe

_PAPER_FRACTIONS = (0.30, 0.75)


@dataclass(frozen=True)
class Evidence:
    """A run, complete or not; whatever it lacks is empty.

    Attributes:
        files: The records of the run.
        recipe: Its resolved recipe.
    """

    files: RunFiles
    recipe: Recipe

    @cached_property
    def unit(self) -> Unit:
        """What the tables are about: the recipe's unit, unless all its scorers have one of their own."""
        units = [scored.ranking.unit for scored in self.files.rankings]
        own = Unit(self.recipe.layers.unit)
        return own if own in units or not units else units[0]

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """The units of the model."""
        return self.files.groups(self.unit)

    @cached_property
    def units(self) -> tuple[LayerRow, ...]:
        """The same as rows."""
        return layer_rows(self.groups)

    @cached_property
    def grid(self) -> Grid:
        """Where the units lie."""
        return grid_of(self.units)

    @cached_property
    def tables(self) -> tuple[ScoreTable, ...]:
        """The scores of every ranking of these units, over its seeds."""
        rankings = [scored for scored in self.files.rankings if scored.ranking.unit is self.unit]
        return score_tables(rankings, self.groups, self.recipe) if self.groups else ()

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """The numbers of units that the arms select; the paper's fractions when no arm selects some of them."""
        sizes = set()
        for selected in self.files.selections:
            chosen = set(selected.selection.layers)
            sizes.add(sum(all(layer.name in chosen for layer in group.members) for group in self.groups))
        count = len(self.groups)
        proper = {size for size in sizes if 0 < size < count}
        return tuple(sorted(proper or {round(fraction * count) for fraction in _PAPER_FRACTIONS} - {0}))

    @cached_property
    def samples(self) -> Mapping[str, Sample]:
        """Which rows every data set took."""
        return samples(self.recipe)

    @cached_property
    def plan(self) -> Plan:
        """What was declared."""
        return Plan.of(self.recipe, self.files)

    @cached_property
    def selections(self) -> tuple[Selected, ...]:
        """What the arms select, in the order of the run; without random controls behind the first."""
        return tuple(s for s in self.files.selections if s.cell.arm not in self.plan.further_controls)

    @cached_property
    def ordered_selections(self) -> tuple[Selected, ...]:
        """The same by data set, in the order of the recipe."""
        order = {name: at for at, name in enumerate([*RESERVED_ARMS, *(arm.name for arm in self.recipe.arms)])}
        return tuple(
            sorted(self.selections, key=lambda s: (s.cell.data or "", order.get(s.cell.arm or "", len(order))))
        )

    @cached_property
    def stratified(self) -> frozenset[str]:
        """Pooled tasks whose parts are fixed."""
        return self.files.fixed_strata(self.recipe.analyze.parts)

    @cached_property
    def outcomes(self) -> OutcomeTables:
        """What the arms score, item by item."""
        found = outcome_tables(self.files.evaluations(), self.files.directions, self.stratified)
        return replace(found, look=self.look)

    @cached_property
    def look(self) -> Look | None:
        """Which declared look at the results this is; None without a declaration."""
        return look_of(self.recipe.analyze.looks, len(self.files.manifest["seeds"]))

    @cached_property
    def corpus(self) -> CorpusTables:
        """Metrics that are computed over all items at once."""
        found = corpus_tables(self.files.corpus(), self.files.directions)
        return replace(found, tables=replace(found.tables, look=self.look))

    @cached_property
    def arms(self) -> Arms:
        """The arms, ready to be compared."""
        return Arms(self.outcomes, self.recipe, self.plan, self.files.model_name, self.corpus)

    @cached_property
    def conclusions(self) -> Conclusions:
        """Comparisons, claims and trends of sweeps, corrected together where they are declared."""
        return conclusions(self.arms)

    @cached_property
    def responses(self) -> tuple[Responses, ...]:
        """What the arms wrote."""
        return responses_of(self.files)

    def notes(self) -> Iterator[str]:
        """What the run lacks, and rankings that the tables leave out since they are about other units."""
        files, recipe = self.files, self.recipe
        yield from unfinished(files.manifest["stages"])
        if files.layers is None:
            yield "The layers of the model are not recorded: no stage got as far as loading it."
        if recipe.scorers and not files.rankings:
            yield "The run holds no ranking, although the recipe names scorers."
        if recipe.arms and not files.selections:
            yield "The run holds no selection, although the recipe names arms."
        others = {scored.cell.scorer or "": scored.ranking.unit for scored in files.rankings}
        for name, other in sorted(others.items()):
            if other is not self.unit:
                yield (
                    f"Scorer {name} ranks by {other} and the tables of scores by {self.unit}, so its ranking is in "
                    f'scores.jsonl alone; with layers.unit = "{other}" all stand beside each other.'
                )
