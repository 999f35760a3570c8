"""What the search of every arm tried, and what tuning a share of the layers costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

from layersig.findings.files import RunFiles
from layersig.findings.rows.layers import SelectionRow
from layersig.recipe.schema import ALL_LAYERS, Recipe
from layersig.topics.tuning_cost.rows import TrialRow, TuningCostRow

_STATE = ("trained_memory", "gradient_memory", "optimizer_memory")


def trial_rows(files: RunFiles) -> tuple[TrialRow, ...]:
    """Every trial of every search."""
    return tuple(
        TrialRow(arm=cell.arm or "", data=cell.data, seed=cell.seed, **trial)
        for cell, found in files.searches
        for trial in found["trials"]
    )


def tuning_cost_rows(
    manifest: Mapping[str, Any],
    selections: Sequence[SelectionRow],
    recipe: Recipe,
    label_of: Callable[[str | None], str | None],
) -> tuple[TuningCostRow, ...]:
    """Time and memory of every tuned arm beside the share of the layers that it tunes, all layers first.

    The bytes of weights, of what is trained, of gradients and of the optimizer follow from shapes and types; the peak
    is measured.
    """
    shares = {(row.arm, row.data): row.layers / row.of for row in selections}
    methods = {arm.name: recipe.training_of(arm).method for arm in recipe.arms}
    found: dict[tuple[str, str | None], list[Mapping[str, Any]]] = {}
    for stage in manifest["stages"]:
        of_a_scorer = "scorer" in stage["cell"]  # a reference training that one scorer alone looks at is no arm
        if stage["kind"] in {"reference", "tune"} and "trained_memory" in stage and not of_a_scorer:
            cell = stage["cell"]
            found.setdefault((cell["arm"], label_of(cell.get("data"))), []).append(stage)
    rows = []
    for (arm, data), stages in found.items():
        share = 1.0 if arm == ALL_LAYERS else shares.get((arm, data), shares.get((arm, None)))
        if share is None:
            continue
        times = [stage["seconds_per_token"] for stage in stages if "seconds_per_token" in stage]
        own, whole = _means(stages), _means(found.get((ALL_LAYERS, data), []))
        rows.append(
            TuningCostRow(
                arm=arm,
                data=data,
                method=methods.get(arm, recipe.train.method),
                runs=len(stages),
                share_of_layers=share,
                seconds_per_token=own.get("seconds_per_token"),
                seconds_per_token_sd=stdev(times) if len(times) > 1 else None,
                weights_memory=round(own["weights_memory"]),
                trained_memory=round(own["trained_memory"]),
                gradient_memory=round(own["gradient_memory"]),
                optimizer_memory=round(own["optimizer_memory"]),
                peak_memory=round(own["peak_memory"]) if "peak_memory" in own else None,
                time_ratio=_ratio(own, whole, "seconds_per_token"),
                state_ratio=_ratio(own, whole, *_STATE),
                peak_ratio=_ratio(own, whole, "peak_memory"),
            )
        )
    return tuple(sorted(rows, key=lambda row: (row.data or "", -row.share_of_layers)))


def _means(stages: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    names = ("seconds_per_token", "weights_memory", *_STATE, "peak_memory")
    known = {name: [stage[name] for stage in stages if name in stage] for name in names}
    return {name: fmean(values) for name, values in known.items() if values}


def _ratio(own: Mapping[str, float], whole: Mapping[str, float], *names: str) -> float | None:
    if not all(name in each for name in names for each in (own, whole)):
        return None
    return sum(own[name] for name in names) / sum(whole[name] for name in names)
