from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from layersig.analysis.milestones import milestone_agreement
from layersig.findings.files import RunFiles
from layersig.findings.rankings import ScoreTable
from layersig.jsonform import dumps
from layersig.records import Cell
from layersig.store.runfolder import RunFolder
from layersig.topics.milestones.compute import milestone_rows, successive_rows, training_rows
from layersig.topics.milestones.section import _milestones
from tests.findings.recipes import recipe_of
from tests.manifests import manifest, source

N = 60
SIGNAL = np.random.default_rng(2).normal(size=N)
RECIPE = recipe_of(
    seeds=tuple(range(8)),
    scorers={"ila": {"kind": "ila", "checkpoint": (0.01, 0.25, 1.0)}, "norm": {"kind": "weight-change"}},
)


def series(data: str, noise: float, lost: dict[float, float], seeds: int = 8, scorer: str = "ila") -> list[ScoreTable]:
    """One table a checkpoint; `lost` is the noise that a milestone has beyond its end."""
    rng = np.random.default_rng([*data.encode()])
    end = SIGNAL + noise * rng.normal(size=(seeds, N))
    kind = RECIPE.scorers[scorer].kind
    return [
        ScoreTable(
            Cell(scorer=scorer, data=data, checkpoint=at),
            kind,
            tuple(range(seeds)),
            end + extra * rng.normal(size=end.shape),
            0,
        )
        for at, extra in {**lost, 1.0: 0.0}.items()
    ]


CLEAR = {0.01: 3.0, 0.25: 0.02}


def test_milestones_are_tested_from_the_last_to_the_first_and_corrected_for_all_series() -> None:
    tables = [*series("d", 0.3, CLEAR), *series("e", 0.3, CLEAR)]
    rows = milestone_rows(tables, (12, 30), RECIPE)
    assert len(rows) == 2 * 2 * 2
    for row in rows:
        early, end = (
            next(t.scores for t in tables if (t.cell.data, t.cell.checkpoint) == (row.data, at))
            for at in (row.checkpoint, 1.0)
        )
        found = milestone_agreement(early, end, row.k)
        assert (row.agreement, row.ceiling) == (found.agreement.value, found.ceiling.value)
        assert row.p == found.p_value(0.95)
        later = max(other.p for other in rows if (other.data, other.k) == (row.data, row.k) and
                    other.checkpoint >= row.checkpoint)  # fmt: skip
        assert row.adjusted_p == pytest.approx(min(1.0, 4 * later))
        reached = row.checkpoint == 0.25
        assert (row.verdict == "reaches the required share") == reached
        assert ("the agreement reaches 0.9 of the ceiling" in row.sentence) == reached
        assert row.sentence.startswith("Exploratory: after ")
        assert f"top {row.k} of 60, on {row.data}, 8 seeds" in row.sentence


def test_a_series_is_declared_if_all_its_rankings_are_and_corrected_apart_from_the_others() -> None:
    tables = [*series("d", 0.3, CLEAR), *series("e", 0.3, CLEAR)]
    of_d = frozenset().union(*(table.run_cells for table in tables if table.cell.data == "d"))
    rows = milestone_rows(tables, (12, 30), RECIPE, of_d)
    assert {row.data for row in rows if row.declared} == {"d"}
    assert {row.scorers for row in rows} == {("ila", "ila")}
    for row in rows:
        later = max(other.p for other in rows if (other.data, other.k) == (row.data, row.k) and
                    other.checkpoint >= row.checkpoint)  # fmt: skip
        assert row.adjusted_p == pytest.approx(min(1.0, 2 * later))
        assert row.sentence.startswith("Declared: after " if row.data == "d" else "Exploratory: after ")
    one_missing = of_d - {Cell(scorer="ila", data="d", seed=3, checkpoint=0.01)}
    assert not any(row.declared for row in milestone_rows(tables, (12, 30), RECIPE, one_missing))


def test_an_earlier_milestone_is_not_claimed_past_one_that_fails() -> None:
    rows = {row.checkpoint: row for row in milestone_rows(series("d", 0.3, {0.01: 0.02, 0.25: 3.0}), (12,), RECIPE)}
    assert rows[0.01].p < 0.05 < rows[0.25].p
    assert rows[0.01].adjusted_p == rows[0.25].adjusted_p
    assert {row.verdict for row in rows.values()} == {"not shown to reach it"}


@pytest.mark.parametrize(
    ("seeds", "interval", "verdict"), [(2, False, "too few seeds"), (3, True, "too few seeds"), (4, True, "too few")]
)
def test_few_seeds_show_numbers_and_no_verdict(seeds: int, interval: bool, verdict: str) -> None:
    rows = milestone_rows(series("d", 0.3, CLEAR, seeds), (12,), RECIPE)
    assert len(rows) == 2
    for row in rows:
        assert (row.p, row.adjusted_p) == (None, None)
        assert (row.ceiling_low is not None) == interval
        assert verdict in row.verdict
        assert "cannot be tested" in row.sentence


def test_milestones_of_which_no_share_is_known_have_a_table_and_no_figure() -> None:
    rows = milestone_rows(series("d", 0.3, CLEAR, 5), (12,), RECIPE)
    unknown = [row.model_copy(update={"shape": "everything", "low": None, "high": None}) for row in rows]
    kinds = [[type(block).__name__ for block in _milestones([], each)] for each in (rows, unknown)]
    assert kinds == [["Heading", "Bullets", "Figure", "Table"], ["Heading", "Bullets", "Table"]]


def test_the_last_checkpoint_need_not_be_the_end() -> None:
    tables = [table for table in series("d", 0.3, CLEAR) if table.cell.checkpoint != 1.0]
    (row,) = milestone_rows(tables, (12,), RECIPE)
    assert (row.checkpoint, row.last) == (0.01, 0.25)
    assert "runs at 25 % of other seeds" in row.sentence
    assert "full runs" not in row.sentence


@pytest.mark.parametrize("tables", [series("d", 0.3, {}), series("d", 0.3, CLEAR, seeds=1), []])
def test_without_two_checkpoints_and_two_seeds_there_is_nothing_to_test(tables: list[ScoreTable]) -> None:
    assert milestone_rows(tables, (12,), RECIPE) == ()


def test_successive_rankings_go_through_all_checkpoints_in_order() -> None:
    rows = list(successive_rows(series("d", 0.3, CLEAR), (12, N), RECIPE))
    assert [(row.checkpoint, row.next, row.k) for row in rows] == [(0.01, 0.25, 12), (0.25, 1.0, 12)]
    assert rows[1].kappa > 0.9 > rows[0].kappa
    assert rows[0].low < rows[0].kappa < rows[0].high
    assert rows[1].tau > 0.9
    (single, _) = successive_rows(series("d", 0.3, CLEAR, seeds=1), (12,), RECIPE)
    assert (single.low, single.high, single.runs) == (None, None, 1)


STABLE = {"epsilon": 0.001, "window": 50, "step": 120, "change": 0.0002, "noise": 0.0003}


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        ({}, "stable from step 120"),
        ({"step": None, "change": -0.02}, "not stable"),
        ({"step": None, "change": None, "noise": None}, "too short to tell: 4 steps, and it takes 100"),
        ({"step": None, "noise": 0.01}, "cannot tell: the scatter of batches is wider than epsilon"),
        ({"noise": 0.01}, "cannot tell: the scatter of batches is wider than epsilon"),
    ],
)
def test_length_and_stability_of_a_training(tmp_path: Path, found: dict[str, object], verdict: str) -> None:
    cell = {"arm": "all-layers", "data": "d", "seed": 3}
    stage = {"id": "reference/d/seed-3", "kind": "reference", "cell": cell, "status": "done"}
    told = {**stage, "seconds_per_token": 0.5, "continued_from": 1}
    RunFolder(tmp_path).save_manifest(manifest(stages=[told], sources=[source("data", "d")]))
    log = tmp_path / "trainings" / "all-layers" / "d" / "seed-3.json"
    log.parent.mkdir(parents=True)
    steps = [{"step": number, "tokens": 8} for number in range(1, 5)]
    log.write_text(dumps({"planned_steps": 16, "stability": {**STABLE, **found}, "steps": steps, "numerics": "x"}))
    (row,) = training_rows(RunFiles(tmp_path))
    assert (row.arm, row.data, row.seed, row.steps, row.planned_steps) == ("all-layers", "d", 3, 4, 16)
    assert (row.seconds_per_step, row.seconds_saved, row.continued_from) == (4.0, 48.0, 1)
    assert row.verdict == verdict
