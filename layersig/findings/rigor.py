"""The rigor card: the checklist that reviewers apply, filled in from the records of the run and never by hand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass

from layersig.analysis.sentences import MIN_DATA_SETS_TO_GENERALISE
from layersig.findings.arms import BASE
from layersig.findings.families import DECLARED
from layersig.findings.files import HELDOUT, RunFiles
from layersig.findings.leaks import leaking
from layersig.findings.plan import CONTROLS, matched_by
from layersig.findings.rows import ComparisonRow, Findings, RigorRow, RigorStatus
from layersig.recipe.schema import Recipe

_MET: RigorStatus = "met"
_NOT_MET: RigorStatus = "not met"
_NONE: RigorStatus = "does not apply"
_INVALID_SHARE = 0.05
"""Share of invalid verdicts above which a judge is not fit for the study (ours)."""
_MATCHED = {"types": "number of each type", "layers": "number of layers", "parameters": "number of weights"}
_LONG = "13"
"""Words in the n-grams that the card speaks of."""


def rigor_rows(findings: Findings, files: RunFiles, recipe: Recipe) -> tuple[RigorRow, ...]:
    """Every item of the checklist with its evidence.

    Args:
        findings: Everything else that was found.
        files: The run's own records.
        recipe: What was declared.
    """
    return tuple(_Card(findings, files, recipe).rows())


@dataclass(frozen=True, slots=True)
class _Card:
    findings: Findings
    files: RunFiles
    recipe: Recipe

    def rows(self) -> Iterator[RigorRow]:
        yield self._error_bars()
        yield self._tests()
        yield self._corrections()
        yield self._declared()
        yield self._effect_sizes()
        yield self._runs()
        yield self._power()
        yield self._untouched()
        yield self._equal_budget()
        yield self._search()
        yield self._chance()
        yield self._environment()
        yield self._sources()
        yield self._data()
        yield self._apart()
        yield self._contamination()
        yield self._prompts()
        yield self._judge()
        yield self._cost()
        yield self._limits()

    @property
    def _claims(self) -> list[ComparisonRow]:
        return [row for row in self.findings.comparisons if row.primary and row.arm != BASE]

    def _error_bars(self) -> RigorRow:
        rows = self.findings.results
        known = sum(row.se is not None for row in rows)
        what = "over seeds and items" if any(row.scope == "method" for row in rows) else "over items"
        return _judged(
            "error bars", rows, known == len(rows), f"{known} of {len(rows)} values have a standard error {what}."
        )

    def _tests(self) -> RigorRow:
        rows = self._claims
        known = [row.test for row in rows if row.p is not None]
        names = "; ".join(dict.fromkeys(known))
        evidence = f"{len(known)} of {len(rows)} comparisons are tested, paired by item: {names}."
        return _judged("tests", rows, len(known) == len(rows), evidence)

    def _corrections(self) -> RigorRow:
        rows = self._claims
        sizes = Counter(row.family for row in rows if row.family is not None)
        declared = sizes.pop(DECLARED, 0)
        one = " (a single test needs no correction)" if declared == 1 else ""
        evidence = (
            f"Holm's method over {declared} declared tests{one}, and in {len(sizes)} exploratory families of "
            f"{_range(list(sizes.values()))} tests; verdicts follow from the corrected p and interval."
        )
        return _judged("correction for many tests", rows, all(row.adjusted_p is not None for row in rows), evidence)

    def _declared(self) -> RigorRow:
        rows = self._claims
        declared = sum(row.declared for row in rows)
        others = self.findings.other_declarations
        evidence = (
            f"{declared} of {len(rows)} comparisons were declared before the run; the others are exploratory. Other "
            f"declarations for this model that were on record by then: {others}."
        )
        return _judged("declared before the run", rows, declared > 0, evidence)

    def _effect_sizes(self) -> RigorRow:
        rows = self._claims
        intervals = sum(row.low is not None and row.high is not None for row in rows)
        margins = sum(row.margin is not None for row in rows)
        evidence = (
            f"{intervals} of {len(rows)} differences have an interval, {margins} a margin that says what matters; "
            f"{len(self.findings.shares)} shares of the gain."
        )
        return _judged("effect sizes", rows, intervals == len(rows) == margins, evidence)

    def _runs(self) -> RigorRow:
        rows = self._claims
        seeds = [row.seeds for row in rows]
        items = [row.n for row in rows]
        evidence = (
            f"S = {_range(seeds)} training runs per arm, n = {_range(items)} items; every seed is shown."
            if max(seeds, default=0) > 1
            else f"One training run per arm, n = {_range(items)} items: it speaks for its checkpoints, not for methods."
        )
        return _judged("n and seeds", rows, min(seeds, default=0) > 1, evidence)

    def _power(self) -> RigorRow:
        rows = [row for row in self._claims if row.margin is not None]
        unknown = sum(row.detectable is None for row in rows)
        able = sum(row.detectable is not None and row.detectable <= (row.margin or 0.0) for row in rows)
        evidence = (
            f"{able} of {len(rows)} comparisons would detect a difference as large as the margin with 80 % power, "
            "planned with the upper 80 % limit of the error seen here"
        )
        evidence += f"; of {unknown} nothing varied, so that their power is not known" if unknown else ""
        evidence += "; half-width and detectable difference of each are in comparisons.csv."
        return _judged("power", rows, able == len(rows), evidence)

    def _untouched(self) -> RigorRow:
        rows = self.findings.results
        there = any(row.arm == BASE for row in rows)
        evidence = "The untouched model is among the arms." if there else "The untouched model was not evaluated."
        return _judged("untouched model as baseline", rows, there, evidence)

    def _equal_budget(self) -> RigorRow:
        told = {row.arm for row in self.findings.selections if not row.control and row.scorers}
        kinds = {arm.select.kind: set[object]() for arm in self.recipe.arms}
        for arm in self.recipe.arms:
            kinds[arm.select.kind].add(arm.select.params.get("like"))
        random, rule = (sorted(told - kinds.get(kind, set())) for kind in ("matched-random", "type-depth"))
        evidence = (
            f"Of {len(told)} arms that select by the model, {len(told) - len(random)} have random layers with "
            f"{self._matched(told)} beside them, {len(told) - len(rule)} the rule that knows type and depth alone"
        )
        missing = _names(sorted({*random, *rule}))
        evidence += f"; one or both lack for: {missing}." if missing else "."
        return _judged("baselines of equal budget", sorted(told), not random and not rule, evidence)

    def _matched(self, told: Set[str]) -> str:
        """What random controls have in common with their arms."""
        controls = [arm for arm in self.recipe.arms if arm.select.kind == CONTROLS["random control"]]
        matches = {matched_by(self.recipe, arm.name) for arm in controls if arm.select.params.get("like") in told} or {
            "types"
        }
        return " or ".join(f"the same {_MATCHED[match]}" for match in sorted(matches))

    def _search(self) -> RigorRow:
        arms = self.recipe.arms
        own = [arm.name for arm in arms if arm.train]
        search = self.recipe.train.search
        if search is not None:
            tried: dict[tuple[str, str | None, int | None], int] = {}
            for row in self.findings.trials:
                tried[row.arm, row.data, row.seed] = tried.get((row.arm, row.data, row.seed), 0) + 1
            counts = sorted(set(tried.values()))
            lengths = f" and {len(search.epochs)} lengths" if search.epochs else ""
            evidence = (
                f"Every training of every arm had {_range(counts)} trials of {len(search.learning_rates) or 1} "
                f"learning rates{lengths}; the best on {search.validation:.0%} of the training data, which no "
                "trial trains on and which is not evaluated, is the arm"
            )
            evidence += f"; keys of their own: {_names(own)}." if own else "."
            return _judged("equal search of hyper-parameters", arms, len(counts) == 1, evidence)
        evidence = (
            f"No search: every arm is trained with the learning rate {self.recipe.train.learning_rate:g}"
            f"{f', but {_names(own)} with keys of their own' if own else ''}; a rate that suits one arm may not "
            "suit another."
        )
        return _judged("equal search of hyper-parameters", arms, False, evidence)

    def _chance(self) -> RigorRow:
        rows = self.findings.overlaps
        ceiling = len(self.findings.stability) > 0
        evidence = (
            f"{len(rows)} overlaps stand beside two exact chance levels; the noise ceiling (other seeds, same data) is "
            f"{'known' if ceiling else 'not known: it takes two seeds'}."
        )
        return _judged("overlap beside chance and noise", rows, ceiling, evidence)

    def _environment(self) -> RigorRow:
        versions, machine = self.files.manifest["versions"], self.files.manifest["machine"]
        evidence = f"{len(versions)} versions; device {machine.get('device')}, {machine.get('dtype')}."
        return RigorRow(
            item="environment and versions", status=_MET if versions and machine else _NOT_MET, evidence=evidence
        )

    def _sources(self) -> RigorRow:
        sources = self.files.manifest["sources"]
        pinned = sum(bool(source.get("digest")) for source in sources)
        replaced = [source["name"] for source in sources if source.get("fallback")]
        evidence = f"{pinned} of {len(sources)} sources have a digest"
        evidence += f"; replaced by fallbacks: {_names(replaced)}." if replaced else "; none was replaced."
        return _judged("sources as declared and pinned", sources, pinned == len(sources) and not replaced, evidence)

    def _data(self) -> RigorRow:
        described = [data.name for data in self.recipe.data if self.files.label(data.name) in self.files.data_reports]
        licences = {s["name"]: s.get("licence") for s in self.files.manifest["sources"] if s["role"] == "data"}
        told = ", ".join(f"{name} ({licences.get(name) or 'licence unknown'})" for name in described) or "none"
        evidence = f"Rows, duplicates, cuts, tokens and template are recorded of: {told}."
        return _judged("data description", self.recipe.data, len(described) == len(self.recipe.data), evidence)

    def _apart(self) -> RigorRow:
        leaks = leaking(self.recipe)
        evidence = (
            f"Computed on what arms are evaluated on: {_names(sorted(leaks))}."
            if leaks
            else "Scores are computed on the training side, or on task items that are not evaluated."
        )
        return _judged("selection apart from evaluation", sorted(self.recipe.scorers), not leaks, evidence)

    def _contamination(self) -> RigorRow:
        tasks = [*self._benchmarks, *(each.label for each in self.recipe.evaluate.conversations)]
        pairs = [(task, self.files.label(data.name) or "") for data in self.recipe.data for task in tasks]
        overlaps = self.files.overlaps
        known = [(task, data) for task, data in pairs if task in overlaps.get(data, {})]
        evidence = f"Shared 8- and 13-grams are counted for {len(known)} of {len(pairs)} pairs of benchmark and data"
        told = [(task, data) for task, data in known if overlaps[data][task]["ngrams"][_LONG]["hits"]]
        told += [(HELDOUT, data) for data in overlaps if HELDOUT in overlaps[data]]
        found = [(f"{task} in {data}", overlaps[data][task]) for task, data in told]
        hits = [f"{where} {record['ngrams'][_LONG]['hits']} of {record['items']}" for where, record in found]
        evidence += f"; items that share a 13-gram: {_names(hits)}." if hits else "; no item shares a 13-gram."
        return _judged("overlap of training data with benchmarks", pairs, len(known) == len(pairs), evidence)

    def _prompts(self) -> RigorRow:
        tasks = self._benchmarks
        known = [task for task in tasks if self.files.task_records[task].get("prompts")]
        evidence = (
            f"A digest of every prompt, shots and split are recorded for {len(known)} of {len(tasks)} benchmarks."
        )
        return _judged("prompts", tasks, len(known) == len(tasks), evidence)

    def _judge(self) -> RigorRow:
        judges = self.findings.judges
        if not judges:
            return RigorRow(
                item="judge", status=_NONE, evidence="No outcome of this run comes from a model that judges."
            )
        named = {name for row in judges for name in row.answered_by}
        verdicts, invalid = sum(row.verdicts for row in judges), sum(row.invalid for row in judges)
        compared = any(row.what == "comparisons" for row in judges)
        evidence = (
            f"{judges[0].model}, by its endpoint {_names(sorted(named)) or 'without a name'}; {verdicts} verdicts with "
            f"their prompts are kept, {invalid} invalid; {_range([row.repeats for row in judges])} repeats"
        )
        evidence += "; pairs in both orders." if compared else "; no pairs, so that a bias of position is not known."
        repeated = min(row.repeats for row in judges) > 1
        usable = invalid <= _INVALID_SHARE * verdicts
        return _judged("judge", judges, len(named) == 1 and compared and repeated and usable, evidence)

    @property
    def _benchmarks(self) -> list[str]:
        return [task for task in self.files.task_records if not task.startswith(f"{HELDOUT}/")]

    def _cost(self) -> RigorRow:
        rows = [row for row in self.findings.costs if row.status == "done"]
        timed = sum(row.seconds is not None for row in rows)
        peaks = sum(row.peak_memory is not None for row in rows)
        evidence = f"{timed} of {len(rows)} stages have a time, {peaks} a peak memory."
        return _judged("cost", rows, timed == len(rows), evidence)

    def _limits(self) -> RigorRow:
        count = len({row.data for row in self.findings.results if row.data is not None})
        evidence = f"One model, {count} data sets: every sentence names them"
        evidence += (
            f" and none speaks of data sets in general, which takes {MIN_DATA_SETS_TO_GENERALISE}."
            if count < MIN_DATA_SETS_TO_GENERALISE
            else "."
        )
        return _judged("limits of generalisation", self.findings.results, True, evidence)


def _judged(item: str, rows: Sequence[object], fulfilled: bool, evidence: str) -> RigorRow:
    """An item that does not apply where there is nothing to judge."""
    if not rows:
        return RigorRow(item=item, status=_NONE, evidence="The run holds nothing that this item could speak of.")
    return RigorRow(item=item, status=_MET if fulfilled else _NOT_MET, evidence=evidence)


def _range(values: Sequence[int]) -> str:
    if not values:
        return "0"
    return str(min(values)) if min(values) == max(values) else f"{min(values)} to {max(values)}"


def _names(names: Sequence[str]) -> str:
    return ", ".join(names)
