"""What is missing from an incomplete run, in a few sentences however many stages it has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from layersig.errors import first_few
from layersig.pipeline import measures_arm
from layersig.store.runfolder import StageForm


def causes(stages: Sequence[StageForm]) -> dict[str, list[str]]:
    """The ids of the stages that failed, by error message."""
    found: dict[str, list[str]] = {}
    for stage in stages:
        if "error" in stage:
            found.setdefault(stage["error"], []).append(stage["id"])
    return found


def unfinished(stages: Sequence[StageForm]) -> Iterator[str]:
    """Why stages failed, which arms have no results, and how many stages are unfinished."""
    yield from (f"{first_few(ids)} failed: {error.rstrip('.')}." for error, ids in causes(stages).items())
    arms: dict[str, dict[int | None, list[bool]]] = {}
    for stage in stages:
        cell = stage["cell"]
        if measures_arm(stage["kind"], cell.get("arm")):
            where = f" on {cell['data']}" if cell.get("data") else ""
            runs = arms.setdefault(f"{cell['arm']}{where}", {})
            runs.setdefault(cell.get("seed"), []).append(stage["status"] == "done")
    if none := [name for name, runs in arms.items() if not any(map(any, runs.values()))]:
        yield f"No results for {first_few(none)}."
    for name, runs in arms.items():
        whole = sum(map(all, runs.values()))
        if name not in none and whole < len(runs):
            yield f"{name} has no results for {len(runs) - whole} of {len(runs)} runs."
    if broken := [stage["id"] for stage in stages if stage["status"] != "done"]:
        yield f"Unfinished stages ({len(broken)} of {len(stages)}): {first_few(broken)}."
