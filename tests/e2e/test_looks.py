"""Seeds that are added after a declared look: the level of each look, and what is declared stays declared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from scipy import optimize, stats

from layersig.findings.evidence import Evidence
from layersig.findings.files import RunFiles
from layersig.recipe.load import stored
from tests.e2e.world import World
from tests.study import RECIPE, write_study

ARMS = """\
[[arms]]
name = "ila-30"
scorer = "ila"
select = { kind = "top", fraction = 0.30 }
[evaluate]
heldout = true
[analyze]
controls = false
resamples = 100
"""
SHARE = 2 / 3
LOOKS = "looks = [2, 3]\n"


def study(folder: Path, more: str) -> World:
    return World(folder, write_study(folder, recipe=RECIPE.partition("[[arms]]")[0] + ARMS + more))


def analysis(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "analysis.json").read_text(encoding="utf-8"))
    return found


def one_test(run: Path, level: float) -> tuple[float, tuple[float, float]]:
    """P-value and interval of the declared comparison as of a study with a single look."""
    evidence = Evidence(RunFiles(run), stored(run / "resolved.toml"))
    evidence.__dict__["look"] = None
    (found,) = [each for each, role in evidence.arms.contrasts() if each.arm == "ila-30" and role == "baseline"]
    assert found.estimate is not None
    interval = found.estimate.interval(level)
    return found.estimate.p_value(), (interval.low, interval.high)


@pytest.mark.slow
def test_seeds_added_at_a_declared_look_spend_the_level(tmp_path: Path) -> None:
    world = study(tmp_path, LOOKS)
    first = world.run("seeds=[0,1]").run.path
    early, found = analysis(first), None
    spent_on_a_side = 2 * stats.norm.sf(stats.norm.isf(0.05 / 4) / SHARE**0.5)
    assert early["declared_looks"][0]["level"] == pytest.approx(2 * spent_on_a_side)
    for run in (first, world.run("seeds=[0,1,2]").run.path):
        found = analysis(run)
        (row,) = [each for each in found["comparisons"] if each["declared"]]
        (now,) = [each for each in found["declared_looks"] if each["current"]]
        p, interval = one_test(run, 1 - now["level"])
        assert (row["low"], row["high"]) == pytest.approx(interval, rel=1e-6)
        assert row["p"] >= p
        assert (row["p"] <= 0.05) == (p <= now["level"])
        assert found["looks"] is None
        report = (run / "report.md").read_text(encoding="utf-8")
        assert "Looks at the results" in report
        assert "had been looked at before" not in report
    assert found is not None
    assert [row["current"] for row in found["declared_looks"]] == [False, True]
    bounds = [row["bound"] for row in found["declared_looks"]]
    law = stats.multivariate_normal([0, 0], [[1, SHARE**0.5], [SHARE**0.5, 1]])

    def error(last: float) -> float:
        return float(1 - law.cdf([bounds[0], last], lower_limit=[-bounds[0], -last])) - 0.05

    assert bounds[1] == pytest.approx(optimize.brentq(error, 1.0, 4.0), abs=1e-4)


@pytest.mark.slow
def test_looks_that_are_declared_only_afterwards_are_told(tmp_path: Path) -> None:
    world = study(tmp_path, "")
    world.run("seeds=[0,1]")
    world.recipe.write_text(world.recipe.read_text(encoding="utf-8") + LOOKS, encoding="utf-8")
    found = analysis(world.run("seeds=[0,1,2]").run.path)
    assert "was added after 1 look" in found["looks"]
    assert not any(row["declared"] for row in found["comparisons"])
