"""Corpus metrics in findings: paired by resample, never told as means, never with a verdict."""

from __future__ import annotations

from pathlib import Path
from zlib import crc32

import numpy as np
import pytest
from scipy import stats

from layersig.findings.corpus import corpus_contrast, corpus_tables
from layersig.findings.outcomes import Measure
from layersig.findings.rows.arms import COMPARISONS, RESULTS, SHARES
from layersig.findings.tables import Findings
from layersig.jsonform import dumps, jsonl
from layersig.records import Cell, CorpusValue
from layersig.topics.analyse import analyse
from layersig.topics.render import render
from tests.report.studies import Study
from tests.report.synthetic import write_run

STUDY = Study(blocks=6, data=("alpaca",), seeds=(0, 1), tasks=(("arc_easy", 20),), heldout=8, steps=40)
MEASURE = Measure("claims", "f1")


def value(arm: float, *, items: str = "x", metric: str = "f1", draws: int = 200, gaps: int = 0) -> CorpusValue:
    """A metric whose resamples all models share but for the arm's own level."""
    noise = np.random.default_rng(7).normal(scale=0.05, size=draws)
    replicates = [None if at < gaps else float(arm + each) for at, each in enumerate(noise)]
    return CorpusValue("claims", metric, arm, 40, 40, items, tuple(replicates))


def own(rate: float, seed: int) -> CorpusValue:
    noise = np.random.default_rng(seed).normal(scale=0.02, size=200)
    return CorpusValue("claims", "f1", rate, 40, 40, "x", tuple((rate + noise).tolist()))


def test_a_difference_is_paired_by_resample() -> None:
    cells = [(Cell(arm="one", data="d"), [value(0.7)]), (Cell(arm="two", data="d"), [own(0.6, 1)])]
    tables = corpus_tables(cells, {})
    found = corpus_contrast(tables, MEASURE, "d", "one", "two")
    assert found is not None
    assert found.value == pytest.approx(0.1)
    differences = np.array(value(0.7).replicates, float) - np.array(own(0.6, 1).replicates, float)
    assert found.estimate is not None
    se = differences.std(ddof=1) * np.sqrt(40 / 39)
    assert (found.estimate.se, found.estimate.df) == (pytest.approx(se), 39)
    tested = found.test(np.random.default_rng(0))
    assert (tested.name, tested.p) == ("t (items resampled)", pytest.approx(2 * stats.t.sf(0.1 / se, 39)))


def test_equal_resamples_of_both_leave_no_interval() -> None:
    cells = [(Cell(arm="one", data="d"), [value(0.7)]), (Cell(arm="two", data="d"), [value(0.7)])]
    found = corpus_contrast(corpus_tables(cells, {}), MEASURE, "d", "one", "two")
    assert found is not None
    assert (found.value, found.estimate, found.test(np.random.default_rng(0)).p) == (0.0, None, None)


def test_other_items_are_left_out_and_told() -> None:
    cells = [(Cell(arm="one", data="d"), [value(0.7)]), (Cell(arm="two", data="d"), [value(0.6, items="y")])]
    tables = corpus_tables(cells, {})
    assert tables.tables.notes == ("two/d was evaluated on other items of claims and is left out there",)
    assert list(tables.tables.values[MEASURE]) == [Cell(arm="one", data="d")]


def test_a_value_that_is_not_defined_is_left_out_and_told() -> None:
    undefined = CorpusValue("claims", "f1", None, 40, 40, "x", (None,) * 200)
    tables = corpus_tables([(Cell(arm="one", data="d"), [undefined])], {})
    assert tables.tables.notes == ("one/d: f1 of claims is not defined on its items and is left out",)
    assert not tables.tables.values


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Findings]:
    """A run in which every model has F1, higher in arms with longer names, and TER, which is rarely defined."""
    run = tmp_path_factory.mktemp("corpus") / "run"
    recipe = write_run(run, STUDY)
    for path in sorted((run / "evaluations").glob("**/items.jsonl")):
        arm = path.relative_to(run / "evaluations").parts[0]
        seed = crc32(str(path.relative_to(run)).encode())
        values = [own(0.5 + len(arm) / 100, seed), value(0.3, metric="ter", gaps=20)]
        path.with_name("corpus.jsonl").write_text(jsonl([each.to_json() for each in values]))
        record = {"tasks": {"claims": {"higher_is_better": {"f1": True, "ter": False}, "n": 40}}}
        path.with_name("results.json").write_text(dumps(record))
    margins = recipe.analyze.model_copy(update={"margins": {"f1": 0.01}, "outcome": "claims"})
    recipe = recipe.model_copy(update={"analyze": margins})
    found = analyse(run, recipe)
    render(run)
    return run, found


def test_every_arm_has_a_value_with_its_error(found: tuple[Path, Findings]) -> None:
    rows = [row for row in found[1][RESULTS] if (row.task, row.metric) == ("claims", "f1")]
    assert {row.arm for row in rows} >= {"base", "all-layers"}
    for row in rows:
        assert row.value == pytest.approx(0.5 + len(row.arm) / 100)
        assert row.primary
        assert row.se is not None
        assert row.low is not None
        assert row.low < row.value
    assert not any(row.primary for row in found[1][RESULTS] if row.metric == "ter")


def test_a_comparison_has_a_test_and_no_verdict(found: tuple[Path, Findings]) -> None:
    rows = [row for row in found[1][COMPARISONS] if (row.task, row.metric) == ("claims", "f1")]
    assert rows
    for row in rows:
        assert row.test in {"t (items resampled)", "t (items resampled, seeds)"}
        assert row.p is not None
        assert (row.margin, row.verdict) == (0.01, None)
        assert str(row.sentence).endswith("No verdict: the metric is computed over all items at once.")
        assert row.outcome
        assert row.family is not None
        assert row.adjusted_p is not None
        assert row.adjusted_p >= row.p
    assert all(row.higher_is_better is (row.metric == "f1") for row in found[1][COMPARISONS] if row.task == "claims")
    assert not [row for row in found[1][SHARES] if row.task == "claims"]


def test_a_metric_that_is_rarely_defined_has_no_interval(found: tuple[Path, Findings]) -> None:
    rows = [row for row in found[1][COMPARISONS] if (row.task, row.metric) == ("claims", "ter")]
    assert {(row.p, row.low) for row in rows} == {(None, None)}
    assert any("claims: a metric is not defined on 10% of the resamples" in note for note in found[1].notes)


def test_the_report_says_what_such_metrics_are(found: tuple[Path, Findings]) -> None:
    page = (found[0] / "report.md").read_text()
    assert "claims: f1, ter are computed over all items at once, not as a mean of items" in page
    assert "claims f1" in page
