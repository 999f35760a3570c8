from __future__ import annotations

import numpy as np
import pytest

from layersig.analysis.ceiling import noise_ceiling
from layersig.analysis.multiplicity import holm
from layersig.findings.rankings import ScoreTable
from layersig.findings.rows.layers import LayerRow
from layersig.findings.unit_grid import grid_of
from layersig.records import Cell
from layersig.topics.ceilings.compute import ceiling_rows
from layersig.topics.ceilings.rows import CeilingRow

UNITS = tuple(
    LayerRow(number=3 * b + i, layer=f"m.{b}.{kind}", block=b, kind=kind, parameters=10)
    for b in range(14)
    for i, kind in enumerate(("q", "v", "up"))
)
N = len(UNITS)


def table(scorer: str, data: str | None, signal: float, seeds: int = 5, kind: str = "ila") -> ScoreTable:
    rng = np.random.default_rng([*f"{scorer}{data}".encode()])
    scores = signal * np.random.default_rng(1).normal(size=N) + rng.normal(size=(seeds, N))
    named = (None,) if data is None else tuple(range(seeds))
    return ScoreTable(Cell(scorer=scorer, data=data), kind, named, scores, 0)


def rows_of(*tables: ScoreTable, sizes: tuple[int, ...] = (12,)) -> dict[tuple[str, str | None, int], CeilingRow]:
    rows = ceiling_rows(tables, sizes, grid_of(UNITS), 0.95, 0.05)
    return {(row.scorer, row.data, row.k): row for row in rows}


def test_p_values_are_corrected_over_all_rankings_and_sizes() -> None:
    tables = (table("ila", "d", 2.0), table("ila", "e", 0.35), table("norm", "d", 0.0))
    rows = rows_of(*tables, sizes=(12, 30))
    raw = [noise_ceiling(each.scores, k).p for each in tables for k in (12, 30)]
    assert [row.p for row in rows.values()] == raw
    assert [row.adjusted_p for row in rows.values()] == pytest.approx(holm(np.array(raw)).tolist())
    assert {row.tests for row in rows.values()} == {6}
    for row in rows.values():
        assert row.adjusted_p is not None
        assert row.above_chance == (row.adjusted_p <= 0.05)
    assert rows["ila", "d", 12].above_chance
    assert not rows["norm", "d", 12].above_chance


def test_a_sentence_says_what_was_shown_and_by_which_figures() -> None:
    rows = rows_of(table("ila", "d", 2.0), table("norm", "d", 0.0))
    shown, noise = rows["ila", "d", 12], rows["norm", "d", 12]
    assert shown.sentence.startswith("Exploratory: the seeds of ila on d agree above chance: kappa ")
    assert f"{shown.low:.2f} to {shown.high:.2f}" in shown.sentence
    assert "corrected for 2 tests (top 12 of 42, S = 5)" in shown.sentence
    assert "are not shown to agree above chance" in noise.sentence


@pytest.mark.parametrize(
    ("seeds", "above", "verdict"), [(1, None, "too few seeds to tell"), (2, None, "too few seeds to tell")]
)
def test_too_few_seeds_leave_it_open_and_cost_the_others_nothing(seeds: int, above: bool | None, verdict: str) -> None:
    rows = rows_of(table("ila", "d", 2.0, seeds=seeds), table("norm", "d", 2.0))
    row = rows["ila", "d", 12]
    assert (row.seeds, row.above_chance, row.verdict, row.p, row.low) == (seeds, above, verdict, None, None)
    assert (row.kappa is None) == (seeds == 1)
    assert "a test takes 3 seeds or more" in row.sentence
    assert rows["norm", "d", 12].tests == 1


def test_a_ranking_without_seeds_has_none_and_controls_are_left_out() -> None:
    rows = rows_of(table("carried", None, 1.0, seeds=1), table("rand", "d", 0.0, kind="random"))
    (row,) = rows.values()
    assert (row.scorer, row.seeds, row.verdict, row.above_chance) == (
        "carried",
        0,
        "the ranking depends on no seed",
        None,
    )


def test_agreement_on_type_alone_leaves_no_residual() -> None:
    rng = np.random.default_rng(3)
    typed = np.tile([0.0, 3.0, 6.0], 14) + rng.normal(size=(5, N))
    row = rows_of(ScoreTable(Cell(scorer="ila", data="d"), "ila", tuple(range(5)), typed, 0))["ila", "d", 12]
    assert row.above_chance
    assert row.residual_adjusted_p is not None
    assert row.residual_adjusted_p > 0.05
