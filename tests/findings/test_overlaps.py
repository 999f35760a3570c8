from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from layersig.analysis.overlap import law_given_strata
from layersig.analysis.selections import membership, top_k
from layersig.findings.rankings import ScoreTable
from layersig.findings.rows.layers import LayerRow
from layersig.findings.samples import Sample
from layersig.records import Cell
from layersig.topics.agreement.compute import agreement_rows, overlap_rows
from layersig.topics.agreement.section import drawn

KINDS = ("q", "v", "up")
LAYERS = tuple(
    LayerRow(number=3 * b + i, layer=f"m.{b}.{kind}", block=b, kind=kind, parameters=10)
    for b in range(8)
    for i, kind in enumerate(KINDS)
)
TYPES = np.array([layer.number % 3 for layer in LAYERS])


def table(scorer: str, data: str | None, seeds: tuple[int | None, ...], seed: int) -> ScoreTable:
    scores = np.random.default_rng(seed).normal(size=(len(seeds), len(LAYERS)))
    return ScoreTable(Cell(scorer=scorer, data=data), scorer, seeds, scores, 0)


def test_overlap_beside_exact_chance() -> None:
    tables = [table("ila", "d", (0, 1), 1), table("random", None, (None,), 2)]
    rows = overlap_rows(tables, LAYERS, (6,), {})
    assert [(row.a, row.b, row.differ) for row in rows] == [
        ("ila/d/seed-0", "ila/d/seed-1", "seed"),
        ("ila/d/seed-0", "random", "scorer+data+seed"),
        ("ila/d/seed-1", "random", "scorer+data+seed"),
    ]
    a, b = (top_k(tables[0].scores[i], 6) for i in (0, 1))
    shared = len(set(np.flatnonzero(a)) & set(np.flatnonzero(b)))
    x = np.arange(0, 7)
    pmf = stats.hypergeom(24, 6, 6).pmf(x)
    assert rows[0].shared == shared
    assert rows[0].jaccard == pytest.approx(shared / (12 - shared))
    assert rows[0].chance_jaccard == pytest.approx(float((x / (12 - x)) @ pmf), rel=1e-12)
    tail = min(float(pmf[x >= shared].sum()), float(pmf[x <= shared].sum()))
    assert rows[0].p_uniform == pytest.approx(min(1.0, 2 * tail), rel=1e-10)
    assert rows[0].kappa == pytest.approx((shared * 24 - 36) / (6 * 18), rel=1e-12)
    assert rows[0].type_jaccard == law_given_strata(a, b, TYPES).jaccard_mean


def test_agreement_curve_agrees_with_the_overlap_rows_and_the_stratified_law() -> None:
    tables = [table("ila", "d", (0, 1), 1)]
    curve = {row.k: row for row in agreement_rows(tables, LAYERS, {})}
    assert set(curve) == set(range(1, 24))
    (pair,) = overlap_rows(tables, LAYERS, (9,), {})
    assert curve[9].kappa == pytest.approx(pair.kappa, rel=1e-12)
    a, b = (top_k(tables[0].scores[i], 9) for i in (0, 1))
    expected = law_given_strata(a, b, TYPES).mean
    assert curve[9].type_kappa == pytest.approx((expected * 24 - 81) / (9 * 15), rel=1e-12)


def test_two_scorers_are_compared_on_the_same_data_by_runs_of_different_seeds() -> None:
    tables = [table("ila", "d", (0, 1), 1), table("norm", "d", (0, 1), 2), table("norm", "e", (0, 1), 3)]
    groups = {row.group: row.pairs for row in agreement_rows(tables, LAYERS, {})}
    assert groups == {
        "ila, other seed": 1,
        "ila and norm": 2,
        "norm, other seed": 2,
        "norm, other data": 2,
        "norm, other data and seed": 2,
    }


@pytest.mark.parametrize(("seeds", "pairs"), [((0,), 1), ((0, 1, 2), 6), ((None,), 1)])
def test_runs_of_one_seed_are_paired_only_where_there_are_no_others(seeds: tuple[int | None, ...], pairs: int) -> None:
    """Two scorers that read one training do not agree better than two runs of either."""
    one, other = table("ila", "d", seeds, 1), table("norm", "d", seeds, 1)
    rows = [row for row in agreement_rows([one, other], LAYERS, {}) if row.group == "ila and norm"]
    assert {row.pairs for row in rows} == {pairs}
    assert (rows[5].kappa == pytest.approx(1.0)) == (len(seeds) == 1)


def test_selecting_everything_has_no_kappa() -> None:
    (row,) = overlap_rows([table("ila", "d", (0, 1), 1)], LAYERS, (24,), {})
    assert row.kappa is None
    assert row.jaccard == row.chance_jaccard == 1.0


@pytest.mark.parametrize("second", ["last-k", "reversed"])
def test_an_overlap_below_chance_has_a_small_p_too(second: str) -> None:
    scores = np.linspace(1, 0, len(LAYERS))
    tables = [
        ScoreTable(Cell(scorer="first-k"), "first-k", (None,), scores[None], 0),
        ScoreTable(Cell(scorer=second), second, (None,), -scores[None], 0),
    ]
    (row,) = overlap_rows(tables, LAYERS, (10,), {})
    assert (row.shared, row.jaccard) == (0, 0)
    assert row.kappa is not None
    assert row.kappa < 0
    assert row.p_uniform < 0.01


def test_scores_tied_across_the_boundary_overlap_by_chance_alone() -> None:
    flat = ScoreTable(Cell(scorer="flat", data="d"), "flat", (0, 1), np.zeros((2, len(LAYERS))), 24)
    (row,) = overlap_rows([flat], LAYERS, (6,), {})
    assert row.shared == pytest.approx(36 / 24)
    assert row.kappa == pytest.approx(0)
    assert row.jaccard == pytest.approx(row.chance_jaccard)
    assert all(abs(each.kappa) < 1e-12 for each in agreement_rows([flat], LAYERS, {}))


def test_halves_of_one_data_set_are_no_other_data() -> None:
    tables = [table("ila", name, (0, 1), seed) for seed, name in enumerate(("d-0>pypi:x", "d-1>pypi:x", "e"))]
    sampled = {"d-0": Sample("d-0 + d-1", 0), "d-1": Sample("d-0 + d-1", 1)}
    groups = {row.group: row.pairs for row in agreement_rows(tables, LAYERS, sampled)}
    assert groups == {
        "ila, other seed": 3,
        "ila, other half": 2,
        "ila, other half and seed": 2,
        "ila, other data": 4,
        "ila, other data and seed": 4,
    }
    differ = {row.differ for row in overlap_rows(tables[:2], LAYERS, (6,), sampled)}
    assert differ == {"seed", "half", "half+seed"}


def test_what_depends_on_one_ranking_is_found_once_however_many_pairs_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rankings: list[int] = []

    def counted(scores: np.ndarray, k: int | np.ndarray) -> np.ndarray:
        rankings.append(len(np.atleast_2d(scores)))
        return membership(scores, k)

    for module in ("layersig.topics.agreement.compute", "layersig.analysis.overlap"):
        monkeypatch.setattr(f"{module}.membership", counted)
    tables, sizes = [table("ila", "d", tuple(range(20)), 1)], (6, 12)
    assert len(overlap_rows(tables, LAYERS, sizes, {})) == 190 * len(sizes)
    assert sum(rankings) <= 3 * 20 * len(sizes)
    rankings.clear()
    monkeypatch.setattr("layersig.analysis.overlap.membership", membership)  # the curves themselves are of pairs
    agreement_rows(tables, LAYERS, {})
    assert sum(rankings) == 20


def test_no_rankings_have_no_overlaps() -> None:
    assert overlap_rows([], LAYERS, (6,), {}) == agreement_rows([], LAYERS, {}) == ()
    assert overlap_rows([table("ila", "d", (0,), 1)], LAYERS, (30,), {}) == ()


def test_a_chart_shows_some_pairs_of_a_large_group_and_all_of_a_small_one() -> None:
    (row,) = overlap_rows([table("ila", "d", (0, 1), 1)], LAYERS, (6,), {})
    many = [row.model_copy(update={"group": "many", "a": str(number)}) for number in range(1_201)]
    few = [row.model_copy(update={"group": "few", "a": str(number)}) for number in range(500)]
    shown = drawn([*many, *few])
    assert [each.a for each in shown if each.group == "many"] == [str(number) for number in range(0, 1_201, 3)]
    assert [each for each in shown if each.group == "few"] == few
