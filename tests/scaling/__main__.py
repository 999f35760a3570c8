"""Simulate the study and write its tables: `python -m tests.scaling`."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from layersig.store.files import write_atomic
from tests.scaling.requests import Requests, counted
from tests.scaling.simulation import Outcome, longest_by_time, simulated
from tests.scaling.study import MODELS, Planned, planned

PAGE = Path(__file__).parents[2] / "docs" / "scaling.md"
CARDS = (1, 8, 64)


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _models(studies: list[Planned]) -> str:
    rows = []
    for each in studies:
        of = {stage.kind: each.seconds[stage.id] / 60 for stage in each.graph.stages}
        hours, size = sum(each.seconds.values()) / 3600, sum(each.stored.values()) / 1e9
        minutes = [f"{of[kind]:.0f} min" for kind in ("reference", "score", "evaluate")]
        rows.append([str(each), f"{len(each.graph.stages):,}", *minutes, f"{hours:,.0f}", f"{size:.0f}"])
    stages = sum(len(each.graph.stages) for each in studies)
    total = [
        sum(sum(values.values()) for values in column)
        for column in zip(*((e.seconds, e.stored) for e in studies), strict=True)
    ]
    rows.append(["all", f"{stages:,}", "", "", "", f"{total[0] / 3600:,.0f}", f"{total[1] / 1e9:,.0f}"])
    return _table(
        ["model", "stages", "a training", "ILA's mask", "an evaluation", "hours of a card", "GB in the store"], rows
    )


def _outcomes(found: dict[int, tuple[Outcome, Outcome]], asked: Requests) -> str:
    rows = []
    each = sum(asked.cache.values())
    for count, (ours, timed) in found.items():
        stages = ours.starts / 60
        rows.append(
            [
                str(count),
                f"{ours.seconds / 3600:,.1f}",
                f"{timed.seconds / 3600:,.1f}",
                f"{ours.busy_until_last:.3f}",
                f"{ours.busy:.3f}",
                f"{ours.peak_reading / 1e9:.1f}",
                f"{stages:.1f}",
                f"{stages * each:,.0f}",
                f"{1000 * ours.driver:.1f}",
            ]
        )
    head = [
        "cards",
        "hours",
        "hours, longest path by time first",
        "busy until the last stages",
        "busy over all",
        "GB of weights read a second",
        "stages started a second",
        "requests to the cache a second",
        "ms of the driver a stage",
    ]
    return _table(head, rows)


def _requests(asked: Requests) -> str:
    rows = [[kind, f"{count:.1f}"] for kind, count in sorted(asked.cache.items(), key=lambda each: -each[1])]
    rows.append(["files left in the cache", f"{asked.files:.1f}"])
    rows.append(["all requests to the run folder", f"{asked.run:.1f}"])
    return _table(["request", "a stage"], rows)


def main() -> None:
    """Write the tables between their marks in the page."""
    with tempfile.TemporaryDirectory() as folder:
        studies = [planned(name, Path(folder) / name) for name in MODELS]
        found = {
            count: (
                simulated(studies, count, Path(folder) / "cache"),
                simulated(studies, count, Path(folder) / "cache", longest_by_time),
            )
            for count in CARDS
        }
    asked = counted()
    page = PAGE.read_text(encoding="utf-8")
    tables = {"models": _models(studies), "cards": _outcomes(found, asked), "requests": _requests(asked)}
    for name, table in tables.items():
        marked = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        page, count = marked.subn(lambda match, table=table: f"{match[1]}\n{table}\n\n{match[2]}", page)
        assert count == 1, name
    write_atomic(PAGE, page)


if __name__ == "__main__":
    main()
