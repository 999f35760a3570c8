"""The claim "as good as all layers" in its fixed order, on one task and on every task, and the ranks of arms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from layersig.analysis import floors
from layersig.analysis.as_good import MIN_SEEDS_FOR_ONE_CONTROL, AsGood, Steps, conclude, preserved
from layersig.analysis.multiplicity import holm, intersection_union
from layersig.analysis.rank_intervals import MIN_SEEDS_FOR_RANKS, rank_intervals_items_and_seeds
from layersig.analysis.results import Alternative
from layersig.analysis.sentences import Correction, status_of
from layersig.analysis.tables import Floor, mean_of
from layersig.analysis.verdicts import Verdict
from layersig.findings.arms import Arms
from layersig.findings.comparisons import Comparison
from layersig.findings.contrasts import Contrast, contrast
from layersig.findings.controls import standing
from layersig.findings.families import DECLARED, Member
from layersig.findings.files import HELDOUT
from layersig.findings.outcomes import Measure
from layersig.findings.rows.arms import ComparisonRow
from layersig.findings.rows.claims import ArmRankRow, ClaimRow, EveryTaskRow
from layersig.recipe.schema import ALL_LAYERS, BASE, RESERVED_ARMS

_WELL_BELOW = 2.0
"""A declared margin is well below the gain of all layers where that gain is shown to exceed twice the margin: an arm
that is as good by the margin then keeps half of it at least."""


Pair = tuple[Measure, str, str, str | None]
"""Measure, arm, reference and data set of a comparison."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim before it is corrected and concluded.

    Attributes:
        measure: Task and metric.
        arm: The arm that may be as good as all layers.
        data: Data set that it was trained on.
        steps: P-values of the sequence.
        margin: What all layers have to gain more than.
        sets: Random sets behind the last step.
        control: The random control that it has to beat.
        all_gain: All layers against the untouched model.
        declared: Whether its comparison with all layers is declared.
    """

    measure: Measure
    arm: str
    data: str | None
    steps: Steps
    margin: float
    sets: int
    control: str
    all_gain: Contrast
    declared: bool

    @property
    def family(self) -> str:
        """What is declared is one family with the declared comparisons; else the claims of all arms on one task.

        What holds on every task (`every_task_rows`) then holds on each.
        """
        return DECLARED if self.declared else f"exploratory claims: {self.measure.task}, {self.data}"

    @property
    def member(self) -> Member:
        """Steps (i) and (ii), and then all steps where a random control can tell, to be corrected."""
        return Member(self.family, self.steps.as_good, self.steps.selective)


def claims(arms: Arms, compared: Sequence[Comparison]) -> Iterator[Claim]:
    """The fixed sequence of every arm that has a random control, on every primary measure with a margin.

    With enough random control sets, the last step is the arm's rank among them; with fewer, its difference from the
    first, and only where several training runs tell how sets differ.
    """
    declared = {
        (each.found.measure, each.found.arm, each.found.data)
        for each in compared
        if each.declared and each.found.reference == ALL_LAYERS
    }
    for measure, arm, data in arms.cells():
        found = _claim(arms, measure, arm, data, declared=(measure, arm, data) in declared)
        if found is not None:
            yield found


def claim_row(
    arms: Arms, claim: Claim, as_good: Correction, selective: Correction | None, rows: Mapping[Pair, ComparisonRow]
) -> ClaimRow:
    """A claim with what its corrected steps allow; never as good where a verdict says worse, nor selective against one.

    Args:
        arms: The arms.
        claim: The claim.
        as_good: Correction of steps (i) and (ii).
        selective: Correction of all steps; None where no random control can tell.
        rows: Every comparison with its verdict.
    """
    steps, alpha = claim.steps, arms.plan.alpha
    beside, control = (rows.get((claim.measure, claim.arm, other, claim.data)) for other in (ALL_LAYERS, claim.control))
    no_better = control is not None and control.verdict is not None and not _leaves_better(control)
    last = None if selective is None else selective.p
    conclusion = conclude(steps.gains, as_good.p, None if no_better else last, worse=_says_worse(beside), alpha=alpha)
    tested = steps.gains <= alpha
    return ClaimRow(
        arm=claim.arm,
        data=claim.data,
        task=claim.measure.task,
        metric=claim.measure.metric,
        margin=claim.margin,
        required=arms.plan.required,
        assay_p=steps.gains,
        keeps_p=steps.keeps if tested else None,
        beats_random_p=steps.beats_random if tested and as_good.p <= alpha else None,
        control_sets=claim.sets,
        declared=claim.declared,
        family=claim.family,
        family_size=as_good.tests,
        as_good_p=as_good.p,
        selective_p=last,
        conclusion=conclusion.value,
        sentence=_sentence(arms, claim, conclusion, as_good.tests, as_good.p, last),
        scope=claim.all_gain.scope.value,
        seeds=len(claim.all_gain.seeds),
        n=claim.all_gain.n,
    )


def every_task_rows(arms: Arms, claims: Sequence[ClaimRow]) -> Iterator[EveryTaskRow]:
    """Whether arms are as good as all layers on every benchmark; one arm on one data set a row.

    Never so where the claim is not made of one of the tasks, whatever family that one is corrected in.
    """
    by_arm: dict[tuple[str | None, str], list[ClaimRow]] = {}
    for row in claims:
        if not row.task.startswith(f"{HELDOUT}/"):
            by_arm.setdefault((row.data, row.arm), []).append(row)
    several = {key: rows for key, rows in by_arm.items() if len({row.task for row in rows}) > 1}
    if not several:
        return
    p = [
        intersection_union(np.array([1.0 if row.keeps_p is None else max(row.assay_p, row.keeps_p) for row in rows]))
        for rows in several.values()
    ]
    tests = "1 such test" if len(several) == 1 else f"{len(several)} such tests"
    for ((data, arm), rows), own, adjusted in zip(several.items(), p, holm(np.array(p)), strict=True):
        tasks = tuple(row.task for row in rows)
        each = all(row.conclusion in (AsGood.AS_GOOD, AsGood.AS_GOOD_AND_SELECTIVE) for row in rows)
        established = bool(adjusted <= arms.plan.alpha) and each
        said = "is" if established else "is not shown to be"
        yield EveryTaskRow(
            arm=arm,
            data=data,
            tasks=tasks,
            p=own,
            adjusted_p=float(adjusted),
            established=established,
            sentence=f"{status_of(False)}: {arm} {said} as good as all layers on every one of the {len(tasks)} "
            f"benchmarks ({', '.join(tasks)}), trained on {data}, {arms.model}, S = {rows[0].seeds}: "
            f"p = {adjusted:.3g}, the largest of the tasks, corrected for {tests}.",
        )


def _claim(arms: Arms, measure: Measure, arm: str, data: str | None, *, declared: bool) -> Claim | None:
    """The claim; a step that the data cannot test has p = 1, so that what was declared stays in its family."""
    control, margin, required = arms.plan.random_control(arm), arms.plan.margin(measure), arms.plan.required
    if arm in RESERVED_ARMS or control is None or not arms.outcomes.primary(measure):
        return None
    both = arms.seeds_of_both(measure, data, arm) or None
    own, everything = (contrast(arms.outcomes, measure, data, each, BASE, of=both) for each in (arm, ALL_LAYERS))
    if required is None:
        margin = None if (given := arms.plan.declared_margin(measure)) is None else _WELL_BELOW * given
    if own is None or everything is None or margin is None:
        return None
    gain = everything.favourable
    gains_p = 1.0 if gain is None else gain.p_value(margin, Alternative.GREATER)
    keeps_p = 1.0 if both is None else _keeps(arms, own, everything, required, margin)
    beyond = contrast(arms.outcomes, measure, data, arm, control)
    among = standing(arms, measure, arm, data)
    beats_random, sets = None, 0
    if among is not None and among.p is not None:
        beats_random, sets = among.p, among.sets.size
    elif beyond is not None and len(beyond.seeds) >= MIN_SEEDS_FOR_ONE_CONTROL and beyond.favourable is not None:
        beats_random, sets = beyond.favourable.p_value(alternative=Alternative.GREATER), 1
    steps = Steps(gains_p, keeps_p, beats_random)
    return Claim(measure, arm, data, steps, margin, sets, control, everything, declared)


def _keeps(arms: Arms, own: Contrast, everything: Contrast, required: float | None, margin: float) -> float:
    """P-value of step (ii); 1 where the data allow no test."""
    measure = own.measure
    if required is None:
        loss = contrast(arms.outcomes, measure, own.data, own.arm, ALL_LAYERS)
        found = None if loss is None else loss.favourable
        return 1.0 if found is None else found.p_value(-margin / _WELL_BELOW, Alternative.GREATER)
    sign = 1.0 if measure.higher_is_better else -1.0
    gains = (sign * own.differences, sign * everything.differences)
    added = floors.RATIO_OF_DIFFERENCES.shape[1] if own.shares else 0
    kept = mean_of(preserved(*gains, required, solved=own.shares), floors.with_shares(own.items.shares, added))
    if kept is None:
        return 1.0
    p = kept.p_value(alternative=Alternative.GREATER)
    return p if own.look is None else own.look.p_value(p)


def _sentence(arms: Arms, claim: Claim, conclusion: AsGood, size: int, as_good: float, selective: float | None) -> str:
    required = arms.plan.required
    kept = (
        f"at least {100 * required:.3g} % of the gain of all layers"
        if required is not None
        else "all layers but for the declared margin"
    )
    place = (
        f"{claim.measure.metric} of {claim.measure.task}, trained on {claim.data}, {arms.model}, "
        f"S = {len(claim.all_gain.seeds)}, n = {claim.all_gain.n}"
    )
    status = status_of(claim.declared)
    corrected = f"corrected for {size} {status.lower()} tests" if size > 1 else "the only test of its family"
    said, p = {
        AsGood.NOT_TESTED: ("is not tested for being as good as all layers, which are not shown to gain enough", None),
        AsGood.NOT_SHOWN: (f"is not shown to keep {kept}", as_good),
        AsGood.KEEPS_BUT_WORSE: (f"keeps {kept} and is worse than they are", as_good),
        AsGood.AS_GOOD: (f"is as good as all layers, in that it keeps {kept}", as_good),
        AsGood.AS_GOOD_AND_SELECTIVE: (
            f"is as good as all layers, in that it keeps {kept}, and better than matched random",
            selective,
        ),
    }[conclusion]
    figures = "" if p is None else f": p = {p:.3g}, {corrected}"
    return f"{status}: {claim.arm} {said} ({place}){figures}."


def _says_worse(row: ComparisonRow | None) -> bool:
    return row is not None and row.verdict is not None and Verdict(row.verdict).worse


def _leaves_better(row: ComparisonRow) -> bool:
    """Whether a verdict does not deny that the arm is better."""
    verdict = Verdict(str(row.verdict))
    return verdict.better or verdict.open or verdict is Verdict.NOT_WORSE


def arm_rank_rows(arms: Arms) -> Iterator[ArmRankRow]:
    """Simultaneous rank sets of the trained arms on every primary measure, from five seeds on."""
    outcomes = arms.outcomes
    out = {BASE, *arms.plan.further_controls}
    cells = [cell for cell in arms.cells() if cell[1] not in out and outcomes.primary(cell[0])]
    for measure, data in dict.fromkeys((measure, data) for measure, _, data in cells):
        names = [arm for m, arm, d in cells if (m, d) == (measure, data)]
        common = set.intersection(*(set(outcomes.seeds(measure, arm, data)) for arm in names))
        seeds = sorted(seed for seed in common if seed is not None)
        if len(seeds) < MIN_SEEDS_FOR_RANKS or len(names) < 2:
            continue
        tables = np.stack([outcomes.units(measure, arm, data, seeds) for arm in names])
        sign = 1.0 if measure.higher_is_better else -1.0
        if tables.shape[2] < 2:
            continue
        floor = Floor.DIFFERENCE if outcomes.are_shares(measure) else None
        shares = outcomes.items[measure].shares
        look, alpha = outcomes.look_at(seeds), arms.plan.alpha
        level = alpha if look is None else look.level(alpha)
        sets = rank_intervals_items_and_seeds(sign * tables, level, shares, floor)
        for arm, ranks in zip(names, sets, strict=True):
            yield ArmRankRow(
                arm=arm,
                data=data,
                task=measure.task,
                metric=measure.metric,
                value=sign * ranks.mean,
                best=ranks.best,
                worst=ranks.worst,
                seeds=len(seeds),
                level=arms.level,
            )
