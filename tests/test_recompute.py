"""Whole run folders: every comparison of the report against a script that shares no code with it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from layersig.recipe.resolve import to_toml
from layersig.topics.analyse import analyse
from tests.recompute import mismatches
from tests.report.studies import Study
from tests.report.synthetic import write_run

STUDIES = {
    "five seeds": Study(blocks=4, data=("alpaca",), seeds=(0, 1, 2, 3, 4), tasks=(("hellaswag", 80), ("arc_easy", 60))),
    "three seeds on two data sets": Study(blocks=4, seeds=(0, 1, 2), tasks=(("hellaswag", 80),), heldout=30),
    "two seeds": Study(blocks=4, data=("alpaca",), seeds=(0, 1), tasks=(("hellaswag", 40),)),
}
CONTRASTS = (("ila-30", "first-k"), ("ila-30", "last-k"), ("ila-75", "all-layers"))


@pytest.mark.parametrize("study", STUDIES.values(), ids=STUDIES)
@pytest.mark.parametrize("outcome", ["heldout", pytest.param(("heldout", "hellaswag"), marks=pytest.mark.slow)])
def test_every_comparison_is_as_recomputed(tmp_path: Path, study: Study, outcome: str | tuple[str, ...]) -> None:
    run = tmp_path / "run"
    recipe = write_run(run, study)
    analyze = recipe.analyze.model_copy(update={"contrasts": CONTRASTS, "outcome": outcome})
    recipe = recipe.model_copy(update={"analyze": analyze})
    (run / "resolved.toml").write_text(to_toml(recipe), encoding="utf-8")
    analyse(run, recipe)
    assert list(mismatches(run)) == []
    analysis = json.loads((run / "analysis.json").read_text(encoding="utf-8"))
    assert sum(row["declared"] for row in analysis["comparisons"]) >= 4
    assert any(row["declared"] for row in analysis["claims"])
    # The check itself notices a number that is off in its fifth digit.
    next(row for row in analysis["comparisons"] if row["declared"])["estimate"] *= 1.00001
    (run / "analysis.json").write_text(json.dumps(analysis), encoding="utf-8")
    assert list(mismatches(run)) != []
