"""Layer cards: means and errors over seeds, what inputs say, and what a unit costs alone."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from layersig.jsonform import jsonl
from layersig.layers import Layer, LayerMap, Part, Unit
from layersig.records import Cell, Ranking
from layersig.report.document import Table
from layersig.topics.card.compute import card_rows
from layersig.topics.card.rows import LAYER_CARDS
from layersig.topics.card.section import section
from tests.findings.recipes import recipe_of

LAYERS = LayerMap(
    tuple(Layer(f"b{block}.{kind}", block, kind, Part.MLP, 32, (8, 4)) for block in range(3) for kind in ("x", "y")),
    ("b0", "b1", "b2"),
    tied_head=True,
)
SCORERS = {"white": {"kind": "whitened-gradient"}, "moved": {"kind": "weight-change"}}


def evidence(folder: Path, unit: Unit, seeds: int) -> Any:
    """Runs in which the signal grows with the unit's place and the seed, and inputs are worse with every layer."""
    groups = LAYERS.groups(unit)
    rankings = []
    for seed in range(seeds):
        lines = [
            {"layer": name, "energy": 10.0 + seed, "condition": 2.0**place} for place, name in enumerate(LAYERS.names)
        ]
        path = folder / "trajectories" / "white" / "d" / f"seed-{seed}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(jsonl(lines))
        for name, factor in (("white", 1.0), ("moved", -2.0)):
            scores = {group.name: factor * (place + seed) for place, group in enumerate(groups)}
            rankings.append(SimpleNamespace(cell=Cell(scorer=name, data="d", seed=seed), ranking=Ranking(unit, scores)))
    files = SimpleNamespace(path=folder, rankings=rankings)
    return SimpleNamespace(files=files, recipe=recipe_of(scorers=SCORERS), unit=unit, groups=groups)


def test_a_card_has_means_over_seeds_with_their_errors(tmp_path: Path) -> None:
    rows = list(card_rows(evidence(tmp_path, Unit.MODULE, 3)))
    assert [row.layer for row in rows] == list(LAYERS.names)
    for place, row in enumerate(rows):
        assert (row.runs, row.signal, row.energy) == (3, place + 1, 11.0)
        assert row.signal_se == pytest.approx(1 / 3**0.5)  # of 0, 1, 2 more
        assert (row.scored_by, row.score) == ("moved", -2.0 * (place + 1))
        assert row.score_se == pytest.approx(2 / 3**0.5)
        assert row.condition == 2.0**place
    # Of 3 blocks of 64 weights each: forwards all, back those from its own block on, and thrice its factors of rank 32.
    factors = 3 * 32 * 12
    assert [row.time for row in rows[::2]] == [
        pytest.approx((192 + 64 * above + factors) / (384 + 6 * factors)) for above in (3, 2, 1)
    ]


def test_a_unit_of_several_layers_sums_energies_and_has_the_worst_condition(tmp_path: Path) -> None:
    (first, *_) = card_rows(evidence(tmp_path, Unit.BLOCK, 1))
    assert (first.layer, first.energy, first.condition) == ("b0", 20.0, 2.0)
    assert (first.signal_se, first.score_se) == (None, None)


def test_the_section_shows_the_strongest_first_and_is_absent_without_a_run(tmp_path: Path) -> None:
    rows = tuple(card_rows(evidence(tmp_path, Unit.MODULE, 1)))
    found = section(SimpleNamespace(findings={LAYER_CARDS: rows}))  # type: ignore[arg-type]  # what is read of it
    assert found is not None
    (table,) = [block for block in found.blocks if isinstance(block, Table)]
    assert "one seed, so without errors" in table.caption
    assert [row[1] for row in table.rows][:2] == ["5.00", "4.00"]
    assert section(SimpleNamespace(findings={LAYER_CARDS: ()})) is None  # type: ignore[arg-type]
    (tmp_path / "trajectories" / "white" / "d" / "seed-0.jsonl").unlink()
    assert not list(card_rows(evidence(tmp_path / "other", Unit.MODULE, 0)))
