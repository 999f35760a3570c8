"""What breaks in what the arms write: probes beside the untouched model, and how programs end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np

from layersig.analysis.tables import mean_of, no_interval
from layersig.findings.contrasts import scope_of
from layersig.findings.responses import PASSED, Line, Responses
from layersig.recipe.schema import BASE
from layersig.topics.text_probes.rows import ErrorRow, ProbeRow

_TAXONOMIES: Sequence[tuple[Literal["by exception", "of the paper"], str]] = (
    ("by exception", "error"),
    ("of the paper", "paper_error"),
)


def probe_rows(found: Sequence[Responses], level: float) -> Iterator[ProbeRow]:
    """Every probe of every arm and task, with its difference from the untouched model's.

    One run of an arm is compared over items; several over runs and items, both random.
    """
    for each in found:
        base = _base(found, each)
        runs = [_by_item(run) for run in each.runs]
        bare = _by_item(base.runs[0]) if base else {}
        for probe in dict.fromkeys(name for run in runs for probes in run.values() for name in probes):
            values = [probes[probe] for run in runs for probes in run.values() if probe in probes]
            shared = [item for item in bare if all(probe in run.get(item, {}) for run in (bare, *runs))]
            table = np.array([[run[item][probe] - bare[item][probe] for item in shared] for run in runs])
            own = each.arm == BASE
            size = max((abs(value) for value in values), default=0.0)
            estimate = None if own else mean_of(table, magnitude=size)
            interval = None if estimate is None else estimate.interval(level)
            yield ProbeRow(
                arm=each.arm,
                data=each.data,
                task=each.task,
                probe=probe,
                value=float(np.mean(values)),
                n=len(values),
                difference=float(table.mean()) if table.size and not own else None,
                low=None if interval is None else interval.low,
                high=None if interval is None else interval.high,
                pairs=0 if own else len(shared),
                level=level,
                seeds=0 if own else len(runs),
                scope=scope_of(tuple(range(len(runs)))).value,
                no_interval=None if own else no_interval(table, magnitude=size),
            )


def _by_item(run: Sequence[Line]) -> dict[str, dict[str, float]]:
    """The probes of every item, means over its draws."""
    drawn: dict[str, dict[str, list[float]]] = {}
    for line in run:
        probes = drawn.setdefault(line["item"], {})
        for probe, value in line["probes"].items():
            probes.setdefault(probe, []).append(value)
    return {item: {probe: sum(values) / len(values) for probe, values in probes.items()}
            for item, probes in drawn.items()}  # fmt: skip


def error_rows(found: Sequence[Responses]) -> Iterator[ErrorRow]:
    """How programs ended, in both taxonomies, as counts and shares of samples and of errors."""
    for each in found:
        base = _base(found, each)
        for taxonomy, key in _TAXONOMIES:
            counts, bare = _counts(each, key), _counts(base, key) if base else Counter()
            samples, of_base = counts.total(), max(1, bare.total())
            failed = sum(count for error, count in counts.items() if error not in PASSED)
            for error, count in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])):
                yield ErrorRow(
                    arm=each.arm,
                    data=each.data,
                    task=each.task,
                    taxonomy=taxonomy,
                    error=error,
                    count=count,
                    share_of_samples=count / samples,
                    share_of_errors=None if error in PASSED else count / failed,
                    difference=count / samples - bare[error] / of_base,
                )


def _counts(each: Responses, key: str) -> Counter[str]:
    return Counter(line["code"][key] for run in each.runs for line in run if "code" in line)


def _base(found: Sequence[Responses], each: Responses) -> Responses | None:
    return next((other for other in found if (other.arm, other.task) == (BASE, each.task)), None)
