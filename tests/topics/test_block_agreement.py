"""Two scores of the same blocks: correlations with and without the first, and a test beyond depth."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from layersig.findings.rankings import ScoreTable
from layersig.recipe.schema import Recipe
from layersig.records import Cell
from layersig.topics.block_agreement.compute import block_correlation_rows

BLOCKS, SEEDS = 24, (0, 1, 2)
RECIPE = Recipe.model_validate(
    {
        "name": "x",
        "model": {"source": "path:m"},
        "data": ({"name": "a", "source": "file:a"},),
        "analyze": {"resamples": 400},
    }
)


def table(scorer: str, scores: np.ndarray) -> ScoreTable:
    return ScoreTable(Cell(scorer=scorer, data="a"), "block-influence", SEEDS, scores, 0)


@pytest.fixture
def rows():
    rng = np.random.default_rng(4)
    rough = rng.normal(size=BLOCKS)
    one = np.array([rough + 0.2 * rng.normal(size=BLOCKS) for _ in SEEDS])
    other = np.array([2 * rough + 0.2 * rng.normal(size=BLOCKS) for _ in SEEDS])
    far = np.array([rng.normal(size=BLOCKS) for _ in SEEDS])
    far[:, 0] = one[:, 0] = 50.0  # a first block that makes a correlation of values, and little of ranks
    return (
        one,
        other,
        far,
        block_correlation_rows([table("one", one), table("other", other), table("far", far)], RECIPE, 0.95),
    )


def test_correlations_are_those_of_averages_and_of_single_seeds(rows) -> None:
    one, other, _, found = rows
    (row,) = [row for row in found if (row.a, row.b) == ("one", "other")]
    assert row.correlation == pytest.approx(stats.spearmanr(one.mean(0), other.mean(0)).statistic)
    assert row.inner == pytest.approx(stats.spearmanr(one.mean(0)[1:], other.mean(0)[1:]).statistic)
    single = [stats.spearmanr(a, b).statistic for a, b in zip(one, other, strict=True)]
    assert (row.run_low, row.run_high) == pytest.approx((min(single), max(single)))
    assert (row.runs, row.blocks, row.data) == (3, BLOCKS, "a")
    assert row.low < row.correlation < row.high
    assert row.inner_low < row.inner < row.inner_high


def test_scores_that_go_together_are_told_from_those_that_do_not(rows) -> None:
    *_, found = rows
    by_pair = {(row.a, row.b): row for row in found}
    assert len(by_pair) == 3
    assert by_pair["one", "other"].adjusted_p < 0.05 < by_pair["one", "far"].adjusted_p
    assert by_pair["one", "other"].adjusted_p == pytest.approx(3 * by_pair["one", "other"].p)


def test_a_correlation_of_declared_rankings_is_declared_and_corrected_apart(rows) -> None:
    one, other, far, _ = rows
    tables = [table("one", one), table("other", other), table("far", far)]
    declared = tables[0].run_cells | tables[1].run_cells
    found = {(row.a, row.b): row for row in block_correlation_rows(tables, RECIPE, 0.95, declared)}
    assert [pair for pair, row in found.items() if row.declared] == [("one", "other")]
    assert found["one", "other"].adjusted_p == found["one", "other"].p
    others = [row for pair, row in found.items() if pair != ("one", "other")]
    assert min(row.adjusted_p for row in others) == pytest.approx(min(1.0, 2 * min(row.p for row in others)))


def test_a_score_that_is_alike_everywhere_and_few_blocks_give_no_row() -> None:
    alike = np.ones((3, BLOCKS))
    rough = np.random.default_rng(5).normal(size=(3, BLOCKS))
    assert block_correlation_rows([table("one", alike), table("other", rough)], RECIPE, 0.95) == ()
    short = [table(name, rough[:, :6]) for name in ("one", "other")]
    assert block_correlation_rows(short, RECIPE, 0.95) == ()
