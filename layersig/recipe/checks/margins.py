"""Checks of `analyze.margins` and `analyze.gain_kept`: metrics that tasks report, in the unit of the metric."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from layersig.plugin.table import suggestion
from layersig.recipe.checks.library import definitions_named, text_of
from layersig.recipe.checks.tasks import task_sources
from layersig.recipe.checks.values import table_at
from layersig.recipe.faults import Fault
from layersig.recipe.metrics import KNOWN, UP_TO_ONE, kind_of

_METRIC = re.compile(r"^\s*-?\s*metric\s*:\s*[\"']?([^\s\"'#,}]+)", re.MULTILINE)
_LONGEST = 100
"""Longest name that is looked up as a metric, in characters."""


def margin_checks(data: Mapping[str, Any], base_dir: Path) -> Iterator[Fault]:
    """Faults of margins: metrics that no task of the recipe reports, and points instead of shares."""
    analyze, evaluate = table_at(data, "analyze"), table_at(data, "evaluate")
    margins = table_at(analyze, "margins")
    sources = [source for _, source in task_sources(evaluate)]
    defined = cache(lambda: _metrics(sources, base_dir))  # a search of the library takes half a second
    for key, value in margins.items():
        path, metric = ("analyze", "margins", key), kind_of(key)
        if metric not in KNOWN and (len(metric) > _LONGEST or metric not in defined()):
            cut = metric if len(metric) <= _LONGEST else f"{metric[:_LONGEST]}..."
            yield Fault(path, f'no task of the recipe reports a metric "{cut}"{suggestion(cut, sorted(KNOWN))}')
        elif metric in UP_TO_ONE and type(value) in (int, float) and value >= 1:
            reason = f"is counted from 0 to 1, so a margin must be below 1; for {value:g} points write {value / 100:g}"
            yield Fault(path, f'"{metric}" {reason}')
    if analyze.get("gain_kept") == "margin" and not margins:
        reason = '"margin" uses the declared margin of each metric; give `analyze.margins`, or a share such as 0.9'
        yield Fault(("analyze", "gain_kept"), reason)


def _metrics(sources: list[str], base_dir: Path) -> frozenset[str]:
    """The metrics that definitions of the tasks name: users' files, and files of lm-eval with a similar name."""
    own = (text_of(base_dir / source.removeprefix("file:")) for source in sources if source.startswith("file:"))
    library = definitions_named(source for source in sources if ":" not in source)
    return frozenset(metric for text in (*own, *library) for metric in _METRIC.findall(text))
