"""What a recipe declares about its comparisons, and which of them were declared before they were measured."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass

from layersig.findings.contrasts import ArmPair
from layersig.findings.files import HELDOUT, RunFiles
from layersig.findings.outcomes import Measure, cells_of
from layersig.findings.rows.base import Role
from layersig.recipe.schema import ALL_LAYERS, BASE, Arm, Recipe
from layersig.records import Cell

CONTROLS: dict[Role, str] = {"random control": "matched-random", "rule control": "type-depth"}
"""Kind of the policy behind each kind of control."""

_MARGINS = {"loss": 0.02, "preference_loss": 0.02}
_MARGIN_OF_SHARES = 0.01


@dataclass(frozen=True, slots=True)
class Plan:
    """The comparisons of a recipe.

    Attributes:
        recipe: The recipe.
        declared_cells: Evaluations (arm, data, seed) that a run with this very declaration computed.
        declared_throughout: Whether these are all evaluations but those of the untouched model.
        other_declarations: Other declarations for the same model that were on record by then.
        declared_rankings: Rankings (scorer, data, seed, checkpoint) that a run with this very declaration computed.
    """

    recipe: Recipe
    declared_cells: Set[Cell]
    other_declarations: int = 0
    declared_throughout: bool = True
    declared_rankings: Set[Cell] = frozenset()

    @classmethod
    def of(cls, recipe: Recipe, files: RunFiles) -> Plan:
        """The plan of a run; the manifest says which evaluations and rankings came after the declaration."""
        stages = [stage for stage in files.manifest["stages"] if stage["kind"] in ("evaluate", "grade")]
        late = {files.cell(stage["cell"]) for stage in stages if not stage.get("declared")}
        scored = [
            stage
            for stage in files.manifest["stages"]
            if stage["kind"] == "score" and stage["cell"].get("scorer") in recipe.analyze.sharing
        ]
        others = max((stage.get("other_declarations", 0) for stage in (*stages, *scored)), default=0)
        return cls(
            recipe,
            {files.cell(stage["cell"]) for stage in stages} - late,
            others,
            all(cell.arm == BASE for cell in late),
            frozenset(files.cell(stage["cell"]) for stage in scored if stage.get("declared")),
        )

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
        return margin_of(measure, self.recipe.analyze.margins)

    @property
    def required(self) -> float | None:
        """What "as good as all layers" needs: a share of the gain; None where it is the declared margin instead."""
        kept = self.recipe.analyze.gain_kept
        return None if kept == "margin" else kept

    def declared_margin(self, measure: Measure) -> float | None:
        """The margin that the recipe itself gives."""
        return _declared_margin(measure, self.recipe.analyze.margins)

    def idle_margins(self, measures: Iterable[Measure]) -> tuple[str, ...]:
        """Metrics that the recipe gives a margin for and nothing measured."""
        named = {name for measure in measures for name in (measure.metric, measure.kind)}
        return tuple(name for name in self.recipe.analyze.margins if name not in named)

    def is_outcome(self, measure: Measure, data: str | None) -> bool:
        """Whether a measure is a declared outcome of arms trained on a data set.

        A task whose rows an embedded benchmark stood in for (`mmlu>pypi:mmlu`) is still the outcome `mmlu`.
        """
        asked = measure.task.partition(">")[0]
        return (HELDOUT if asked == f"{HELDOUT}/{data}" else asked) in self.recipe.analyze.outcomes

    def references(self, arm: str) -> Iterator[tuple[str, Role]]:
        """What an arm is compared with, and why; a pair for one reason only, the first that holds.

        A contrast that the recipe names between an arm and its own control is the comparison with that control. Arms
        with a random control may be called as good as all layers, whatever the baseline, so that they meet them too.
        """
        controls: dict[str, Role] = dict.fromkeys(self._first_of_each_match(arm).values(), "random control")
        if (rule := self.rule_control(arm)) is not None:
            controls.setdefault(rule, "rule control")
        found: dict[str, Role] = {}
        if arm != self.baseline:
            found[self.baseline] = "baseline"
        for first, second in self.recipe.analyze.contrasts:
            if first == arm:
                found.setdefault(second, controls.get(second, "contrast"))
        if self.random_control(arm) is not None:
            found.setdefault(ALL_LAYERS, "all layers")
        for rival in self._rivals(arm):
            found.setdefault(rival, "other scorer")
        for control, role in controls.items():
            found.setdefault(control, role)
        yield from found.items()

    def random_control(self, arm: str) -> str | None:
        """The random control that an arm has to beat: the first that shares its counts by type, else the first."""
        firsts = self._first_of_each_match(arm)
        return firsts.get("types", next(iter(firsts.values()), None))

    @property
    def without_data(self) -> frozenset[str]:
        """Models that no data set of the recipe made: the untouched one, and those that arms bring."""
        return self.brought | {BASE}

    @property
    def brought(self) -> frozenset[str]:
        """Arms that were made elsewhere: each a single model, whatever number of seeds the recipe has."""
        return frozenset(arm.name for arm in self.recipe.arms if arm.checkpoint is not None)

    def rule_control(self, arm: str) -> str | None:
        """The arm that knows module type and depth alone."""
        return next((control.name for control in self._controls(arm, "rule control")), None)

    def random_controls(self, arm: str) -> tuple[str, ...]:
        """Every random control of an arm."""
        return tuple(control.name for control in self._controls(arm, "random control"))

    @property
    def further_controls(self) -> frozenset[str]:
        """Random controls behind the first of their arm and match: they stand for chance together, none alone."""
        return frozenset(
            name
            for arm in self.recipe.arms
            for name in set(self.random_controls(arm.name)) - set(self._first_of_each_match(arm.name).values())
        )

    def _rivals(self, arm: str) -> Iterator[str]:
        """Later arms for which other scorers chose by the same policy, with the same parameters, to the same end."""
        own = next((each for each in self.recipe.arms if each.name == arm), None)
        if own is None or not own.scorers:
            return
        declared = {frozenset(pair) for pair in self.recipe.analyze.contrasts}
        alike = {"name": "", "scorer": None}
        for other in self.recipe.arms[self.recipe.arms.index(own) + 1 :]:
            same = own.model_copy(update=alike) == other.model_copy(update=alike)
            rival = same and other.scorers and other.scorers != own.scorers
            if rival and frozenset((arm, other.name)) not in declared:
                yield other.name

    def _first_of_each_match(self, arm: str) -> dict[str, str]:
        """Controls that are redrawn for every seed come first, since a fixed one is a single draw."""
        firsts: dict[str, str] = {}
        controls = self._controls(arm, "random control")
        for control in sorted(controls, key=_is_fixed):
            firsts.setdefault(_match(control), control.name)
        return firsts

    def _controls(self, arm: str, role: Role) -> Iterator[Arm]:
        for each in self.recipe.arms:
            if each.select.kind == CONTROLS[role] and each.select.params.get("like") == arm:
                yield each

    def declared(self, found: ArmPair) -> bool:
        """Whether the recipe declares the comparison and both sides were measured under the declaration."""
        primary = found.arm in self.primary and found.reference == self.baseline
        asked = primary or (found.arm, found.reference) in self.recipe.analyze.contrasts
        return asked and all(
            any(cell in self.declared_cells for cell in cells_of(arm, found.data, seed))
            for arm in (found.arm, found.reference)
            for seed in found.seeds
        )


def margin_of(measure: Measure, declared: Mapping[str, float]) -> float | None:
    """Smallest difference that matters: declared, else one point for shares and 0.02 nats per token (ours)."""
    default = _MARGIN_OF_SHARES if measure.is_share else _MARGINS.get(measure.kind)
    given = _declared_margin(measure, declared)
    return default if given is None else given


def _declared_margin(measure: Measure, declared: Mapping[str, float]) -> float | None:
    return declared.get(measure.metric, declared.get(measure.kind))


def is_fixed(recipe: Recipe, control: str) -> bool:
    """Whether a random control is the same set in every seed."""
    return any(_is_fixed(arm) for arm in recipe.arms if arm.name == control)


def _is_fixed(control: Arm) -> bool:
    return bool(control.select.params.get("fixed"))


def matched_by(recipe: Recipe, control: str) -> str:
    """What a random control has in common with its arm: `types`, `layers` or `parameters`."""
    return next(_match(arm) for arm in recipe.arms if arm.name == control)


def _match(control: Arm) -> str:
    return str(control.select.params.get("match", "types"))
