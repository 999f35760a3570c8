from __future__ import annotations

import pytest

from layersig.jsonform import Damaged
from layersig.store.plans import PlannedForm, Plans

MEMBER: PlannedForm = {
    "kind": "comparison", "arm": "mine", "reference": "all-layers", "data": "chats", "task": "heldout/chats",
    "metric": "loss", "seeds": 3, "items": None, "level": 0.025, "detectable": None, "margin": 0.02,
    "origin": "assumed", "assumed": True,
}  # fmt: skip


def test_the_last_plan_of_a_run_is_kept(tmp_path):
    plans = Plans(tmp_path)
    assert plans.get("one") is None
    plans.put("one", [{**MEMBER, "detectable": 0.5}])
    plans.put("one", [MEMBER])
    assert Plans(tmp_path).get("one") == [MEMBER]
    assert plans.get("other") is None


def test_a_plan_that_cannot_be_read_is_no_plan(tmp_path):
    plans = Plans(tmp_path)
    plans.put("one", [MEMBER])
    (path,) = (tmp_path / "plans").glob("*.json")
    path.write_text('{"members": [{}]}')
    with pytest.raises(Damaged):
        plans.get("one")
