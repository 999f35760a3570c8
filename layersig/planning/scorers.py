"""Passes of scorers: the forward and backward passes that each built-in scorer needs with its parameters.

How many passes a plugin's scorer makes is not known: a plan says so, and a finished run tells.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from layersig.pipeline import Stage
from layersig.planning.evaluation import task_tokens
from layersig.planning.facts import Facts
from layersig.planning.passes import Passes, uncounted

_Cost = Callable[[Mapping[str, Any], int], tuple[float, Mapping[str, float]]]
"""From the parameters of a scorer and its units to the passes over its batches, and what they cost by kind."""


def _gated(count: float, **more: float) -> tuple[float, Mapping[str, float]]:
    """So many forward passes with a gate on every layer's update."""
    return count + more.get("train", 0.0), {"read": count, "gate": count, **more}


_BATCHES: Mapping[str, _Cost] = {
    "ila": lambda params, units: (1.0, {"train": 1.0}),
    "update-taylor": lambda params, units: (1.0, {"train": 1.0}),
    "path-attribution": lambda params, units: _gated(2.0, train=float(params["nodes"])),
    "leave-one-out": lambda params, units: _gated(units + 1.0),
    "add-one-in": lambda params, units: _gated(units + 1.0),
    "layer-contribution": lambda params, units: (units + 1.0, {"train": units + 1.0}),
    # The gradient of a weight costs what a forward pass of its layer does.
    "gradient-norm": lambda params, units: (1.0, {"plain": 1.0, "read": 1.0}),
    "projected-gradient": lambda params, units: (1.0, {"plain": 1.0, "read": 1.0}),
    "whitened-gradient": lambda params, units: (2.0, {"plain": 1.0, "read": 2.0}),
    "adalora-sensitivity": lambda params, units: (1.0, {"train": 1.0, "read": 1.0}),
}
"""Scorers that go through optimizer batches, `steps` or `batches` of them."""
_NONE = frozenset({"weight-change", "spectral", "transfer", "random", "first-k", "last-k", "middle", "ends"})
"""Scorers that run no pass."""
_BLOCKS = frozenset({"block-influence", "angular-distance", "ablation", "greedy"})
"""Scorers of blocks, which read conversations once each, or tasks."""
_LOSSES = frozenset({"ablation", "greedy"})
"""Those of them that compute a loss."""


def scored(facts: Facts, stage: Stage) -> Passes:
    """Passes of a scorer."""
    kind, params = stage.params["scorer"], stage.params["params"]
    component, *_ = stage.components
    if component.origin.distribution != "layersig":
        return uncounted(f"the passes of scorer {kind!r}, which a plugin brings")
    if kind in _NONE:
        return Passes()
    if kind in _BLOCKS:
        return _of_blocks(facts, stage, kind, params)
    train = stage.params["train"]
    steps = params.get("steps", params.get("batches", 0))
    data = stage.cell.data or ""
    objective = train.get("objective", "sft")
    _, tokens = facts.drawn(data, stage.seed, objective, batch_size=train["batch_size"], steps=steps)
    if tokens is None:
        return uncounted(f"the lengths of the conversations in {data}", steps if kind == "ila" else 0)
    units = _units(facts, stage)
    count, by_kind = _BATCHES[kind](params, units)
    passed = {name: tokens * each for name, each in by_kind.items()}
    trainings = {"ila": 1, "layer-contribution": units + 1}.get(kind, 0)
    return Passes(tokens * count, steps * trainings, passed)


def _units(facts: Facts, stage: Stage) -> int:
    from layersig.layers import Unit

    component, *_ = stage.components
    return 0 if facts.layers is None else len(facts.layers.groups(Unit(component.unit or stage.params["unit"])))


def _of_blocks(facts: Facts, stage: Stage, kind: str, params: Mapping[str, Any]) -> Passes:
    if facts.shapes is None:
        return uncounted("the blocks of the model")
    depth = facts.shapes.depth
    if params.get("tasks"):
        tokens, written, why = task_tokens(facts, params["tasks"], _selection_node(stage))
        evaluations = _evaluations(kind, params, depth)
        if tokens is None:
            return uncounted(why or "the items of the selection tasks")
        by_kind = {"evaluate": tokens * evaluations, "write": written * evaluations}
        return Passes((tokens + written) * evaluations, by_kind=by_kind, at_most=written > 0, unknown=why)
    train, data = stage.params["train"], stage.cell.data or ""
    rows = facts.rows(data, "train")
    count = min(params["batches"] * train["batch_size"], rows or 0)
    # Hidden states are read for the chosen responses only; a loss needs both responses of a pair.
    objective = train.get("objective", "sft") if kind in _LOSSES else "sft"
    tokens = None if not count else facts.drawn(data, stage.seed, objective, batch_size=1, steps=count)[1]
    if tokens is None:
        return uncounted(f"the lengths of the conversations in {data}")
    return Passes(tokens, by_kind={"read": tokens * _sweeps(kind, params, depth)})


def _selection_node(stage: Stage) -> Callable[[int], str]:
    return lambda number: stage.inputs[f"task/{number}"].node


def _evaluations(kind: str, params: Mapping[str, Any], depth: int) -> float:
    """Evaluations of the selection tasks: of the whole model, and without each candidate."""
    if kind == "ablation":
        return 1.0 + depth
    candidates = depth - len(params.get("protect", ()))
    return 1.0 + sum(candidates - gone for gone in range(params["remove"]))


def _sweeps(kind: str, params: Mapping[str, Any], depth: int) -> float:
    """Forward passes over the conversations: a sweep runs what lies in front of a block once, see `scoring.sweep`."""
    if kind == "ablation":
        return 1.0 + (depth - 1) / 2 + (1.0 if params["how"] == "mean" else 0.0)
    if kind == "greedy":
        return sum(1.0 + max(0, depth - 1 - gone) / 2 for gone in range(params["remove"]))
    return 1.0
