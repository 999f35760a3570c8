from __future__ import annotations

import numpy as np
import pytest

from layersig.analysis.rank_intervals import rank_intervals_seeds
from layersig.findings.rankings import ScoreTable
from layersig.findings.rows.layers import LayerRow
from layersig.records import Cell
from layersig.topics.ceilings.rank_sets import rank_set_rows, top_set_rows
from layersig.topics.ceilings.rows import RankSetRow

N = 30
UNITS = tuple(
    LayerRow(number=number, layer=f"m.{number}", block=number, kind="q", parameters=10) for number in range(N)
)


def table(scorer: str, kind: str = "ila", seeds: int = 5) -> ScoreTable:
    scores = 2.0 * np.arange(N) + np.random.default_rng(0).normal(size=(seeds, N))
    return ScoreTable(Cell(scorer=scorer, data="d"), kind, tuple(range(seeds)), scores, 0)


def row_of(number: int, best: int, worst: int) -> RankSetRow:
    return RankSetRow(
        scorer="ila", data="d", checkpoint=None, number=number, layer=f"m.{number}", rank=best, best=best, worst=worst,
        seeds=5, level=0.95,
    )  # fmt: skip


def test_every_layer_has_the_set_of_the_analysis_around_its_rank() -> None:
    found = table("ila")
    rows = rank_set_rows((found,), UNITS, 0.1)
    assert [row.number for row in rows] == list(range(N))
    assert [(row.best, row.worst) for row in rows] == [
        (each.best, each.worst) for each in rank_intervals_seeds(found.scores, 0.1)
    ]
    assert all(row.best <= row.rank <= row.worst for row in rows)
    assert rows[-1].worst < rows[0].best
    assert {(row.seeds, row.level) for row in rows} == {(5, 0.9)}


@pytest.mark.parametrize(("k", "expected"), [(1, (1, 2, 1)), (2, (1, 1, 2)), (3, (3, 1, 0))])
def test_the_top_k_counts_what_is_shown_to_be_inside_and_outside(k: int, expected: tuple[int, int, int]) -> None:
    rows = [row_of(0, 1, 1), row_of(1, 2, 3), row_of(2, 1, 3), row_of(3, 4, 4)]
    (row,) = top_set_rows(rows, (table("ila"),), (k,))
    assert (row.inside, row.outside, row.open) == expected
    assert f"{row.inside} of 4 layers are shown to be among the top {k} and {row.outside} not to be" in row.sentence


@pytest.mark.parametrize("left_out", [table("ila", seeds=4), table("rand", kind="random")])
def test_fewer_than_five_seeds_and_controls_have_no_sets(left_out: ScoreTable) -> None:
    assert rank_set_rows((left_out,), UNITS, 0.05) == ()
    assert top_set_rows((), (left_out,), (10,)) == ()
