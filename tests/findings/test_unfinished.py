"""Missing results are reported by arm and cause, in a few sentences."""

from __future__ import annotations

from typing import Any

import pytest

from layersig.findings.unfinished import unfinished


def stage(kind: str, arm: str, seed: int, status: str, error: str | None = None, data: str = "d") -> Any:
    found = {"id": f"{kind}/{arm}/{data}/seed-{seed}", "kind": kind, "status": status}
    cell = {"arm": arm, "data": data, "seed": seed}
    return {**found, "cell": cell, **({} if error is None else {"error": error})}


def arm(name: str, ends: str, kinds: tuple[str, ...] = ("evaluate",)) -> list[Any]:
    """A letter a seed: d(one), f(ailed)."""
    found = []
    for seed, end in enumerate(ends):
        broken = end == "f"
        found.append(stage("tune", name, seed, "failed" if broken else "done", "no memory" if broken else None))
        found += [stage(kind, name, seed, "missing" if broken else "done") for kind in kinds]
    return found


def test_a_whole_run_lacks_nothing() -> None:
    assert list(unfinished(arm("a", "ddd"))) == []


def test_a_cause_is_told_once_and_names_its_arms() -> None:
    told = list(unfinished([*arm("a", "dd"), *arm("b", "ff"), *arm("c", "dfd")]))
    assert told == [
        "tune/b/d/seed-0, tune/b/d/seed-1, tune/c/d/seed-1 failed: no memory.",
        "No results for b on d.",
        "c on d has no results for 1 of 3 runs.",
        "Unfinished stages (6 of 14): tune/b/d/seed-0, evaluate/b/d/seed-0, tune/b/d/seed-1 and 3 more.",
    ]


def test_a_run_with_several_outcomes_counts_once() -> None:
    told = list(unfinished(arm("a", "dfd", ("evaluate", "grade"))))
    assert "a on d has no results for 1 of 3 runs." in told


@pytest.mark.parametrize("count", [4, 400])
def test_many_failures_are_counted(count: int) -> None:
    told = " ".join(unfinished(arm("a", "f" * count)))
    assert len(told) < 300
    assert f"tune/a/d/seed-2 and {count - 3} more failed: no memory." in told
