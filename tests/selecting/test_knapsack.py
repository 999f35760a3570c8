"""The exact knapsack against every set there is, against integer programming, and in time."""

from __future__ import annotations

import time
from itertools import chain, combinations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.optimize import Bounds, LinearConstraint, milp

from layersig.selecting.knapsack import Level, best

THINGS = st.lists(st.tuples(st.integers(0, 9), st.integers(1, 7)), min_size=0, max_size=4)


def every(levels: list[Level]) -> tuple[int, float] | None:
    """Greatest value, and of those the most room that is left, of all sets of all levels."""
    things = [
        (level, value, cost)
        for level, each in enumerate(levels)
        for value, cost in zip(each.values, each.costs, strict=True)
    ]
    found = []
    for chosen in chain.from_iterable(combinations(things, size) for size in range(1, len(things) + 1)):
        lowest = max(level for level, _, _ in chosen)
        value, cost = sum(each[1] for each in chosen), sum(each[2] for each in chosen)
        if cost <= levels[lowest].room and value > 0:
            found.append((value, levels[lowest].room - cost))
    return max(found, default=None)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(THINGS, min_size=1, max_size=3), st.integers(0, 30), st.lists(st.integers(0, 8), min_size=3, max_size=3)
)
def test_it_finds_the_best_of_all_sets(things: list[list[tuple[int, int]]], room: int, falls: list[int]) -> None:
    levels = []
    for own, fall in zip(things, falls, strict=False):
        levels.append(Level([value for value, _ in own], [cost for _, cost in own], float(room)))
        room -= fall
    expected, found = every(levels), best(levels)
    if expected is None or found is None:
        assert expected is found
        return
    flat = [(value, cost) for level in levels for value, cost in zip(level.values, level.costs, strict=True)]
    assert found.value == sum(flat[number][0] for number in found.taken) == expected[0]
    assert levels[found.level].room - sum(flat[number][1] for number in found.taken) == expected[1]


def random_levels(blocks: int, costs: list[int], seed: int) -> list[Level]:
    """Blocks of layers with these costs, random scores, and a budget of about half of everything."""
    rng = np.random.default_rng(seed)
    whole = blocks * sum(costs)
    return [
        Level(
            (rng.gamma(0.5, size=len(costs)) * 2**36).astype(int).tolist(),
            costs,
            0.6 * whole - 0.3 * whole * level / blocks,
        )
        for level in range(blocks)
    ]


def by_integer_programming(levels: list[Level]) -> int:
    found = 0.0
    for level in range(len(levels)):
        values = [value for each in levels[: level + 1] for value in each.values]
        costs = [cost for each in levels[: level + 1] for cost in each.costs]
        room = LinearConstraint(np.array([costs]), -np.inf, levels[level].room)
        solved = milp(-np.array(values, float), constraints=room, integrality=np.ones(len(values)), bounds=Bounds(0, 1))
        found = max(found, -solved.fun)
    return round(found)


@pytest.mark.parametrize("costs", [[1152, 768, 768, 1152, 2112, 2112, 2112], [1009, 401, 401, 1009, 2003, 2003, 2003]])
def test_it_is_exact_at_the_size_of_a_small_model(costs: list[int]) -> None:
    levels = random_levels(10, costs, 1)
    found = best(levels)
    assert found is not None
    assert found.value == pytest.approx(by_integer_programming(levels), rel=1e-4)


@pytest.mark.parametrize(
    "costs", [[16384, 9216, 9216, 16384, 36864, 36864, 36864], [16381, 9209, 9221, 16369, 36847, 36857, 36871]]
)
def test_the_560_layers_of_a_large_model_take_seconds(costs: list[int]) -> None:
    began = time.perf_counter()
    assert best(random_levels(80, costs, 2)) is not None
    assert time.perf_counter() - began < 5
