"""`analyze.controls = "all"`: the leaderboard tests every scorer against random layers and the rule."""

from __future__ import annotations

import json
from pathlib import Path

from tests.e2e.world import World
from tests.study import RECIPE, write_study

MORE = """\
[scorers.norm]
kind = "gradient-norm"
batches = 1

[[arms]]
name = "by-ila"
scorer = "ila"
select = { kind = "top", fraction = 0.4 }
action = "graft"

[[arms]]
name = "by-norm"
scorer = "norm"
select = { kind = "top", fraction = 0.4 }
action = "graft"

[analyze]
controls = "all"
primary = ["by-ila"]
"""


def test_every_arm_is_compared_with_controls_of_its_own_and_only_primary_ones_are_declared(tmp_path: Path) -> None:
    recipe = RECIPE.partition("[[arms]]")[0].replace("seeds = [0]", "seeds = [0, 1]") + MORE
    run = World(tmp_path, write_study(tmp_path, recipe=recipe)).run().run
    found = json.loads((run.path / "analysis.json").read_text(encoding="utf-8"))
    rows = {row["arm"]: row for row in found["leaderboard"]}
    assert set(rows) == {"by-ila", "by-norm"}
    for arm, row in rows.items():
        assert row["random_sets"] == 1
        assert row["rule_difference"] is not None
        roles = {each["role"]: each for each in found["comparisons"] if each["arm"] == arm and each["primary"]}
        assert {"baseline", "random control", "rule control"} <= set(roles)
        assert roles["random control"]["reference"] == f"{arm}.random"
        assert roles["baseline"]["declared"] is (arm == "by-ila")
        assert roles["rule control"]["declared"] is False
    (budget,) = [row for row in found["rigor"] if row["item"] == "baselines of equal budget"]
    assert budget["status"] == "met"
