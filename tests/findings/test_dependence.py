"""What agreement depends on: from rankings and data records to a sentence."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from layersig.analysis.overlap import pairwise_kappa
from layersig.analysis.selections import membership
from layersig.findings.samples import Sample
from layersig.report.numbers import p_value
from layersig.topics.dependence.compute import DIVERSITY, ORIGIN, SIZE, data_property_rows, dependence_rows
from layersig.topics.stability.replicates import Replicates
from tests.findings.recipes import FEW, recipe_of

UNITS = 60


class Files:
    """Data records alone."""

    def __init__(self, reports: dict[str, Any]) -> None:
        self.data_reports = reports


def report(conversations: int, distinct: float, segments: bool = True) -> dict[str, Any]:
    inside = {"2": distinct} if segments else {}
    return {
        "train": {"conversations": conversations},
        "diversity": {"responses": {"distinct": {"2": distinct / 2}, "in_segments": inside}},
    }


def study(
    place: np.ndarray, noise: np.ndarray, seeds: int = 3, sources: int = 1, segments: bool = True
) -> tuple[Replicates, Files, Any]:
    """Data sets whose rankings drift with `place` and are as noisy as `noise`."""
    rng = np.random.default_rng(1)
    first, second = rng.normal(size=(2, UNITS))
    means = np.cos(place)[:, None] * first + np.sin(place)[:, None] * second
    scores = means[:, None] + noise[:, None, None] * rng.normal(size=(place.size, seeds, UNITS))
    names = tuple(f"d{number}" for number in range(place.size))
    reports = {name: report(100 * 2**number, 0.4 + 0.3 * place[number], segments) for number, name in enumerate(names)}
    data = tuple({"name": name, "source": f"pypi:y{number % sources}"} for number, name in enumerate(names))
    found = Replicates("ila", "ila", 1.0, names, tuple(map(Sample, names)), tuple(range(seeds)), scores)
    return found, Files(reports), recipe_of(FEW, seeds=tuple(range(seeds)), data=data)


def rows(found: Replicates, files: Any, recipe: Any, k: int = 18) -> dict[tuple[str, str], Any]:
    return {(row.quantity, row.property): row for row in dependence_rows([found], (k,), files, recipe)}


def test_rankings_that_drift_with_diversity_agree_less_the_more_it_differs() -> None:
    found, files, recipe = study(np.linspace(0, 1.4, 7), np.full(7, 0.2))
    told = rows(found, files, recipe)
    row = told["between", DIVERSITY[0]]
    assert row.verdict == "falls"
    assert row.low < row.value < row.high < -0.5
    assert "two data sets agree less the more they differ in: distinct-2 of responses in segments" in row.sentence
    assert told["within", SIZE].verdict == "cannot tell"
    assert ("between", ORIGIN) not in told
    assert {row.tests for row in told.values()} == {len(told)} == {4}


def test_p_is_corrected_by_holm_for_every_test_of_the_section() -> None:
    found, files, recipe = study(np.linspace(0, 1.4, 7), np.full(7, 0.2))
    told = dependence_rows([found], (12, 18), files, recipe)
    due = multipletests([row.p for row in told], method="holm")[1]
    assert [row.adjusted_p for row in told] == pytest.approx(list(due))
    assert any(row.p < row.adjusted_p < 1 for row in told)
    assert {row.tests for row in told} == {8}


def test_declared_tests_are_corrected_apart_from_exploratory_ones() -> None:
    found, files, recipe = study(np.linspace(0, 1.4, 7), np.full(7, 0.2))
    other = replace(found, scorer="other")
    told = dependence_rows([found, other], (12, 18), files, recipe, found.cells)
    for scorer, status in (("ila", "Declared: "), ("other", "Exploratory: ")):
        mine = [row for row in told if row.scorer == scorer]
        due = multipletests([row.p for row in mine], method="holm")[1]
        assert [row.adjusted_p for row in mine] == pytest.approx(list(due))
        assert {row.tests for row in mine} == {len(mine)} == {8}
        assert all(row.sentence.startswith(status) for row in mine)
    # One ranking that was known before is enough to make a test exploratory.
    known = frozenset([*found.cells][1:])
    assert not any(row.declared for row in dependence_rows([found], (18,), files, recipe, known))


def test_agreement_is_that_of_different_seeds_counted_pair_by_pair() -> None:
    found, files, recipe = study(np.linspace(0, 1, 5), np.linspace(0.2, 1.5, 5))
    kappa = pairwise_kappa(membership(found.runs, 18))
    within, between = {}, {}
    for (i, j), (s, t) in product(product(range(5), repeat=2), product(range(3), repeat=2)):
        if s != t:
            (within if i == j else between).setdefault((i, j), []).append(kappa[3 * i + s, 3 * j + t])
    ordered = [float(np.mean(within[i, i])) for i in range(5)]
    row = rows(found, files, recipe)["within", SIZE]
    signs = [np.sign(ordered[j] - ordered[i]) for i in range(5) for j in range(i + 1, 5)]
    assert row.value == pytest.approx(np.mean(signs))
    differences = [abs(i - j) for i, j in between if i < j]
    expected = np.corrcoef(differences, [np.mean(between[i, j]) for i, j in between if i < j])[0, 1]
    assert rows(found, files, recipe)["between", SIZE].value == pytest.approx(expected)


def test_where_no_result_could_tell_the_sentence_says_so() -> None:
    found, files, recipe = study(np.linspace(0, 1.4, 3), np.full(3, 0.1), sources=2)
    told = rows(found, files, recipe)
    assert ("between", ORIGIN) in told
    for row in told.values():
        assert row.verdict == "cannot tell"
        assert "with 3 data sets the smallest p that a result could have" in row.sentence
        assert row.low is None
        assert p_value(row.p)


def test_without_segments_diversity_is_that_over_all_words() -> None:
    found, files, recipe = study(np.linspace(0, 1.4, 5), np.full(5, 0.2), segments=False)
    assert {name for _, name in rows(found, files, recipe)} == {SIZE, DIVERSITY[1]}
    assert {row.property for row in data_property_rows(files)} == {SIZE, DIVERSITY[1]}


def test_two_data_sets_and_single_seeds_are_no_evidence() -> None:
    found, files, recipe = study(np.linspace(0, 1, 2), np.full(2, 0.2))
    assert rows(found, files, recipe) == {}
