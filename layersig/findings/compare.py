"""Arms of different runs against each other, where that makes sense; every such comparison is exploratory."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from layersig.errors import UserError
from layersig.findings.arms import shown_to_move
from layersig.findings.comparisons import Comparison, Terms, row_of
from layersig.findings.contrasts import Contrast, NamedTest, Seeds, contrast
from layersig.findings.corpus import CorpusContrast, corpus_contrast, corpus_tables
from layersig.findings.families import Member, corrections
from layersig.findings.files import HELDOUT, JUDGEMENTS, RunFiles
from layersig.findings.forms import ConditionsForm, JudgedForm
from layersig.findings.outcomes import Measure, OutcomeTables, outcome_tables
from layersig.findings.pairing import pairing_notes
from layersig.findings.plan import margin_of
from layersig.findings.rows.arms import COMPARISONS, ComparisonRow
from layersig.findings.tables import ANALYSIS, load
from layersig.jsonform import read_json
from layersig.recipe.load import stored
from layersig.recipe.schema import ALL_LAYERS, BASE, AnalyzeSettings, Recipe
from layersig.records import Cell, CorpusValue, Outcome
from layersig.store.runfolder import RunFolder
from layersig.streams import Streams

_FAMILY = "compare"


@dataclass(frozen=True)
class Side:
    """An arm of a run, trained on one data set (the untouched base on none).

    Attributes:
        folder: The run.
        arm: Name of the arm.
        data: Label of the data set it was trained on; None for the base.
    """

    folder: RunFolder
    arm: str
    data: str | None

    @property
    def label(self) -> str:
        """`NAME/ID:ARM`, with `@DATA` behind it where there is one."""
        return f"{self.folder.name}:{self.arm}" + (f"@{self.data}" if self.data is not None else "")

    @cached_property
    def files(self) -> RunFiles:
        """The run's files."""
        return RunFiles(self.folder.path)

    @cached_property
    def recipe(self) -> Recipe | None:
        """The run's resolved recipe."""
        path = self.folder.path / "resolved.toml"
        return stored(path) if path.exists() else None

    @property
    def tunes(self) -> bool:
        """Whether it is the untouched model with layers tuned, and neither pruned nor made elsewhere."""
        arms = () if self.recipe is None else self.recipe.arms
        return all(arm.tunes for arm in arms if arm.name == self.arm)

    @property
    def parts(self) -> str:
        """Whether the parts of a pooled task are fixed or a sample."""
        return AnalyzeSettings().parts if self.recipe is None else self.recipe.analyze.parts

    @property
    def stratified(self) -> frozenset[str]:
        """Pooled tasks whose parts are fixed, as in the run's own report."""
        return self.files.fixed_strata(self.parts)

    @cached_property
    def seeds(self) -> Seeds:
        """Seeds of its training runs; (None,) for a model that no training of the run made."""
        return tuple(dict.fromkeys(cell.seed for cell, _ in self.outcomes()))

    def outcomes(self) -> Iterator[tuple[Cell, Sequence[Outcome]]]:
        """The outcomes of every seed, under this side's label."""
        for cell, outcomes in self.files.evaluations():
            if (cell.arm, cell.data) == (self.arm, self.data):
                yield Cell(arm=self.label, seed=cell.seed), outcomes

    def corpus(self) -> Iterator[tuple[Cell, Sequence[CorpusValue]]]:
        """The metrics of every seed that are no means of items, under this side's label."""
        for cell, values in self.files.corpus():
            if (cell.arm, cell.data) == (self.arm, self.data):
                yield Cell(arm=self.label, seed=cell.seed), values

    @cached_property
    def conditions(self) -> Mapping[str, Any]:
        """What must be equal on both sides for a difference to mean something, by what a person would call it."""
        model = self.folder.model()
        results, judge = self._results(), self._judge()
        return {
            "base model": model["digest"],
            "precision": results["dtype"],
            "device": results["device"],
            "batch policy": {"tokens": results["batch"]["tokens"]},
            "version of lm-eval": results["lm_eval"],
            **{
                f"{what} of {task}": value
                for task, record in results["tasks"].items()
                if "prompts" in record  # held-out conversations are batched by tokens alone
                for what, value in (("prompts", record["prompts"]), ("batch policy", results["batch"]))
            },
            **{
                f"`analyze.parts` of {task}": self.parts
                for task, record in results["tasks"].items()
                if "strata" in record
            },
            **{f"higher_is_better of {m.task}, {m.metric}": said for m, said in self.files.directions.items()},
            **self._heldout(results["tasks"]),
            **({"judge": _without_place(judge["judge"]), "model of the judge": judge["models"]} if judge else {}),
            **{f"questions of {name}": digest for name, digest in judge.get("questions", {}).items()},
        }

    def _heldout(self, tasks: Iterable[str]) -> Mapping[str, Any]:
        """How held-out conversations became tokens: their items are named by what is said, not by how it is shown."""
        shown: dict[str, Any] = {}
        for task in tasks:
            name, _, data = task.partition("/")
            label = self.files.label(data) if name == HELDOUT else None
            if label is not None and (report := self.files.data_reports.get(label)) is not None:
                shown[f"chat template of {HELDOUT}/{label}"] = report.get("template_sha256")
                shown[f"max_tokens of {HELDOUT}/{label}"] = report.get("max_tokens")
        return shown

    def _judge(self) -> Mapping[str, Any]:
        found = self.files.by_cell(JUDGEMENTS, "results.json")
        own = [path for cell, path in found.items() if (cell.arm, cell.data) == (self.arm, self.data)]
        return read_json(own[0], JudgedForm) if own else {}

    def _results(self) -> ConditionsForm:
        root = self.folder.path / "evaluations" / self.arm
        found = sorted(root.glob("**/results.json"))
        if not found:
            raise UserError(f"{self.label} was not evaluated")
        return read_json(found[0], ConditionsForm)


def sides(folder: RunFolder, wanted: str | None) -> list[Side]:
    """The arms of a run that `ARM` or `ARM@DATA` means; every evaluated arm when nothing is wanted.

    Raises:
        UserError: The run has no such arm.
    """
    files = RunFiles(folder.path)
    cells = dict.fromkeys((cell.arm or "", cell.data) for cell, _ in files.evaluations())
    arm, _, data = (wanted or "").partition("@")
    found = [
        Side(folder, name, trained_on)
        for name, trained_on in cells
        if (not arm or name == arm) and (not data or trained_on == data)
    ]
    if not found:
        known = ", ".join(sorted({name for name, _ in cells})) or "none that was evaluated"
        raise UserError(f"{folder.name} has no arm {wanted!r}; it has: {known}")
    return found


def compare(reference: Side, others: Sequence[Side]) -> list[Contrast | CorpusContrast]:
    """Every other side minus the reference, on every measure that both have, paired by item and seed.

    Raises:
        UserError: The two were measured under other conditions or on other items, so that a difference would not
            speak of the arms.
    """
    found: list[Contrast | CorpusContrast] = []
    for other in others:
        _same_conditions(reference, other)
        tables = _tables(reference, other)
        if tables.notes:
            raise UserError(f"{other.label} cannot be compared with {reference.label}: {tables.notes[0]}")
        own: list[Contrast | CorpusContrast] = [*_contrasts(tables, reference, other)]
        own += _corpus_contrasts(reference, other)
        if not own:
            raise UserError(f"{other.label} and {reference.label} have no task, or no seed, in common")
        found += own
    return found


def unpaired(reference: Side, others: Sequence[Side]) -> tuple[str, ...]:
    """Notes on training runs without a counterpart in the other arm, see `pairing_notes`."""
    runs = {side.label: side.seeds for side in (reference, *others)}
    return tuple(pairing_notes(runs, _untouched(reference, *others)))


def declared_sentences(reference: Side, others: Iterable[Side]) -> tuple[str, ...]:
    """The sentences of a run's report about comparisons made here that its recipe declared.

    Their corrections are those of all that was declared there, so that they are what the run concludes.
    """
    within = [other for other in others if other.folder.path == reference.folder.path]
    if not within or not (reference.folder.path / ANALYSIS).is_file():
        return ()
    pairs = {
        (frozenset((reference.arm, other.arm)), other.data or reference.data)
        for other in within
        if None in (other.data, reference.data) or other.data == reference.data
    }
    rows = load(reference.folder.path, [COMPARISONS])[COMPARISONS]
    return tuple(
        f"{reference.folder.name} declared this comparison, and concludes in its own report: {row.sentence}"
        for row in rows
        if row.declared and row.sentence is not None and (frozenset((row.arm, row.reference)), row.data) in pairs
    )


def judged(contrasts: Sequence[Contrast | CorpusContrast], terms: Terms) -> tuple[ComparisonRow, ...]:
    """Each contrast with its verdict, p-values and intervals corrected over all of them.

    They are exploratory: a recipe declares comparisons for its own run alone.
    """
    compared = [Comparison(found, "contrast", _tested(found), declared=False, primary=True) for found in contrasts]
    found = corrections([Member(_FAMILY, each.tested.p) for each in compared])
    return tuple(
        row_of(each, terms, None if correction is None else _FAMILY, len(compared), correction)
        for each, correction in zip(compared, found, strict=True)
    )


def terms_of(reference: Side, others: Sequence[Side], alpha: float, margins: Mapping[str, float]) -> Terms:
    """What arms of different runs are judged by.

    Args:
        reference: Its run's recipe gives the margins.
        others: The other sides.
        alpha: Level of the family.
        margins: By metric, what takes the place of the recipe's.
    """
    recipe = reference.recipe
    declared = {**({} if recipe is None else recipe.analyze.margins), **margins}

    def margin(measure: Measure) -> float | None:
        return margin_of(measure, declared)

    runs = {side.folder.path: side for side in (reference, *others)}
    tunes = {side.label: side.tunes for side in (reference, *others)}
    untouched = _untouched(reference, *others)

    def moved(found: Contrast | CorpusContrast) -> bool | None:
        if untouched.intersection((found.arm, found.reference)):
            return None
        pairs = [gains(path, data).get(found.measure) for path in runs for data in found.data_sets or (None,)]
        given, model = margin(found.measure), reference.files.model_name
        assays = [None if given is None else pair.assay(given, model, alpha) for pair in pairs if pair is not None]
        return shown_to_move(assays, tunes=tunes[found.arm] and tunes[found.reference])

    @cache
    def gains(path: Path, data: str | None) -> Mapping[Measure, Contrast]:
        return _gains(runs[path], data)

    return Terms(reference.files.model_name, alpha, margin, moved)


def _gains(side: Side, data: str | None) -> Mapping[Measure, Contrast]:
    """What all layers of a run gain over its untouched model, by measure."""
    trained, untouched = Side(side.folder, ALL_LAYERS, data), Side(side.folder, BASE, None)
    tables = _tables(trained, untouched)
    pairs = {measure: contrast(tables, measure, None, trained.label, untouched.label) for measure in tables.values}
    return {measure: pair for measure, pair in pairs.items() if pair is not None}


def _tested(found: Contrast | CorpusContrast) -> NamedTest:
    """The test that fits a contrast; its random draws depend on the two labels alone."""
    names = (found.arm, found.reference, found.measure.task, found.measure.metric)
    return found.test(Streams(0).generator("compare", *names))


def _tables(reference: Side, other: Side) -> OutcomeTables:
    """The outcomes of both sides, each side an arm under its label."""
    found = outcome_tables(
        [*reference.outcomes(), *other.outcomes()],
        reference.files.directions,
        reference.stratified & other.stratified,
    )
    return replace(found, untouched=_untouched(reference, other))


def _untouched(*sides: Side) -> frozenset[str]:
    return frozenset(side.label for side in sides if side.arm == BASE)


def _contrasts(tables: OutcomeTables, reference: Side, other: Side) -> Iterator[Contrast]:
    for measure, cells in tables.values.items():
        if {cell.arm for cell in cells} == {reference.label, other.label}:
            pair = contrast(tables, measure, None, other.label, reference.label)
            if pair is not None:
                yield replace(pair, **_data(reference, other))


def _corpus_contrasts(reference: Side, other: Side) -> Iterator[CorpusContrast]:
    found = corpus_tables([*reference.corpus(), *other.corpus()], reference.files.directions)
    corpus = replace(found, tables=replace(found.tables, untouched=_untouched(reference, other)))
    for measure, cells in corpus.tables.values.items():
        if {cell.arm for cell in cells} == {reference.label, other.label}:
            pair = corpus_contrast(corpus, measure, None, other.label, reference.label)
            if pair is not None:
                yield replace(pair, **_data(reference, other))


def _data(reference: Side, other: Side) -> Mapping[str, Any]:
    """The data set of a comparison, and that of its reference where the two were trained on different ones."""
    data = reference.data if other.data is None else other.data
    return {"data": data, "other_data": None if reference.data == data else reference.data}


def _same_conditions(reference: Side, other: Side) -> None:
    ours, theirs = reference.conditions, other.conditions
    for name in ours:
        if name in theirs and ours[name] != theirs[name]:
            shown = f": {_short(ours[name])} and {_short(theirs[name])}"
            raise UserError(
                f"{other.label} cannot be compared with {reference.label}: they differ in {name}{shown}. "
                "Run both with the same, or compare each with the untouched model of its own run"
            )


def _without_place(judge: Mapping[str, Any]) -> Mapping[str, Any]:
    """What makes a judge the same judge, wherever it is served."""
    return {name: value for name, value in judge.items() if name != "endpoint"}


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return f"{text[:12]}..." if len(text) == 64 else text


def split_name(text: str) -> tuple[str, str | None]:
    """RUN and ARM of `RUN:ARM`; a path may hold a colon, so an existing folder is a RUN as it stands."""
    if (Path(text) / "manifest.json").exists() or ":" not in text:
        return text, None
    run, _, arm = text.rpartition(":")
    return run, arm
