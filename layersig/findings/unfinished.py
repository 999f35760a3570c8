"""What of a run did not come to its end, in a few sentences however many stages it has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from layersig.pipeline import measures_arm
from layersig.store.runfolder import StageForm

_NAMED = 3
"""Stages and arms that are named; the others are counted, and `layersig status` lists all."""


def unfinished(stages: Sequence[StageForm]) -> Iterator[str]:
    """Why stages failed, which arms have no result for it, and how many stages there are without one."""
    causes: dict[str, list[str]] = {}
    for stage in stages:
        if "error" in stage:
            causes.setdefault(stage["error"], []).append(stage["id"])
    yield from (f"{_listed(ids)} failed: {error.rstrip('.')}." for error, ids in causes.items())
    arms: dict[str, dict[int | None, list[bool]]] = {}
    for stage in stages:
        cell = stage["cell"]
        if measures_arm(stage["kind"], cell.get("arm")):
            where = f" on {cell['data']}" if cell.get("data") else ""
            runs = arms.setdefault(f"{cell['arm']}{where}", {})
            runs.setdefault(cell.get("seed"), []).append(stage["status"] == "done")
    if none := [name for name, runs in arms.items() if not any(map(any, runs.values()))]:
        yield f"Without any result: {_listed(none)}."
    for name, runs in arms.items():
        whole = sum(map(all, runs.values()))
        if name not in none and whole < len(runs):
            yield f"{name} lacks results of {len(runs) - whole} of {len(runs)} runs."
    if broken := [stage["id"] for stage in stages if stage["status"] != "done"]:
        yield f"Stages without a result, {len(broken)} of {len(stages)}: {_listed(broken)}."


def _listed(names: Sequence[str]) -> str:
    left = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {left} more" if left > 0 else "")
