"""Do rankings share layers? Data sets, halves of one, and scorers, all together and two by two."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from layersig.analysis.agreement import RunDesign, label_permutation_test
from layersig.analysis.agreement_sentences import Across, Standard, sharing_sentence
from layersig.analysis.attenuation import corrected_between
from layersig.analysis.multiplicity import holm_of_tested
from layersig.analysis.results import Alternative
from layersig.analysis.sharing import SharingTest, ratio_bound_jackknife_runs, sharing_test
from layersig.findings.shown import finite
from layersig.recipe.schema import Recipe
from layersig.records import Cell
from layersig.streams import Streams
from layersig.topics.stability.replicates import Replicates
from layersig.topics.stability.rows import SharingRow

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class _Question:
    """Rankings of which it is asked whether they share layers.

    Attributes:
        across: What they differ in.
        names: Names of the cells.
        scorer: Name of the scorer; of scorers, all their names.
        checkpoint: Their checkpoint.
        data: The data set, where all of them are of one.
        ceiling: What their agreement is held against.
        runs: Scores, shape (runs, units).
        design: Cells, seeds and samples of the runs.
        measured: Cells of the grid that the runs are of.
        together: Whether these are all that there are, and not two of them.
    """

    across: Across
    names: tuple[str, ...]
    scorer: str
    checkpoint: float | None
    data: str | None
    ceiling: Standard
    runs: FloatArray
    design: RunDesign
    measured: frozenset[Cell]
    together: bool

    @property
    def ranking(self) -> str:
        """What a sentence calls the rankings, beside the names of the cells."""
        return self.scorer if self.data is None else f"{self.scorer} on {self.data}"

    @property
    def family(self) -> str:
        """The tests that are corrected together, declared ones apart from the others."""
        return f"{self.across}, {'together' if self.together else 'two by two'}"


def sharing_rows(
    found: Sequence[Replicates],
    sizes: Sequence[int],
    model: str,
    recipe: Recipe,
    declared_rankings: Set[Cell] = frozenset(),
) -> tuple[SharingRow, ...]:
    """The sharing test at every size, and the opposite question, asked of whole rankings.

    Args:
        found: The rankings of every scorer.
        sizes: Sizes of the selections.
        model: Name of the model.
        recipe: What was declared.
        declared_rankings: The rankings that were scored after they were declared; a test of these alone is declared.
    """
    # Entries of `[[data]]` that hold the same rows are one cell, which shares layers with nothing.
    questions = [question for question in _questions(found) if np.unique(question.design.cells).size > 1]
    level, margin = 1 - recipe.analyze.alpha, recipe.analyze.sharing_margin
    asked = [
        (question, k, sharing_test(ratio_bound_jackknife_runs(question.runs, question.design, k, level),
                                   question.design, margin))
        for question in questions
        for k in sizes
        if 0 < k < question.runs.shape[1]
    ]  # fmt: skip
    declared = {id(question): question.measured <= declared_rankings for question in questions}
    families = {id(question): (question.family, declared[id(question)]) for question in questions}
    adjusted: dict[tuple[int, int], tuple[float | None, int]] = {}
    for family in dict.fromkeys(families.values()):
        members = [(question, k, test) for question, k, test in asked if families[id(question)] == family]
        p = holm_of_tested([test.p for _, _, test in members])
        tests = sum(each is not None for each in p)
        adjusted |= {(id(question), k): (each, tests) for (question, k, _), each in zip(members, p, strict=True)}
    opposite = {id(question): _opposite(question, level, recipe) for question in questions}
    return tuple(
        _row(
            question, k, test, *adjusted[id(question), k], opposite[id(question)], model, recipe,
            declared=declared[id(question)],
        )
        for question, k, test in asked
    )  # fmt: skip


def _questions(found: Sequence[Replicates]) -> Iterator[_Question]:
    for each in found:
        yield from _across_data_sets(each.apart)
        for name, halves in each.halves.items():
            yield _Question(
                Across.HALVES, halves.data, each.scorer, each.checkpoint, name, Standard.SEEDS, halves.runs,
                halves.design, halves.cells, together=True,
            )  # fmt: skip
    yield from _across_scorers(found)


def _across_data_sets(each: Replicates) -> Iterator[_Question]:
    ceiling = Standard.HALVES if each.halved else Standard.SEEDS
    count = len(each.data_sets)
    chosen = [each.data_sets] * (count > 1) + list(combinations(each.data_sets, 2)) * (count > 2)
    for names in chosen:
        part = each.of([place for place, sample in enumerate(each.samples) if sample.data_set in names])
        yield _Question(
            Across.DATA_SETS, names, each.scorer, each.checkpoint, None, ceiling, part.runs, part.data_set_design,
            part.cells, together=len(names) == count,
        )  # fmt: skip


def _across_scorers(found: Sequence[Replicates]) -> Iterator[_Question]:
    """Scorers of one kind together, and every two scorers, on each entry of `[[data]]` at one checkpoint."""
    kinds: dict[tuple[str, float | None], list[Replicates]] = {}
    for each in found:
        kinds.setdefault((each.kind, each.checkpoint), []).append(each)
    alike = [members for members in kinds.values() if len(members) > 1]
    for members in alike:
        yield from _on_each(members, together=True)
    for pair in combinations(found, 2):
        same = pair[0].checkpoint == pair[1].checkpoint or None in (pair[0].checkpoint, pair[1].checkpoint)
        if same and not any(len(members) == 2 and pair[0] in members and pair[1] in members for members in alike):
            yield from _on_each(pair, together=False)


def _on_each(members: Sequence[Replicates], *, together: bool) -> Iterator[_Question]:
    names = tuple(each.scorer for each in members)
    seeds = tuple(sorted(set.intersection(*(set(each.seeds) for each in members))))
    if len(seeds) < 2:
        return
    cells = np.repeat(np.arange(len(members)), len(seeds))
    for data in members[0].data:
        if all(data in each.data for each in members):
            rows = [each.scores[each.data.index(data)][[each.seeds.index(seed) for seed in seeds]] for each in members]
            design = RunDesign(cells, np.tile(np.array(seeds), len(members)))
            measured = frozenset(
                cell for each in members for cell in each.cells if cell.data == data and cell.seed in seeds
            )
            yield _Question(
                Across.SCORERS, names, ", ".join(names), members[0].checkpoint, data, Standard.SEEDS,
                np.concatenate(rows), design, measured, together,
            )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Opposite:
    """What is known of a difference between the cells, whatever k."""

    corrected: float | None
    low: float | None
    high: float | None
    p_different: float | None
    p_exchangeable: float | None
    least_p: float | None
    relabellings: int | None


def _opposite(question: _Question, level: float, recipe: Recipe) -> _Opposite:
    corrected = corrected_between(question.runs, question.design)
    interval = corrected.interval(level) if corrected else None
    rng = Streams(recipe.root_seed).generator(
        "relabel", question.scorer, *(() if question.together else question.names)
    )
    exchangeable = question.design.samples is None
    labels = label_permutation_test(question.runs, question.design, rng) if exchangeable else None
    return _Opposite(
        corrected.value if corrected else None,
        interval.low if interval else None,
        interval.high if interval else None,
        corrected.p_value(1.0, Alternative.LESS) if corrected else None,
        labels.p if labels else None,
        labels.least if labels else None,
        labels.draws if labels else None,
    )


def _row(
    question: _Question,
    k: int,
    test: SharingTest,
    adjusted_p: float | None,
    tests: int,
    opposite: _Opposite,
    model: str,
    recipe: Recipe,
    *,
    declared: bool,
) -> SharingRow:
    n, bound = question.runs.shape[1], test.bound
    final = test.corrected(adjusted_p, recipe.analyze.alpha)
    return SharingRow(
        scorer=question.scorer,
        checkpoint=question.checkpoint,
        across=question.across.value,
        cells=question.names,
        data=question.data,
        ceiling=question.ceiling.value,
        family=question.family,
        declared=declared,
        k=k,
        of=n,
        ratio=finite(bound.ratio),
        lower=finite(bound.lower),
        level=bound.level,
        margin=test.margin,
        p=test.p,
        adjusted_p=adjusted_p,
        tests=tests,
        seeds=test.fewest_seeds,
        data_sets=len(question.names) if question.across is Across.DATA_SETS else 1,
        verdict=final.verdict.value,
        sentence=sharing_sentence(
            final, k, n, question.names, model, question.ranking, across=question.across, ceiling=question.ceiling,
            adjusted_p=adjusted_p, tests=tests, declared=declared,
        ),
        corrected=opposite.corrected,
        corrected_low=opposite.low,
        corrected_high=opposite.high,
        p_different=opposite.p_different,
        p_exchangeable=opposite.p_exchangeable,
        least_p=opposite.least_p,
        relabellings=opposite.relabellings,
    )  # fmt: skip
