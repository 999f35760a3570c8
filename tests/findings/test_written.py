from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from layersig.findings.responses import Responses
from layersig.topics.text_probes.compute import error_rows, probe_rows


def line(item: int, words: float, error: str | None = None, **probes: float) -> dict[str, Any]:
    found: dict[str, Any] = {"task": "t", "item": f"i{item}", "probes": {"words": words, **probes}}
    if error is not None:
        found["code"] = {"error": error, "paper_error": {"none": "passed", "type": "others"}.get(error, error)}
    return found


def wrote(arm: str, *runs: list[dict[str, Any]]) -> Responses:
    data, seeds = (None, (None,)) if arm == "base" else ("d", tuple(range(len(runs))))
    return Responses(arm, data, "t", seeds, tuple(map(tuple, runs)))


def test_probes_are_compared_where_both_are_defined() -> None:
    base = wrote("base", [line(0, 4, rep_2=0.1), line(1, 6, rep_2=0.3), line(2, 1)])
    few = wrote("few", [line(0, 8, rep_2=0.5), line(1, 9), line(2, 5, rep_2=0.9)])
    rows = {(row.arm, row.probe): row for row in probe_rows([base, few], 0.95)}
    assert (rows["base", "words"].value, rows["base", "words"].difference) == (pytest.approx(11 / 3), None)
    own = rows["few", "words"]
    differences = np.array([4.0, 3.0, 4.0])
    interval = stats.ttest_1samp(differences, 0).confidence_interval(0.95)
    assert (own.value, own.difference, own.pairs) == (pytest.approx(22 / 3), pytest.approx(11 / 3), 3)
    assert (own.low, own.high) == pytest.approx((interval.low, interval.high))
    assert (rows["few", "rep_2"].n, rows["few", "rep_2"].pairs) == (2, 1)
    assert rows["few", "rep_2"].difference == pytest.approx(0.4)
    assert rows["few", "rep_2"].low is None


def test_errors_are_shares_of_samples_and_of_errors() -> None:
    base = wrote("base", [line(n, 1, error) for n, error in enumerate(("none", "none", "none", "bracket"))])
    few = wrote("few", [line(n, 1, error) for n, error in enumerate(("none", "bracket", "bracket", "type"))])
    rows = {(row.arm, row.taxonomy, row.error): row for row in error_rows([base, few])}
    bracket = rows["few", "by exception", "bracket"]
    assert (bracket.count, bracket.share_of_samples, bracket.difference) == (2, 0.5, 0.25)
    assert bracket.share_of_errors == pytest.approx(2 / 3)
    assert rows["few", "by exception", "none"].share_of_errors is None
    assert rows["few", "of the paper", "others"].count == 1
    assert rows["few", "of the paper", "passed"].difference == -0.5


def test_several_runs_are_compared_over_runs_and_items() -> None:
    rng = np.random.default_rng(1)
    base = wrote("base", [line(n, 10) for n in range(30)])
    runs = [[line(n, 10 + shift + rng.normal()) for n in range(30)] for shift in (-2.0, 0.5, 3.0)]
    [_, row] = probe_rows([base, wrote("few", *runs)], 0.95)
    assert (row.scope, row.seeds, row.pairs) == ("method", 3, 30)
    means = np.array([np.mean([each["probes"]["words"] - 10 for each in run]) for run in runs])
    assert row.difference == pytest.approx(means.mean())
    assert row.low is not None
    assert row.high is not None
    half = stats.t.ppf(0.975, 2) * means.std(ddof=1) / 3**0.5
    assert (row.high - row.low) / 2 == pytest.approx(half, rel=0.1)


@pytest.mark.parametrize("runs", [1, 3])
def test_a_probe_that_does_not_vary_has_no_interval(runs: int) -> None:
    base = wrote("base", [line(n, 10, rep_2=0.0) for n in range(30)])
    rows = list(probe_rows([base, wrote("few", *[[line(n, 12, rep_2=0.0) for n in range(30)]] * runs)], 0.95))
    for row in rows:
        if row.arm == "few":
            assert (row.low, row.high) == (None, None)
            assert "nothing varies" in str(row.no_interval)
        else:
            assert row.no_interval is None
