"""Arms on self-generated and on given responses: which are paired, and what comes out."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from layersig.analysis.multiplicity import holm
from layersig.analysis.twoway import mean_squares, two_way_estimate
from layersig.findings.arms import Arms
from layersig.findings.files import Selected
from layersig.findings.outcomes import outcome_tables
from layersig.findings.plan import Plan
from layersig.records import Cell, Outcome, Selection
from layersig.topics.own_responses.compute import own_responses_rows
from tests.findings.recipes import recipe_of

SEEDS = (0, 1, 2)
PRUNE = {"scorer": "bi", "select": {"kind": "lowest", "count": 1}, "action": "prune"}
ARMS = ({"name": "pruned", **PRUNE}, {"name": "recovered", **PRUNE, "recover": {}})


def arms(noise: float = 0.05, gain: float = 0.3, given: Mapping[str, Any] = MappingProxyType({}), **own: Any) -> Arms:
    """Three data sets: the given rows, the model's own answers to them, and other rows."""
    data = (
        {"name": "given", "source": "pypi:y", **given},
        {"name": "own", "source": "pypi:y", "generate": {}, **own},
        {"name": "other", "source": "pypi:z"},
    )
    recipe = recipe_of(
        *ARMS, seeds=SEEDS, data=data, scorers={"bi": {"kind": "block-influence"}}, analyze={"resamples": 200}
    )
    rng = np.random.default_rng(4)
    common = rng.normal(0, 1, 40)
    cells: dict[Cell, list[Outcome]] = {}
    for arm, name, seed in product(("pruned", "recovered", "all-layers"), ("given", "own", "other"), SEEDS):
        values = 2 + common + noise * rng.normal(size=40) - gain * (name == "own")
        cells[Cell(arm=arm, data=name, seed=seed)] = [
            Outcome(task, str(number), "loss", float(value))
            for task in ("quiz", "exam")
            for number, value in enumerate(values)
        ]
    return Arms(outcome_tables(cells.items()), recipe, Plan(recipe, frozenset(cells)), "m")


def test_what_is_trained_on_both_is_paired_on_the_same_items_and_seeds() -> None:
    found = arms()
    rows = list(own_responses_rows(found, ()))
    assert {(row.arm, row.own, row.given, row.task) for row in rows} == set(
        product(("recovered", "all-layers"), ("own",), ("given",), ("quiz", "exam"))
    )
    assert [row.adjusted_p for row in rows] == pytest.approx(holm(np.array([row.p for row in rows])).tolist())
    for row in rows:
        measure = next(each for each in found.outcomes.values if each.task == row.task)
        cells = found.outcomes.values[measure]
        own, given = (np.stack([cells[Cell(arm=row.arm, data=d, seed=s)] for s in SEEDS]) for d in ("own", "given"))
        expected = two_way_estimate(mean_squares(own - given))
        assert [row.difference, row.p] == pytest.approx([expected.value, expected.p_value()])
        assert row.on_own - row.on_given == pytest.approx(row.difference)
        assert (row.adjusted_p or 1) < 0.01
        assert (row.low or 0) < row.difference < (row.high or 0) < 0


def test_rows_of_another_sample_are_no_counterpart() -> None:
    assert list(own_responses_rows(arms(limit=10), ())) == []
    assert list(own_responses_rows(arms(limit=10, given={"limit": 10}), ())) != []
    assert list(own_responses_rows(arms(train_limit=10, given={"train_limit": 10}), ())) == []


def test_without_a_difference_none_is_found() -> None:
    assert all((row.adjusted_p or 1) > 0.05 for row in own_responses_rows(arms(noise=0.5, gain=0.0), ()))


@pytest.mark.parametrize("last", ["a", "b"])
def test_whether_the_layers_are_the_same_is_told(last: str) -> None:
    chosen = [
        Selected(
            Cell(arm="recovered", data=data, seed=seed),
            Selection((last if (data, seed) == ("own", 2) else "a",), 1),
        )
        for data, seed in product(("given", "own"), SEEDS)
    ]
    rows = list(own_responses_rows(arms(), chosen))
    assert {row.arm: row.same_layers for row in rows} == {"recovered": last == "a", "all-layers": None}
