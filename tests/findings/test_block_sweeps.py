"""Sweeps over blocks against numbers worked out another way, from files as a scorer leaves them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from layersig.analysis.floors import RATIO_OF_LEVELS
from layersig.analysis.retention import ratio_of_tables
from layersig.findings.files import RunFiles
from layersig.findings.outcomes import outcome_tables
from layersig.jsonform import jsonl
from layersig.records import Cell, Outcome, block_label
from layersig.topics.blocks.compute import block_rows
from layersig.topics.blocks.retention import block_retention_rows
from layersig.topics.blocks.rows import BlockRow
from layersig.topics.blocks.sweep import Sweep, block_sweeps
from tests.findings.recipes import recipe_of
from tests.manifests import manifest

ITEMS, BLOCKS = 60, 6
RECIPE = recipe_of()
Values = Mapping[str, np.ndarray]
"""Values by metric; the metric names the task."""
METRICS = {"choose": "acc", "summary": "rouge_l"}


def write(folder: Path, label: str, values: Values, **more: Any) -> None:
    path = folder / "ablations" / "skipped" / label
    path.mkdir(parents=True)
    lines = [
        {"task": task, "item": f"i{number}", "metric": METRICS[task], "value": float(value)}
        for task, vector in values.items()
        for number, value in enumerate(vector)
    ]
    (path / "items.jsonl").write_text(jsonl(lines))
    tasks = {
        "choose": {"format": "classification", "higher_is_better": {"acc": True}},
        "summary": {"format": "generation", "higher_is_better": {"rouge_l": True}},
    }
    (path / "results.json").write_text(json.dumps({"scores": {}, "tasks": tasks}))
    for name, rows in more.items():
        (path / f"{name}.jsonl").write_text(jsonl(rows))


def answers(probe: Sequence[float | None], error: Sequence[str]) -> list[dict[str, Any]]:
    return [
        {
            "task": "summary",
            "item": f"i{number}",
            "probes": {} if value is None else {"rep": value},
            "code": {"error": ended, "paper_error": ended},
        }
        for number, (value, ended) in enumerate(zip(probe, error, strict=True))
    ]


@pytest.fixture
def values() -> dict[str, dict[str, np.ndarray]]:
    """Block 2 destroys the choices, block 4 harms the summaries, the rest does next to nothing."""
    rng = np.random.default_rng(11)
    choose, summary = (rng.uniform(size=ITEMS) < 0.7).astype(float), rng.uniform(0.2, 0.8, ITEMS)
    found = {"whole": {"choose": choose, "summary": summary}}
    for block in range(BLOCKS):
        flips = rng.uniform(size=ITEMS) < 0.08
        kept = choose * (rng.uniform(size=ITEMS) < 0.3) if block == 2 else np.where(flips, 1 - choose, choose)
        noise = summary + 0.02 * rng.normal(size=ITEMS) - (0.3 * summary if block == 4 else 0.0)
        found[f"block-{block}"] = {"choose": kept, "summary": noise}
    return found


@pytest.fixture
def sweep(tmp_path: Path, values: dict[str, dict[str, np.ndarray]]) -> Sweep:
    (tmp_path / "manifest.json").write_text(json.dumps({"schema": 1, **manifest()}))
    rng = np.random.default_rng(12)
    floors = [
        {"task": "choose", "item": f"i{number}", "metric": "acc", "value": float(value)}
        for number, value in enumerate(rng.uniform(size=ITEMS) < 0.25)
    ]
    for label, of_model in values.items():
        rep = [None if number == 3 else 0.1 + 0.5 * (label == "block-1") for number in range(ITEMS)]
        rep = [None if value is None else value + 0.05 * rng.normal() for value in rep]
        error = ["bracket" if label == "block-5" and number < 12 else "passed" for number in range(ITEMS)]
        more = {"responses": answers(rep, error)} | ({"floors": floors} if label == "whole" else {})
        write(tmp_path, label, of_model, **more)
    (found,) = block_sweeps(RunFiles(tmp_path))
    return found


def test_every_difference_is_that_of_the_same_items(sweep: Sweep, values: dict[str, dict[str, np.ndarray]]) -> None:
    rows = [row for row in block_rows([sweep], RECIPE) if row.kind == "metric"]
    assert len(rows) == 2 * BLOCKS
    for row in rows:
        difference = values[f"block-{row.block}"][row.task] - values["whole"][row.task]
        assert row.difference == pytest.approx(difference.mean())
        assert (row.n, row.primary) == (ITEMS, True)
        if row.task == "summary":
            half = stats.t.ppf(0.975, ITEMS - 1) * stats.sem(difference)
            assert (row.low, row.high) == pytest.approx((difference.mean() - half, difference.mean() + half))
            assert row.p == pytest.approx(stats.ttest_1samp(difference, 0).pvalue)
        assert row.band_low is not None
        assert row.low is not None
        assert row.band_low < row.low
        assert row.band_high is not None
        assert row.high is not None
        assert row.band_high > row.high
    harmful = {(row.task, row.block) for row in rows if (row.p_max_t or 1) < 0.05}
    assert harmful == {("choose", 2), ("summary", 4)}


def test_bands_and_corrected_p_values_agree(sweep: Sweep) -> None:
    for row in block_rows([sweep], RECIPE):
        if row.p_max_t is not None and row.band_low is not None and row.band_high is not None:
            assert (row.p_max_t <= 0.05) == (not row.band_low <= 0 <= row.band_high)
            assert row.p is not None
            assert row.p_max_t >= row.p - 0.01
            assert row.p_max_t <= min(1, BLOCKS * row.p) + 0.01


def test_benjamini_hochberg_is_over_the_whole_sweep(sweep: Sweep) -> None:
    rows = [row for row in block_rows([sweep], RECIPE) if row.p is not None]
    for kind in ("metric", "probe", "code error"):
        own = [row for row in rows if row.kind == kind]
        expected = multipletests([row.p for row in own], method="fdr_bh")[1]
        np.testing.assert_allclose([row.p_bh or 0.0 for row in own], expected)


def test_probes_and_errors_are_told_block_by_block(sweep: Sweep) -> None:
    rows: dict[tuple[str, int], BlockRow] = {(row.quantity, row.block): row for row in block_rows([sweep], RECIPE)}
    repeats = rows["rep", 1]
    assert (repeats.kind, repeats.n) == ("probe", ITEMS - 1)
    assert repeats.difference == pytest.approx(0.5, abs=0.05)
    assert (repeats.p_max_t or 1) < 0.001 < (rows["rep", 0].p_max_t or 0)
    brackets = rows["bracket", 5]
    assert (brackets.kind, brackets.whole, brackets.without) == ("code error", 0.0, 12 / ITEMS)
    assert (brackets.p_max_t or 1) < 0.05
    assert rows["bracket", 0].difference == 0.0
    assert rows["bracket", 0].low is not None
    assert rows["bracket", 0].low < 0
    assert ("passed", 0) not in rows


def test_retention_by_block_is_fieller_s_set_and_the_floor_counts(
    sweep: Sweep, values: dict[str, dict[str, np.ndarray]]
) -> None:
    by_task, means = block_retention_rows([sweep], RECIPE, "m")
    assert {(row.task, row.block) for row in by_task} == {(task, block) for task in METRICS for block in range(BLOCKS)}
    for row in by_task:
        own, whole = values[f"block-{row.block}"][row.task], values["whole"][row.task]
        assert row.retention == pytest.approx(own.mean() / whole.mean())
        added = RATIO_OF_LEVELS if row.task == "choose" else None
        expected = ratio_of_tables(own[None], whole[None], 0.95, None, added)
        assert (row.low, row.high) == pytest.approx((max(0, expected.low), expected.high))
        assert row.band_low is not None
        assert row.low is not None
        assert row.band_low <= row.low
        assert row.band_high is not None
        assert row.high is not None
        assert row.band_high >= row.high
        assert (row.floor is not None) == (row.task == "choose")
    floored = next(row for row in by_task if (row.task, row.block) == ("choose", 2))
    assert floored.floor is not None
    above = (floored.without - floored.floor) / (floored.whole - floored.floor)
    assert floored.corrected == pytest.approx(above)
    for mean in means:
        task = "choose" if mean.format == "classification" else "summary"
        (only,) = [row.retention for row in by_task if (row.task, row.block) == (task, mean.block)]
        assert mean.retention == pytest.approx(only)
        assert mean.tasks == 1
        assert mean.band_low is not None
        assert mean.low is not None
        assert mean.band_low <= mean.low


def test_a_block_that_was_not_measured_is_absent_and_a_sweep_without_the_whole_model_is_none(
    tmp_path: Path, values: dict[str, dict[str, np.ndarray]]
) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps({"schema": 1, **manifest()}))
    write(tmp_path, "block-7", values["block-2"])
    assert block_sweeps(RunFiles(tmp_path)) == ()
    write(tmp_path, "whole", values["whole"])
    (found,) = block_sweeps(RunFiles(tmp_path))
    rows = list(block_rows([found], RECIPE))
    assert {row.block for row in rows} == {7}
    # Alone in its family, a block is corrected for nothing.
    assert all(row.p_max_t == pytest.approx(row.p, abs=0.01) for row in rows)


def test_equal_models_have_no_test_where_values_are_no_shares(
    tmp_path: Path, values: dict[str, dict[str, np.ndarray]]
) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps({"schema": 1, **manifest()}))
    for label in ("whole", "block-0", "block-1"):
        write(tmp_path, label, values["whole"])
    rows = list(block_rows(block_sweeps(RunFiles(tmp_path)), RECIPE))
    assert {(row.task, row.difference) for row in rows} == {("choose", 0.0), ("summary", 0.0)}
    for row in rows:
        assert (row.p is None) == (row.no_interval is not None) == (row.task == "summary")


@pytest.mark.slow
@pytest.mark.parametrize(("items", "solved"), [(50, 0.7), (100, 0.4)])
def test_bands_hold_for_all_blocks_together(items: int, solved: float) -> None:
    rng, studies = np.random.default_rng(13), 250
    kept, gained = rng.uniform(0.3, 1.0, 12), rng.uniform(0.0, 0.3, 12)
    truth = solved * kept + (1 - solved) * gained
    inside = {"difference": 0, "retention": 0}
    for _ in range(studies):
        whole = rng.uniform(size=items) < solved
        draws = rng.uniform(size=(12, items))
        blocks = np.where(whole, draws < kept[:, None], draws < gained[:, None])
        cells = {"base": whole} | {block_label(number): row for number, row in enumerate(blocks)}
        tables = outcome_tables(
            (Cell(arm=arm), [Outcome("choose", f"i{n}", "acc", float(value)) for n, value in enumerate(vector)])
            for arm, vector in cells.items()
        )
        sweep = Sweep(Cell(scorer="s"), tuple(range(12)), tables, (), (), {})
        rows = list(block_rows([sweep], RECIPE))
        differences = truth - solved
        inside["difference"] += all(
            row.band_low is not None and row.band_low <= differences[row.block] <= (row.band_high or 0) + 1e-12
            for row in rows
        )
        ratios, _ = block_retention_rows([sweep], RECIPE, "m")
        inside["retention"] += all(
            (row.band_low if row.band_low is not None else 0.0)
            <= truth[row.block] / solved
            <= (row.band_high if row.band_high is not None else np.inf)
            for row in ratios
        )
    assert inside["difference"] / studies >= 0.92
    assert inside["retention"] / studies >= 0.92
