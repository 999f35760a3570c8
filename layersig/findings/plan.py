"""What a recipe declares about its comparisons, and which of them were declared before they were measured."""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import dataclass

from layersig.findings.contrasts import Compared
from layersig.findings.files import HELDOUT, RunFiles
from layersig.findings.outcomes import Measure, cells_of
from layersig.findings.rows import Role
from layersig.recipe.schema import RESERVED_ARMS, Recipe
from layersig.records import Cell

BASE = RESERVED_ARMS[0]

CONTROLS: dict[Role, str] = {"random control": "matched-random", "rule control": "type-depth"}
"""Kind of the policy behind each kind of control."""

_MARGINS = {"loss": 0.02}
_MARGIN_OF_SHARES = 0.01


@dataclass(frozen=True, slots=True)
class Plan:
    """The comparisons of a recipe.

    Attributes:
        recipe: The recipe.
        declared_cells: Evaluations (arm, data, seed) that a run with this very declaration computed.
        other_declarations: Other declarations for the same model that were on record by then.
    """

    recipe: Recipe
    declared_cells: Set[Cell]
    other_declarations: int = 0

    @classmethod
    def of(cls, recipe: Recipe, files: RunFiles) -> Plan:
        """The plan of a run; the manifest says which evaluations came after the declaration."""
        stages = [stage for stage in files.manifest["stages"] if stage["kind"] in ("evaluate", "grade")]
        late = {files.cell(stage["cell"]) for stage in stages if not stage.get("declared")}
        others = max((stage.get("other_declarations", 0) for stage in stages), default=0)
        return cls(recipe, {files.cell(stage["cell"]) for stage in stages} - late, others)

    @property
    def baseline(self) -> str:
        """The arm that the others are compared with."""
        return self.recipe.analyze.baseline

    @property
    def alpha(self) -> float:
        """Level of tests."""
        return self.recipe.analyze.alpha

    @property
    def resamples(self) -> int:
        """Draws of bootstraps and surrogates."""
        return self.recipe.analyze.resamples

    @property
    def primary(self) -> tuple[str, ...]:
        """Arms whose comparison with the baseline is confirmatory."""
        if self.recipe.analyze.primary is not None:
            return self.recipe.analyze.primary
        return tuple(arm.name for arm in self.recipe.arms if arm.scorers)[:1]

    def margin(self, measure: Measure) -> float | None:
        """Smallest difference that matters: declared, else one point for shares and 0.02 nats per token (ours)."""
        declared = self.declared_margin(measure)
        default = _MARGIN_OF_SHARES if measure.is_share else _MARGINS.get(measure.kind)
        return default if declared is None else declared

    def required(self, measure: Measure) -> float | None:
        """What "as good as all layers" needs: a share of the gain; None where it is the declared margin instead."""
        kept = self.recipe.analyze.gain_kept
        return None if kept == "margin" else kept

    def declared_margin(self, measure: Measure) -> float | None:
        """The margin that the recipe itself gives."""
        margins = self.recipe.analyze.margins
        return margins.get(measure.metric, margins.get(measure.kind))

    def idle_margins(self, measures: Iterable[Measure]) -> tuple[str, ...]:
        """Metrics that the recipe gives a margin for and nothing measured."""
        named = {name for measure in measures for name in (measure.metric, measure.kind)}
        return tuple(name for name in self.recipe.analyze.margins if name not in named)

    def is_outcome(self, measure: Measure, data: str | None) -> bool:
        """Whether a measure is the declared outcome of arms trained on a data set."""
        wanted = self.recipe.analyze.outcome
        return measure.task == (f"{HELDOUT}/{data}" if wanted == HELDOUT else wanted)

    @property
    def without_data(self) -> frozenset[str]:
        """Models that no data set of the recipe made: the untouched one, and those that arms bring."""
        return frozenset({BASE, *(arm.name for arm in self.recipe.arms if arm.checkpoint is not None)})

    def control(self, arm: str, role: Role) -> str | None:
        """The arm that controls another in a role: of several random controls, the first."""
        return next(iter(self._controls(arm, role)), None)

    def random_controls(self, arm: str) -> tuple[str, ...]:
        """Every random control of an arm."""
        return self._controls(arm, "random control")

    @property
    def further_controls(self) -> frozenset[str]:
        """Random controls behind the first of their arm: they stand for chance together, and none is compared alone."""
        return frozenset(name for arm in self.recipe.arms for name in self.random_controls(arm.name)[1:])

    def _controls(self, arm: str, role: Role) -> tuple[str, ...]:
        found = [each for each in self.recipe.arms if each.select.kind == CONTROLS[role]]
        return tuple(each.name for each in found if each.select.params.get("like") == arm)

    def declared(self, found: Compared) -> bool:
        """Whether the arm is a primary one and both sides were measured under the declaration."""
        return found.arm in self.primary and all(
            any(cell in self.declared_cells for cell in cells_of(arm, found.data, seed))
            for arm in (found.arm, found.reference)
            for seed in found.seeds
        )


def matched_by(recipe: Recipe, control: str) -> str:
    """What a random control has in common with its arm: `types`, `layers` or `parameters`."""
    (found,) = (arm.select.params.get("match", "types") for arm in recipe.arms if arm.name == control)
    return str(found)
