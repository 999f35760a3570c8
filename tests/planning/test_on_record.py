"""A plan goes on record only while no outcome of an arm is measured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from layersig.planning import Plan
from layersig.planning.costs import Total, Totals
from layersig.planning.on_record import put_on_record
from layersig.planning.precision import precision
from layersig.store.plans import Plans
from tests.planning.studies import write
from tests.planning.test_precision import _facts


def _plan(path: Path, given: tuple[str, ...], cached: str | None = None) -> Plan:
    facts = _facts(path, ("seeds=[0,1,2]",), ("rows.chats=106", *given))
    if cached is not None:
        facts = replace(facts, known=replace(facts.known, cached=frozenset({cached})))
    return Plan(facts, (), TOTALS, None, "", None, tuple(precision(facts, None)), ())


def test_a_plan_goes_on_record_until_an_outcome_of_an_arm_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAYERSIG_CACHE", str(tmp_path / "cache"))
    path = write(tmp_path, "lora")
    plan = _plan(path, ())
    run, plans = plan.facts.known.loaded.id, Plans(tmp_path / "cache")
    assert put_on_record(plan)
    first = plans.get(run)
    assert first is not None
    assert [member["arm"] for member in first] == [member.declared.arm for member in plan.precision]
    assert all(member["assumed"] and (member["seeds"], member["items"]) == (3, 6) for member in first)
    stated = ("loss.item=0.001", "loss.seed=0.001", "loss.residual=0.001")
    assert put_on_record(_plan(path, stated, "evaluate/base"))  # the untouched model is no arm
    second = plans.get(run)
    assert second is not None
    assert not any(member["assumed"] for member in second)
    assert second[0]["detectable"] < first[0]["detectable"]
    measured = next(
        stage.id for stage in plan.facts.known.graph.stages if stage.kind == "evaluate" and stage.cell.arm != "base"
    )
    assert not put_on_record(_plan(path, (), measured))
    assert plans.get(run) == second
