from __future__ import annotations

import pytest

from layersig.jsonform import Damaged
from layersig.store.planned_costs import PlannedCosts, PlannedStageForm


def stage(name: str, seconds: float) -> PlannedStageForm:
    return {"id": name, "seconds": seconds, "at_most": False, "memory": None, "disk": 10, "calls": None}


def test_a_later_plan_replaces_the_stages_that_it_counts_and_keeps_those_that_are_cached_by_then(tmp_path):
    record = PlannedCosts(tmp_path)
    assert record.get("one") is None
    record.put("one", {"origin": "measured", "stages": [stage("train", 5.0), stage("evaluate", 3.0)]})
    record.put("one", {"origin": "kept", "stages": [stage("evaluate", 4.0)]})
    assert record.get("one") == {"origin": "kept", "stages": [stage("train", 5.0), stage("evaluate", 4.0)]}
    record.put("one", {"origin": "nothing is left to time", "stages": []})
    assert PlannedCosts(tmp_path).get("one")["origin"] == "kept"
    assert record.get("other") is None


def test_a_record_that_cannot_be_read_is_refused_and_replaced_by_the_next_plan(tmp_path):
    record = PlannedCosts(tmp_path)
    record.put("one", {"origin": "measured", "stages": []})
    (path,) = (tmp_path / "planned-costs").glob("*.json")
    path.write_text('{"stages": 3}')
    with pytest.raises(Damaged):
        record.get("one")
    record.put("one", {"origin": "measured", "stages": [stage("train", 5.0)]})
    assert record.get("one") == {"origin": "measured", "stages": [stage("train", 5.0)]}
