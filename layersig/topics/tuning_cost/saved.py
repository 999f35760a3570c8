"""How much time an arm saves next to training all layers, with what its ranking cost, and what arithmetic allows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from layersig.findings.files import Selected
from layersig.layers import LayerMap
from layersig.recipe.schema import ALL_LAYERS
from layersig.topics.tuning_cost.rows import TimeSavedRow

Stage = Mapping[str, Any]
Place = tuple[str | None, str | None, int | None]
"""Arm, data set, seed."""


@dataclass(frozen=True, slots=True)
class _Pair:
    """The training of an arm, that of all layers with the same seed, and the seconds that the ranking took."""

    own: Stage
    whole: Stage
    ranking: float

    @property
    def saved_in_training(self) -> float:
        """Share of the time of all layers, the ranking left out."""
        return 1 - _seconds(self.own) / _seconds(self.whole)

    @property
    def saved(self) -> float:
        """The same with the ranking."""
        return 1 - (_seconds(self.own) + self.ranking) / _seconds(self.whole)

    @property
    def bound(self) -> float | None:
        """Share of the operations of all layers that need not be done; None where they were not counted."""
        if "operations" not in self.own or "operations" not in self.whole:
            return None
        return 1 - float(self.own["operations"]) / float(self.whole["operations"])


def time_saved_rows(
    manifest: Mapping[str, Any],
    lowest: Mapping[Place, int],
    alpha: float,
    label_of: Callable[[str | None], str | None],
) -> Iterator[TimeSavedRow]:
    """A row for every tuned arm and data set whose trainings, and those of all layers, told their time.

    Both were trained on the same batches by the same engine; every seed is compared with its own all-layers training.

    Args:
        manifest: `manifest.json`.
        lowest: Lowest selected block, by the place of the selection.
        alpha: One less the level of intervals.
        label_of: Label of a data set.
    """
    stages = {stage["id"]: stage for stage in manifest["stages"] if stage["status"] == "done"}
    trained = {_place(stage): stage for stage in stages.values() if _is_training(stage)}
    found: dict[tuple[str, str | None], list[_Pair]] = {}
    for (arm, data, seed), own in trained.items():
        whole = trained.get((ALL_LAYERS, data, seed))
        if whole is not None and arm not in (None, ALL_LAYERS):
            found.setdefault((str(arm), data), []).append(_Pair(own, whole, _ranking(own, stages)))
    for (arm, data), pairs in found.items():
        bounds = [pair.bound for pair in pairs if pair.bound is not None]
        blocks = [block for (name, at, _), block in lowest.items() if name == arm and at in (None, data)]
        low, high = _interval([pair.saved for pair in pairs], 1 - alpha)
        yield TimeSavedRow(
            arm=arm,
            data=label_of(data),
            runs=len(pairs),
            lowest_block=min(blocks, default=None),
            training_seconds=fmean(_seconds(pair.own) for pair in pairs),
            ranking_seconds=fmean(pair.ranking for pair in pairs),
            all_layers_seconds=fmean(_seconds(pair.whole) for pair in pairs),
            saved_in_training=fmean(pair.saved_in_training for pair in pairs),
            bound=fmean(bounds) if len(bounds) == len(pairs) else None,
            saved=fmean(pair.saved for pair in pairs),
            saved_low=low,
            saved_high=high,
        )


def lowest_blocks(selections: Sequence[Selected], layers: LayerMap | None) -> dict[Place, int]:
    """The lowest block that each selection holds; of the head alone, the number of blocks."""
    if layers is None:
        return {}
    found: dict[Place, int] = {}
    for selected in selections:
        blocks = [layers.by_name[name].block for name in selected.selection.layers]
        cell = selected.cell
        lowest = min(len(layers.blocks) if block is None else block for block in blocks)
        found[cell.arm, cell.data, cell.seed] = lowest
    return found


def _is_training(stage: Stage) -> bool:
    """Whether a stage trained an arm, or all layers as the arm of that name, once, and told its time."""
    once = "seconds_per_token" in stage and stage.get("trials", 1) == 1
    return stage["kind"] in ("tune", "reference") and once and "scorer" not in stage["cell"]


def _place(stage: Stage) -> Place:
    cell = stage["cell"]
    return cell.get("arm"), cell.get("data"), cell.get("seed")


def _seconds(stage: Stage) -> float:
    """Seconds of the steps of a training to its planned end; without loading and saving."""
    reached = stage["steps"] / stage["planned_steps"]
    return float(stage["tokens"] * stage["seconds_per_token"] / reached)


def _ranking(training: Stage, stages: Mapping[str, Stage]) -> float:
    """Seconds of the scorers behind the selection of an arm, and of the trainings as far as those read them."""
    scoring: dict[str, float] = {}
    read: dict[str, float] = {}  # how much of every training: what several scorers read is trained once
    for selection, _ in _inputs(training, "selection", stages):
        for scored, _ in _inputs(selection, "ranking/", stages):
            scoring[scored["id"]] = scored.get("seconds", 0.0)
            for reference, part in _inputs(scored, "update", stages):
                share = 0.0 if part == "at-stable" else float(part.removeprefix("at-"))
                read[reference["id"]] = max(read.get(reference["id"], 0.0), share)
            for reference, _ in _inputs(scored, "checkpoints", stages):
                read[reference["id"]] = 1.0
    trained = sum(share * _seconds(stages[name]) for name, share in read.items())
    return sum(scoring.values()) + trained


def _inputs(stage: Stage, role: str, stages: Mapping[str, Stage]) -> Iterator[tuple[Stage, str]]:
    """The stages that a stage reads in a role, each with the part of its output."""
    for name, node in stage.get("inputs", {}).items():
        if name.startswith(role):
            owners = [each for each in stages if node == each or node.startswith(f"{each}/")]
            if owners:
                owner = max(owners, key=len)
                yield stages[owner], node.removeprefix(owner).removeprefix("/")


def _interval(values: Sequence[float], level: float) -> tuple[float | None, float | None]:
    """The t interval of a mean over seeds; None of one seed."""
    if len(values) < 2:
        return None, None
    import numpy as np

    from layersig.analysis.means import mean_items

    found = mean_items(np.array(values)).interval(level)
    return found.low, found.high
