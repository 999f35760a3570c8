"""The rigor card of a study of rankings."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from layersig.topics.analyse import analyse
from layersig.topics.rigor.rows import RIGOR, RigorRow
from tests.report.studies import Study
from tests.report.synthetic import write_run


def of_rankings(run: Path, study: Study, change: Callable[[Path], None] = lambda run: None) -> dict[str, RigorRow]:
    """The card of a study that ranks layers and tunes no arm."""
    recipe = write_run(run, study)
    change(run)
    recipe = recipe.model_copy(
        update={"arms": (), "analyze": recipe.analyze.model_copy(update={"resamples": 100, "primary": ()})}
    )
    for name in ("evaluations", "selections.jsonl"):
        shutil.rmtree(run / name) if (run / name).is_dir() else (run / name).unlink()
    return {row.item: row for row in analyse(run, recipe)[RIGOR]}


DEEP = Study(blocks=12, data=("norobots", "lima"), seeds=(0, 1, 2, 3, 4), tasks=(), heldout=4, steps=2)


def test_a_study_of_rankings_is_judged_and_not_passed_over(tmp_path: Path) -> None:
    rows = of_rankings(tmp_path / "run", DEEP)
    met = {"error bars", "tests", "correction for many tests", "effect sizes", "n and seeds", "power"}
    assert {item: rows[item].status for item in met} == dict.fromkeys(met, "met")
    assert rows["overlap beside chance and noise"].status == "met"
    assert rows["tests"].evidence.startswith("4 of 4 pairs of rankings are tested")
    assert "16 overlaps (pairs x sizes x tests)" in rows["correction for many tests"].evidence
    assert rows["n and seeds"].evidence == "S = 5 seeds per ranking; 5 are needed."
    assert rows["declared before the run"].status == "not met"
    assert "exploratory" in rows["declared before the run"].evidence


@pytest.mark.parametrize(
    ("study", "item", "words"),
    [
        (replace(DEEP, seeds=(0, 1)), "n and seeds", "S = 2 seeds per ranking; 5 are needed"),
        (replace(DEEP, seeds=(0, 1)), "power", "0 of 8 noise ceilings"),
        (replace(DEEP, seeds=(0, 1)), "error bars", "0 of 20 agreements of rankings have an interval"),
        (replace(DEEP, seeds=(0,)), "overlap beside chance and noise", "In 0 of 8 rankings x sizes"),
        (replace(DEEP, seeds=(0, 1, 2, 3)), "n and seeds", "S = 4 seeds per ranking"),
        (replace(DEEP, blocks=3), "tests", "0 of 4 pairs of rankings are tested"),
    ],
    ids=["two seeds", "no ceiling", "no interval", "one seed", "four seeds", "a shallow model"],
)
def test_a_study_of_rankings_that_cannot_tell_is_not_met(tmp_path: Path, study: Study, item: str, words: str) -> None:
    row = of_rankings(tmp_path / "run", study)[item]
    assert row.status == "not met"
    assert words in row.evidence


def test_seeds_that_agree_by_chance_alone_fail_the_card(tmp_path: Path) -> None:
    def noise(run: Path) -> None:
        rng = np.random.default_rng(3)
        lines = [json.loads(line) for line in (run / "scores.jsonl").read_text().splitlines()]
        for line in lines:
            if line["scorer"] == "ila":
                line["scores"] = dict(zip(line["scores"], rng.uniform(size=len(line["scores"])).tolist(), strict=True))
        (run / "scores.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

    row = of_rankings(tmp_path / "run", replace(DEEP, blocks=3), noise)["overlap beside chance and noise"]
    assert row.status == "not met"
    assert "not in: ila on lima (S = 5), ila on norobots (S = 5)" in row.evidence
