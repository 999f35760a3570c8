"""A plan goes on record only while no outcome of an arm is measured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from layersig.planning.known import Known
from layersig.planning.on_record import put_on_record
from layersig.planning.precision import Precision, precision
from layersig.store.plans import Plans
from tests.planning.studies import write
from tests.planning.test_precision import _facts


def _plan(path: Path, given: tuple[str, ...], cached: str | None = None) -> tuple[Known, list[Precision]]:
    facts = _facts(path, ("seeds=[0,1,2]",), ("rows.chats=106", *given))
    done = frozenset(() if cached is None else (cached,))
    return replace(facts.known, cached=done), precision(facts, None)


def test_a_plan_goes_on_record_until_an_outcome_of_an_arm_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAYERSIG_CACHE", str(tmp_path / "cache"))
    path = write(tmp_path, "lora")
    known, members = _plan(path, ())
    run, plans = known.loaded.id, Plans(tmp_path / "cache")
    assert put_on_record(known, members)
    first = plans.get(run)
    assert first is not None
    assert [member["arm"] for member in first] == [member.declared.arm for member in members]
    assert all(member["assumed"] and (member["seeds"], member["items"]) == (3, 6) for member in first)
    stated = ("loss.item=0.001", "loss.seed=0.001", "loss.residual=0.001")
    assert put_on_record(*_plan(path, stated, "evaluate/base"))  # the untouched model is no arm
    second = plans.get(run)
    assert second is not None
    assert not any(member["assumed"] for member in second)
    assert second[0]["detectable"] < first[0]["detectable"]
    measured = next(stage.id for stage in known.graph.stages if stage.kind == "evaluate" and stage.cell.arm != "base")
    assert not put_on_record(*_plan(path, (), measured))
    assert plans.get(run) == second
