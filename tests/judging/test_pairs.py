"""What comparisons of answers are about, and what they allow for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from layersig.analysis.looks import Look
from layersig.findings.arms import Arms
from layersig.findings.outcomes import OutcomeTables
from layersig.findings.plan import Plan
from layersig.records import Cell
from layersig.topics.judge.pairs import pair_rows
from layersig.topics.judge.records import Group, Pair, Turn
from layersig.topics.judge.rows import PairRow
from tests.findings.recipes import FEW, recipe_of

TURNS = [(f"q{number}", 1) for number in range(12)]
LOOK = Look((3, 5), 1)


def _groups(_: str, turns: Sequence[Turn]) -> Iterator[Group]:
    yield Group("all", "all", np.ones(len(turns), np.bool_))


def compared(arm: str, baseline: str, seeds: Sequence[int | None], look: Look | None = None) -> PairRow:
    recipe = recipe_of(FEW, {"name": "ready", "checkpoint": "path:m"}, seeds=(0, 1, 2), analyze={"baseline": baseline})
    arms = Arms(replace(OutcomeTables({}, {}, ()), look=look), recipe, Plan(recipe, frozenset()), "m")
    rng = np.random.default_rng(0)
    pairs = {
        Cell(arm=arm, data=None if seed is None else "d", seed=seed): {
            "set": {turn: [Pair(*map(float, rng.integers(0, 2, 2)))] for turn in TURNS}
        }
        for seed in seeds
    }
    records: Any = SimpleNamespace(pairs=pairs, groups=_groups)
    (row,) = pair_rows(records, arms)
    return row


@pytest.mark.parametrize(
    ("arm", "baseline", "seeds", "scope"),
    [
        ("few", "all-layers", (0, 1, 2), "method"),
        ("ready", "all-layers", (0, 1, 2), "method against a checkpoint"),
        ("few", "ready", (0, 1, 2), "method against a checkpoint"),
        ("ready", "base", (None,), "checkpoints"),
        ("few", "all-layers", (0,), "checkpoints"),
    ],
)
def test_a_model_made_elsewhere_is_one_checkpoint(arm: str, baseline: str, seeds: Any, scope: str) -> None:
    assert compared(arm, baseline, seeds).scope == scope


def test_preferences_allow_for_looks_where_seeds_are_added() -> None:
    plain, at_look = (compared("few", "all-layers", (0, 1, 2), look) for look in (None, LOOK))
    assert plain.p is not None
    assert at_look.p == pytest.approx(LOOK.p_value(plain.p))
    assert (at_look.low or 0) < (plain.low or 0)
    single = [compared("ready", "base", (None,), look) for look in (None, LOOK)]
    assert single[0] == single[1]
