"""What the agreement of rankings depends on: the size of the data, how diverse they are, where they come from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from layersig.analysis.associations import Association, monotone, related
from layersig.analysis.multiplicity import holm_by_family
from layersig.analysis.overlap import pairwise_kappa
from layersig.analysis.selections import membership
from layersig.analysis.sentences import status_of
from layersig.findings.files import RunFiles
from layersig.findings.forms import DataForm
from layersig.recipe.schema import DataSettings, Recipe
from layersig.records import Cell
from layersig.streams import Streams
from layersig.topics.dependence.rows import DataPropertyRow, DependenceRow
from layersig.topics.stability.replicates import Replicates

FloatArray = NDArray[np.float64]

SIZE = "log2 of training conversations"
DIVERSITY = ("distinct-2 of responses in segments", "distinct-2 of responses over all words")
"""The second, which falls with the number of words, stands in where a data set has no segment of its own."""
ORIGIN = "another source or filter"
_LEAST = 3


@dataclass(frozen=True, slots=True)
class _Test:
    """One association, not yet corrected for the others."""

    found: Replicates
    quantity: str
    name: str
    k: int
    data_sets: int
    association: Association


def data_property_rows(files: RunFiles) -> Iterator[DataPropertyRow]:
    """The measured properties of every training side."""
    for data, report in files.data_reports.items():
        for name, value in _measured(report).items():
            yield DataPropertyRow(data=data, property=name, value=value)


def dependence_rows(
    replicates: Sequence[Replicates],
    sizes: Sequence[int],
    files: RunFiles,
    recipe: Recipe,
    declared_rankings: Set[Cell] = frozenset(),
) -> tuple[DependenceRow, ...]:
    """Agreement within and between data sets against every property that differs between three or more of them.

    Args:
        replicates: Rankings over data sets and seeds; halves of a data set count once.
        sizes: Sizes of the selections.
        files: The run; its data records hold the properties.
        recipe: Its recipe.
        declared_rankings: The rankings that were scored after they were declared. Tests of these alone are declared,
            and corrected apart from the others.
    """
    level = 1 - recipe.analyze.alpha
    tests = [test for found in replicates for test in _tests(found.apart, sizes, files, recipe, level)]
    declared = [test.found.cells <= declared_rankings for test in tests]
    adjusted = holm_by_family([test.association.p for test in tests], declared)
    family = Counter(declared)
    return tuple(
        _row(test, p, family[status], level, declared=status)
        for test, p, status in zip(tests, adjusted, declared, strict=True)
        if p is not None
    )


def _measured(report: DataForm) -> dict[str, float]:
    found: dict[str, float] = {}
    if conversations := report.get("train", {}).get("conversations"):
        found[SIZE] = float(np.log2(conversations))
    texts = report.get("diversity", {}).get("responses")
    if texts is not None:
        known = zip(DIVERSITY, (texts["in_segments"], texts["distinct"]), strict=True)
        found |= {name: shares["2"] for name, shares in known if "2" in shares}
    return found


def _tests(found: Replicates, sizes: Sequence[int], files: RunFiles, recipe: Recipe, level: float) -> Iterator[_Test]:
    count = len(found.data)
    if count < _LEAST or found.halved:
        return
    settings = {entry.name: entry for entry in recipe.data}
    chosen = [settings[label.partition(">")[0]] for label in found.data]
    measured = [_measured(files.data_reports.get(label, {})) for label in found.data]
    shared = [name for name in (SIZE, *DIVERSITY) if all(name in own for own in measured)]
    names = [name for name in shared if name != DIVERSITY[1] or DIVERSITY[0] not in shared]
    properties = {name: np.array([own[name] for own in measured]) for name in names}
    apart = {name: np.abs(np.subtract.outer(values, values)) for name, values in properties.items()}
    apart[ORIGIN] = np.array([[float(_origin(a) != _origin(b)) for b in chosen] for a in chosen])
    for k in sizes:
        if not 0 < k < found.scores.shape[-1]:
            continue
        agreement = _agreement(found.scores, k)
        for name, values in properties.items():
            association = monotone(values, np.diag(agreement), _rng(recipe, found, "within", name, k), level)
            if association is not None:
                yield _Test(found, "within", name, k, count, association)
        for name, differences in apart.items():
            association = related(agreement, differences, _rng(recipe, found, "between", name, k), level)
            if association is not None:
                yield _Test(found, "between", name, k, count, association)


def _agreement(scores: FloatArray, k: int) -> FloatArray:
    """Mean kappa of runs of different seeds, shape (data sets, data sets); the diagonal is that of one data set."""
    data, seeds, units = scores.shape
    kappa = pairwise_kappa(membership(scores.reshape(-1, units), k)).reshape(data, seeds, data, seeds)
    other = ~np.eye(seeds, dtype=np.bool_)
    return np.asarray((kappa * other[None, :, None, :]).sum(axis=(1, 3)) / other.sum(), dtype=np.float64)


def _origin(data: DataSettings) -> tuple[str, str]:
    return data.source, repr(sorted(data.where.items()))


def _rng(recipe: Recipe, found: Replicates, quantity: str, name: str, k: int) -> np.random.Generator:
    return Streams(recipe.root_seed).generator("dependence", found.scorer, str(found.checkpoint), quantity, name, k)


def _row(test: _Test, adjusted: float, tests: int, level: float, *, declared: bool) -> DependenceRow:
    found, association = test.found, test.association
    interval = association.interval
    direction = "rises" if association.value > 0 else "falls"
    row = DependenceRow(
        scorer=found.scorer,
        checkpoint=found.checkpoint,
        quantity=test.quantity,
        property=test.name,
        k=test.k,
        of=found.scores.shape[-1],
        data_sets=test.data_sets,
        seeds=len(found.seeds),
        statistic="tau" if test.quantity == "within" else "r",
        value=association.value,
        slope=association.slope,
        low=None if interval is None else interval.low,
        high=None if interval is None else interval.high,
        level=level,
        p=association.p,
        least_p=association.least_p,
        declared=declared,
        adjusted_p=adjusted,
        tests=tests,
        verdict=direction if adjusted <= 1 - level else "cannot tell",
        sentence="",
    )
    return row.model_copy(update={"sentence": _sentence(row)})


_SAID: Mapping[tuple[str, str], str] = {
    ("within", "rises"): "two seeds of one data set agree more where {name} is greater",
    ("within", "falls"): "two seeds of one data set agree less where {name} is greater",
    ("between", "rises"): "two data sets agree more the more they differ in: {name}",
    ("between", "falls"): "two data sets agree less the more they differ in: {name}",
    ("within", "cannot tell"): "these data sets cannot tell whether the agreement of seeds depends on {name}",
    (
        "between",
        "cannot tell",
    ): "these data sets cannot tell whether agreement depends on how they differ in: {name}",
}


def _sentence(row: DependenceRow) -> str:
    said = _SAID[row.quantity, row.verdict].format(name=row.property)
    sign = "tau" if row.statistic == "tau" else "r"
    figures = f"{sign} {row.value:.2f}, p {row.p:.3f}, corrected for {row.tests} tests {row.adjusted_p:.3f}"
    what = "slope" if row.statistic == "tau" else "r"
    if row.low is not None and row.high is not None:
        figures += f"; {100 * row.level:.4g} % interval of the {what} [{row.low:+.3f}, {row.high:+.3f}]"
    few = ""
    if row.least_p * row.tests > 1 - row.level and row.verdict == "cannot tell":
        few = f"; with {row.data_sets} data sets the smallest p that a result could have is {row.least_p:.3f}"
    where = f"{row.scorer}, top {row.k} of {row.of}, {row.data_sets} data sets, S = {row.seeds}"
    return f"{status_of(row.declared)}: {said} ({figures}{few}; {where})."
