"""How much paired differences of two arms vary: from a pilot, or as assumed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from layersig.analysis.power import planned_variances, sd_upper_limit
from layersig.analysis.results import FloatArray
from layersig.analysis.twoway import mean_squares
from layersig.errors import UserError
from layersig.findings.contrasts import contrast
from layersig.findings.files import RunFiles
from layersig.findings.outcomes import Measure, OutcomeTables, outcome_tables
from layersig.judging.records import SCORE
from layersig.planning.declared import DeclaredComparison
from layersig.planning.facts import Facts
from layersig.recipe.schema import ALL_LAYERS, BASE
from layersig.store.runfolder import RunFolder, all_runs, find_run

Variances = tuple[float, float, float]
"""Components of variance of one cell of a table of paired differences: training runs, items, and the rest."""


class Spread(NamedTuple):
    """Variance components of independent units to plan with: of items, or of clusters of them.

    Attributes:
        planned: At the upper 80 % limit of what a pilot shows; as assumed without one.
        seen: As the pilot shows them.
        origin: Where they come from, for people.
        gain: Gain of all layers over the untouched model in the pilot; None where unknown.
        assumed: Whether a part of them is a default that nothing was measured or stated for.
        cluster: Items of a unit on average; 1 where every item stands alone.
    """

    planned: Variances
    seen: Variances
    origin: str
    gain: float | None
    assumed: bool
    cluster: float = 1.0


@dataclass(frozen=True)
class Pilot:
    """A finished run whose outcomes tell how much differences vary.

    Attributes:
        folder: The run.
        parts: Whether the planned study takes the parts of a pooled task for fixed ones or for a sample.
    """

    folder: RunFolder
    parts: str = "fixed"

    @property
    def name(self) -> str:
        """How `status` calls it."""
        return self.folder.name

    @cached_property
    def outcomes(self) -> OutcomeTables:
        """Its outcomes."""
        files = RunFiles(self.folder.path)
        return outcome_tables(files.evaluations(), files.directions, files.fixed_strata(self.parts))

    def tables(self, wanted: DeclaredComparison, required: float | None) -> Iterator[FloatArray]:
        """Tables of differences like those of a comparison: of the same arms, or else of every arm with all layers.

        Args:
            wanted: The comparison or claim.
            required: Of a claim, the share of the gain that is to be kept: the tables are then of what arms keep
                beyond it.
        """
        measure = self.measure(wanted.measure)
        if measure is None:
            return
        cells = [cell for cell in self.outcomes.values[measure] if cell.arm not in (BASE, ALL_LAYERS, None)]
        arms = dict.fromkeys((cell.arm or "", cell.data) for cell in cells)
        same = [(arm, data) for arm, data in arms if arm == wanted.arm]
        for arm, data in same or arms:
            reference = wanted.reference if same else ALL_LAYERS
            found = self._table(measure, arm, reference, data)
            if found is not None and required is not None:
                own, everything = (self._table(measure, each, BASE, data) for each in (arm, ALL_LAYERS))
                found = None if own is None or everything is None else own - required * everything
            if found is not None:
                yield found

    def gain(self, measure: Measure) -> float | None:
        """Gain of all layers over the untouched model, positive where they are better, averaged over data sets."""
        own = self.measure(measure)
        if own is None:
            return None
        data = {cell.data for cell in self.outcomes.values[own] if cell.arm == ALL_LAYERS}
        found = [contrast(self.outcomes, own, each, ALL_LAYERS, BASE) for each in sorted(data, key=str)]
        sign = 1.0 if own.higher_is_better else -1.0
        values = [sign * each.value for each in found if each is not None]
        return float(np.mean(values)) if values else None

    def cluster(self, measure: Measure) -> float:
        """Items of an independent unit on average; 1 where it has no such outcome."""
        own = self.measure(measure)
        items = None if own is None else self.outcomes.items[own]
        return 1.0 if items is None else len(items.names) / items.units

    def measure(self, wanted: Measure) -> Measure | None:
        """The pilot's measure of that task and kind; of held-out losses, any."""
        task = wanted.task.partition("/")[0]
        known = [each for each in self.outcomes.values if each.kind == wanted.kind]
        exact = [each for each in known if each.task.partition(">")[0] == wanted.task]
        alike = [each for each in known if each.task.partition("/")[0].partition(">")[0] == task]
        return next(iter([*exact, *alike]), None)

    def _table(self, measure: Measure, arm: str, reference: str, data: str | None) -> FloatArray | None:
        cells = {cell.arm for cell in self.outcomes.values[measure]}
        if not {arm, reference} <= cells:
            return None
        found = contrast(self.outcomes, measure, data, arm, reference)
        return None if found is None else found.differences


def pilot_of(facts: Facts, wanted: str | None, runs: Path) -> Pilot | None:
    """The pilot that the user names, or the newest complete run of the same model below the folder of runs.

    Smoke runs are none: their numbers mean nothing.

    Raises:
        UserError: The run that is named is none, is not finished, or is a smoke run.
    """
    if wanted is not None:
        folder = find_run(runs, wanted)
        if not folder.status().startswith("complete"):
            raise UserError(f"--pilot {wanted}: the run is {folder.status()}; name one that is complete")
        if folder.manifest()["smoke"]:
            raise UserError(f"--pilot {wanted}: a smoke run tells nothing of a study; name another run")
        return Pilot(folder, facts.recipe.analyze.parts)
    source = facts.known.sources.get("source/model")
    if source is None:
        return None
    fitting = []
    for folder in all_runs(runs):
        try:
            manifest = folder.manifest()
            told = manifest["status"].startswith("complete") and not manifest["smoke"]
            if told and folder.model()["digest"] == source.digest:
                fitting.append((manifest.get("finished", ""), folder.name, folder))
        except UserError:  # what is no run of this version is no pilot
            continue
    return Pilot(max(fitting, key=lambda each: each[:2])[2], facts.recipe.analyze.parts) if fitting else None


def spread_of(facts: Facts, wanted: DeclaredComparison, pilot: Pilot | None, required: float | None = None) -> Spread:
    """Variance components of a declared comparison or claim.

    Args:
        facts: What is known and assumed.
        wanted: The comparison or claim.
        pilot: A finished run, if there is one; what is stated counts more.
        required: Of a claim, the share of the gain that is to be kept.
    """
    stated = _assumed(facts, wanted.measure, required)
    kind = _kind(wanted.measure)
    gain = facts.assumed.gain
    names = [name for name in facts.assumed.stated if name.startswith(f"{kind}.")]
    if names or pilot is None:
        return Spread(stated, stated, "stated" if names else "assumed", gain, not names)
    tables = list(pilot.tables(wanted, required))
    gain = pilot.gain(wanted.measure) if gain is None else gain
    if not tables:
        return Spread(stated, stated, f"assumed (no such outcome in {pilot.name})", gain, True)
    cluster = pilot.cluster(wanted.measure)
    several = [table for table in tables if min(table.shape) > 1]
    if several:
        found = [mean_squares(table) for table in several]
        seen = _mean([each.variances for each in found])
        planned = _mean([planned_variances(each) for each in found if any(each.variances)] or [seen])
        return Spread(planned, _floor(seen), f"pilot {pilot.name}", gain, False, cluster)
    # One run an arm says nothing of what varies between runs.
    spread = [float(table.std(ddof=1)) for table in tables if table.shape[1] > 1]
    seen_item = float(np.mean(np.square(spread))) if spread else stated[1] + stated[2]
    items = min(table.shape[1] for table in tables)
    planned_item = sd_upper_limit(seen_item**0.5, max(1, items - 1)) ** 2
    # Which part of it every run would show alike is not known either; the assumed proportion stands in.
    share = stated[1] / (stated[1] + stated[2]) if stated[1] + stated[2] else 0.0
    return Spread(
        (stated[0], share * planned_item, (1 - share) * planned_item),
        (stated[0], share * seen_item, (1 - share) * seen_item),
        f"pilot {pilot.name} for items, assumed between runs",
        gain,
        True,
        cluster,
    )


def _kind(measure: Measure) -> str:
    return "score" if measure.metric == SCORE else "loss" if measure.kind in ("loss", "preference_loss") else "share"


def _assumed(facts: Facts, measure: Measure, required: float | None) -> Variances:
    """Of a claim, the variances of arm - all layers + (1 - required) (all layers - untouched), both alike."""
    kind, spreads = _kind(measure), facts.assumed.spreads
    more = 1.0 if required is None else 1.0 + (1.0 - required) ** 2
    seed, item, residual = (more * spreads[f"{kind}.{each}"] ** 2 for each in ("seed", "item", "residual"))
    return seed, item, residual


def _mean(found: list[Variances]) -> Variances:
    seed, item, residual = np.mean(np.array(found), axis=0).tolist()
    return seed, item, residual


def _floor(variances: Variances) -> Variances:
    seed, item, residual = (max(0.0, each) for each in variances)
    return seed, item, residual
