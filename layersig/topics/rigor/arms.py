"""What the card demands of comparisons of arms."""

from __future__ import annotations

from collections import Counter
from collections.abc import Set
from math import ceil

from layersig.analysis.as_good import MIN_SEEDS_FOR_ONE_CONTROL
from layersig.analysis.verdicts import Verdict
from layersig.findings.families import DECLARED
from layersig.findings.plan import CONTROLS, matched_by
from layersig.findings.rows.arms import COMPARISONS, RESULTS, SHARES, ComparisonRow
from layersig.findings.rows.layers import SELECTIONS
from layersig.recipe.schema import BASE
from layersig.topics.rigor.demand import Demand, Records, span
from layersig.topics.rigor.rankings import LEAST_SEEDS
from layersig.topics.tuning_cost.rows import TRIALS

_MATCHED = {"types": "number of each type", "layers": "number of layers", "parameters": "number of weights"}


def claims(records: Records) -> list[ComparisonRow]:
    """Comparisons that something may be claimed from: of the one metric that represents its task."""
    return [row for row in records.findings[COMPARISONS] if row.primary and row.arm != BASE]


def error_bars(records: Records) -> Demand | None:
    """A standard error of every value."""
    rows = records.findings[RESULTS]
    if not rows:
        return None
    known = sum(row.se is not None for row in rows)
    what = "over seeds and items" if any(row.seeds > 1 for row in rows) else "over items"
    return Demand(known == len(rows), f"{known} of {len(rows)} values have a standard error {what}.")


def tests(records: Records) -> Demand | None:
    """A paired test of every comparison."""
    rows = claims(records)
    if not rows:
        return None
    known = [row.test for row in rows if row.p is not None]
    names = "; ".join(dict.fromkeys(known))
    evidence = f"{len(known)} of {len(rows)} comparisons of arms are tested, paired by item: {names}."
    return Demand(len(known) == len(rows), evidence)


def corrections(records: Records) -> Demand | None:
    """Verdicts from p-values and intervals that are corrected in their family."""
    rows = claims(records)
    if not rows:
        return None
    sizes = {row.family: row.family_size or 0 for row in rows if row.family is not None}
    declared = sizes.pop(DECLARED, 0)
    one = " (a single test needs no correction)" if declared == 1 else ""
    evidence = (
        f"Holm's method over {declared} declared tests{one}, and in {len(sizes)} exploratory families of "
        f"{span(list(sizes.values()))} tests; verdicts follow from the corrected p and interval."
    )
    return Demand(all(row.adjusted_p is not None for row in rows), evidence)


def declared(records: Records) -> Demand | None:
    """Everything that the recipe declares was compared, and declared before it was measured."""
    rows, pairs = claims(records), _declared_pairs(records)
    if not pairs:
        said = f"The recipe declares no comparison: all {len(rows)} are exploratory."
        return Demand(False, said) if rows else None
    made = [row for row in records.findings[COMPARISONS] if row.primary and row.outcome]
    asked = [row for row in made if (row.arm, row.reference) in pairs]
    early = sum(row.declared for row in asked)
    evidence = (
        f"{early} of {len(asked)} comparisons that the recipe declares were declared before the run; "
        f"{len(rows) - sum(row.declared for row in rows)} others are exploratory. Other declarations for this model "
        f"that were on record by then: {records.findings.other_declarations}."
    )
    compared = {(row.arm, row.reference) for row in asked}
    missing = [f"{arm} against {reference}" for arm, reference in pairs if (arm, reference) not in compared]
    if missing:
        evidence += f" Declared, but compared on no outcome: {', '.join(missing)}."
    return Demand(0 < early == len(asked) and not missing, evidence)


def _declared_pairs(records: Records) -> dict[tuple[str, str], None]:
    """Arm and reference of every comparison that the recipe declares."""
    analyze, primary = records.recipe.analyze, records.findings.primary_arms
    pairs = [(arm, analyze.baseline) for arm in primary if arm != analyze.baseline]
    return dict.fromkeys([*pairs, *analyze.contrasts])


def effect_sizes(records: Records) -> Demand | None:
    """An interval of some width, and a margin that says what matters."""
    rows = claims(records)
    if not rows:
        return None
    intervals = sum(row.low is not None and row.high is not None and row.low < row.high for row in rows)
    margins = sum(row.margin is not None for row in rows)
    evidence = (
        f"{intervals} of {len(rows)} differences of arms have an interval of some width, {margins} a margin that says "
        f"what matters; {len(records.findings[SHARES])} shares of the gain."
    )
    return Demand(intervals == len(rows) == margins, evidence)


def seeds(records: Records) -> Demand | None:
    """Enough training runs for a claim about a method."""
    rows = claims(records)
    if not rows:
        return None
    runs, items = [row.seeds for row in rows], span([row.n for row in rows])
    said = (
        f"S = {span(runs)} training runs per arm, n = {items} items; every seed is shown."
        if max(runs) > 1
        else f"One training run per arm, n = {items} items: claims can be about its checkpoints, not about methods."
    )
    return Demand(min(runs) >= LEAST_SEEDS, f"{said} {LEAST_SEEDS} runs are needed.")


def power(records: Records) -> Demand | None:
    """Items and seeds enough for the detectable difference to lie within the margin."""
    rows = [row for row in claims(records) if row.margin is not None]
    if not rows:
        return None
    unknown = sum(row.detectable is None for row in rows)
    able = [row for row in rows if row.detectable is not None and row.detectable <= (row.margin or 0.0)]
    evidence = (
        f"{len(able)} of {len(rows)} comparisons would detect a difference as large as the margin with 80 % power, "
        "planned with the upper 80 % limit of the error seen here"
    )
    evidence += f"; of {unknown} nothing varied, so that their power is not known" if unknown else ""
    others = [row for row in rows if row.detectable is not None and row not in able]
    single = [_least_items(row) for row in others if row.scope == "checkpoints"]
    evidence += f"; at this error per item {span(single)} items would do for those of one run" if single else ""
    if len(others) > len(single):
        evidence += (
            "; those of several runs take more seeds, items, or both (`layersig plan` says what a design can detect)"
        )
    return Demand(len(able) == len(rows), f"{evidence}. comparisons.csv has the detectable difference of each.")


def able(records: Records) -> tuple[int, int]:
    """How many of the declared comparisons would detect their margin, and how many there are."""
    rows = [row for row in claims(records) if row.declared and row.margin is not None]
    return sum(row.detectable is not None and row.detectable <= (row.margin or 0.0) for row in rows), len(rows)


def _least_items(row: ComparisonRow) -> int:
    """Items at which one run of each arm would detect the margin; with several runs, items alone need not do."""
    assert row.detectable is not None
    assert row.margin is not None
    return ceil(row.n * (row.detectable / row.margin) ** 2)


def untouched(records: Records) -> Demand | None:
    """The untouched model among the arms."""
    rows = records.findings[RESULTS]
    if not rows:
        return None
    there = any(row.arm == BASE for row in rows)
    evidence = "The untouched model is among the arms." if there else "The untouched model was not evaluated."
    return Demand(there, evidence)


def equal_budget(records: Records) -> Demand | None:
    """Random layers and a rule of equal size for every arm that selects by the model."""
    recipe = records.recipe
    selecting = {row.arm for row in records.findings[SELECTIONS] if not row.control and row.scorers}
    if not selecting:
        return None
    like: dict[str, set[object]] = {arm.select.kind: set() for arm in recipe.arms}
    for arm in recipe.arms:
        like[arm.select.kind].add(arm.select.params.get("like"))
    random, rule = (sorted(selecting - like.get(kind, set())) for kind in ("matched-random", "type-depth"))
    evidence = (
        f"Of {len(selecting)} arms that select by the model, {len(selecting) - len(random)} have random layers with "
        f"{_matched(records, selecting)} as a control, {len(selecting) - len(rule)} the rule that knows type and "
        "depth alone"
    )
    missing = ", ".join(sorted({*random, *rule}))
    return Demand(
        not random and not rule, evidence + (f"; one or both are missing for: {missing}." if missing else ".")
    )


def _matched(records: Records, selecting: Set[str]) -> str:
    """What random controls have in common with their arms."""
    controls = [arm for arm in records.recipe.arms if arm.select.kind == CONTROLS["random control"]]
    matches = {matched_by(records.recipe, arm.name) for arm in controls if arm.select.params.get("like") in selecting}
    return " or ".join(f"the same {_MATCHED[match]}" for match in sorted(matches or {"types"}))


def search(records: Records) -> Demand | None:
    """The same number of trials for every arm."""
    recipe = records.recipe
    if not recipe.arms:
        return None
    own = ", ".join([arm.name for arm in recipe.arms if arm.train])
    if (settings := recipe.train.search) is None:
        return Demand(
            False,
            f"No search: every arm is trained with the learning rate {recipe.train.learning_rate:g}"
            f"{f', but {own} with keys of their own' if own else ''}; a rate that suits one arm may not suit another.",
        )
    tried = Counter((row.arm, row.data, row.seed) for row in records.findings[TRIALS])
    counts = sorted(set(tried.values()))
    lengths = f" and {len(settings.epochs)} lengths" if settings.epochs else ""
    evidence = (
        f"Every training of every arm had {span(counts)} trials of {len(settings.learning_rates) or 1} learning rates"
        f"{lengths}; the best on {settings.validation:.0%} of the training data, which no trial trains on and which is "
        "not evaluated, is the arm"
    )
    return Demand(len(counts) == 1, evidence + (f"; keys of their own: {own}." if own else "."))


def alternatives(records: Records) -> Demand | None:
    """Chance, and type and depth alone, as explanations of what the primary arms do."""
    choosing = {row.arm for row in records.findings[SELECTIONS]}.intersection(records.findings.primary_arms)
    rows = [row for row in claims(records) if row.outcome and row.arm in choosing]
    if not rows:
        return None
    excluded, known = [], True
    for role, name in (("random control", "random layers"), ("rule control", "module type and depth alone")):
        against = [row for row in rows if row.role == role]
        better = sum(_better(row, records.recipe.analyze.alpha) for row in against)
        known = known and bool(against) and all(row.adjusted_p is not None for row in against)
        excluded.append(f"{name} in {better} of {len(against)}" if against else f"{name} in none, not being compared")
    return Demand(
        known,
        f"Explanations that a corrected test excludes for the primary arms on their outcome: {'; '.join(excluded)}.",
    )


def _better(row: ComparisonRow, alpha: float) -> bool:
    """Whether a corrected test shows that the arm is better; than random layers, where seeds say how sets differ."""
    if row.role == "random control" and row.seeds < MIN_SEEDS_FOR_ONE_CONTROL:
        return False
    if row.verdict is not None:
        return Verdict(row.verdict).better
    favourable = row.estimate > 0 if row.higher_is_better else row.estimate < 0
    return favourable and row.adjusted_p is not None and row.adjusted_p <= alpha
