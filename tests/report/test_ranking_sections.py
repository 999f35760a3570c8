"""The parts of the report that say what rankings are worth: ceilings, single layers, sharing, overlap."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from layersig.findings.rankings import ScoreTable
from layersig.findings.rows.layers import LayerRow
from layersig.findings.unit_grid import grid_of
from layersig.records import Cell
from layersig.report.document import Block, Bullets, Details, Table
from layersig.topics.ceilings.compute import ceiling_rows
from layersig.topics.ceilings.rank_sets import rank_set_rows, top_set_rows
from layersig.topics.ceilings.rows import CEILINGS, RANK_SETS, TOP_SETS
from layersig.topics.ceilings.section import ceilings
from layersig.topics.stability.overlap_section import permutation_tests
from layersig.topics.stability.overlap_tests import overlap_test_rows
from layersig.topics.stability.replicates import replicates
from layersig.topics.stability.rows import OVERLAP_TESTS, SHARING
from layersig.topics.stability.sharing import sharing_rows
from layersig.topics.stability.sharing_section import sharing
from tests.findings.recipes import recipe_of

UNITS = tuple(
    LayerRow(number=2 * b + i, layer=f"m.{b}.{kind}", block=b, kind=kind, parameters=10)
    for b in range(16)
    for i, kind in enumerate(("q", "up"))
)
DATA = ("d", "e", "f")
RECIPE = recipe_of(seeds=tuple(range(5)), data=tuple({"name": name, "source": f"pypi:{name}"} for name in DATA))
SIZES = (8, 16)


def material(seeds: int, data: tuple[str, ...] = DATA) -> Any:
    rng = np.random.default_rng(0)
    signal = rng.normal(size=len(UNITS))
    tables = [
        ScoreTable(Cell(scorer="ila", data=name), "ila", tuple(range(seeds)), signal + 0.3 * noise, 0)
        for name in data
        for noise in [rng.normal(size=(seeds, len(UNITS)))]
    ]
    sets, grid = rank_set_rows(tables, UNITS, 0.05), grid_of(UNITS)
    findings = {
        CEILINGS: ceiling_rows(tables, SIZES, grid, 0.95, 0.05),
        RANK_SETS: sets,
        TOP_SETS: top_set_rows(sets, tables, SIZES),
        SHARING: sharing_rows(replicates(tables, RECIPE), SIZES, "m", RECIPE),
        OVERLAP_TESTS: overlap_test_rows(tables, SIZES, grid, RECIPE),
    }
    return SimpleNamespace(findings=findings)


def tables_of(blocks: list[Block]) -> list[Table]:
    return [block for block in blocks if isinstance(block, Table)]


def said(blocks: list[Block]) -> list[str]:
    inner = [*blocks, *(each for block in blocks if isinstance(block, Details) for each in block.blocks)]
    return [str(text[0]) for block in inner if isinstance(block, Bullets) for text in block.items]


def test_kappa_and_what_is_left_without_type_and_depth_stand_side_by_side() -> None:
    shown = material(5)
    blocks = ceilings(shown)
    table, singles = tables_of(blocks)
    row = shown.findings[CEILINGS][0]
    assert table.rows[0][3] == f"{row.kappa:.2f} [{row.low:.2f}, {row.high:.2f}]"
    assert table.rows[0][5] == f"{row.residual:.2f} [{row.residual_low:.2f}, {row.residual_high:.2f}]"
    assert len(table.rows) == len(DATA) * len(SIZES)
    assert len(singles.rows) == 10 * len(DATA)
    sentences = {each.sentence for each in (*shown.findings[CEILINGS], *shown.findings[TOP_SETS])}
    assert sentences == set(said(blocks))


@pytest.mark.parametrize("seeds", [1, 2, 4])
def test_below_five_seeds_no_single_layer_is_spoken_of(seeds: int) -> None:
    (table,) = tables_of(ceilings(material(seeds)))
    assert all("[" not in str(row[3]) for row in table.rows) == (seeds < 3)


def test_sharing_is_told_together_in_words_and_two_by_two_folded() -> None:
    shown = material(5)
    blocks = sharing(shown)
    together, pairs, opposite = tables_of(blocks)
    assert len(together.rows) == 2
    assert len(pairs.rows) == 6
    assert len(opposite.rows) == 4
    rows = shown.findings[SHARING]
    open_words = said([block for block in blocks if not isinstance(block, Details)])
    assert open_words == [row.sentence for row in rows if row.family.endswith("together")]
    assert set(said(blocks)) == {row.sentence for row in rows}


def test_every_test_of_overlap_has_its_sentence_and_its_ratio() -> None:
    shown = material(5, DATA[:2])
    blocks = permutation_tests(shown)
    (table,) = tables_of(blocks)
    row = shown.findings[OVERLAP_TESTS][0]
    assert table.rows[0][5:7] == (f"{row.ceiling:.3f}", f"{row.ratio:.2f}")
    assert {each.sentence for each in shown.findings[OVERLAP_TESTS]} <= set(said(blocks))
