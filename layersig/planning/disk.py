"""Disk use of a study: what stages add to the store, and what the run folder needs in addition."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from layersig.layers import Unit
from layersig.pipeline import Stage
from layersig.planning.evaluation import asked_by
from layersig.planning.facts import Facts
from layersig.planning.memory import trained_values
from layersig.planning.passes import Passes
from layersig.planning.trainings import settings_of
from layersig.stages.kinds import Training
from layersig.store.cache import cache_root

_CARD = 6_000
"""Bytes of an adapter apart from its weights: its configuration and its model card."""
_LAYER = 2 * 150 + 60
"""Bytes that an adapter has for every layer: names and places of two tensors, and the entry in its configuration."""
_STEP = 130
"""Bytes of a step in `metrics.jsonl` and `log.json` each."""
_OUTCOME = 130
"""Bytes of an outcome in `items.jsonl`."""
_RESPONSE = 350
"""Bytes of a response record apart from its text: mainly its probes."""
_ENTRY = 1_000
"""Bytes of `stage.json` and its like."""
_TOKEN = 4.5
"""Bytes of a written token, as text."""
_REPORT, _PER_ARM, _PER_PAIR, _PER_SCORE = 150_000, 50_000, 8_000, 2_000
"""Bytes of report, figures, tables and analysis: of the smallest study, and more for every evaluated arm, every pair of
rankings, and every layer of a ranking."""


def stored(facts: Facts, stage: Stage, passes: Passes) -> float | None:
    """Bytes that a stage adds to the store; None where shapes or lengths are not known."""
    if isinstance(stage.spec, Training):
        return _training(facts, stage, passes)
    if stage.kind == "graft":
        return _adapter(facts, facts.share(stage), stage) if facts.shapes is not None else None
    if stage.kind == "prune":  # what a patch adds to it is little
        return _pruned(facts, stage)
    if stage.kind == "evaluate":
        return _evaluation(facts, stage, passes)
    if stage.kind in ("answer", "generate"):
        written = passes.by_kind.get("write")
        return None if written is None else _ENTRY + _TOKEN * written
    if stage.kind == "score":
        if facts.layers is None:
            return None
        every = stage.params["params"].get("keep_every", 8)
        kept = 1 + (passes.steps // every if stage.params["scorer"] == "ila" else 0)
        component, *_ = stage.components
        units = facts.layers.groups(Unit(component.unit or stage.params["unit"]))
        return _ENTRY + kept * sum(len(unit.name) + 26.0 for unit in units) + passes.steps * _STEP
    return float(_ENTRY)


def beside(facts: Facts, stages: Sequence[Stage], sizes: Sequence[float | None], runs: Path) -> float:
    """Bytes of the run folder that are not links into the store.

    Args:
        facts: What is known.
        stages: All stages.
        sizes: What each of them takes in the store.
        runs: Folder of all runs; on another file system than the store, results are copied.
    """
    arms = sum(stage.kind == "evaluate" for stage in stages)
    rankings = sum(stage.kind == "score" for stage in stages)
    scores = rankings * len(facts.layers or ())
    report = _REPORT + _PER_ARM * arms + _PER_PAIR * rankings * (rankings - 1) / 2 + _PER_SCORE * scores
    if _same_file_system(runs):
        return report
    return report + sum(size or 0.0 for stage, size in zip(stages, sizes, strict=True) if stage.files)


def _pruned(facts: Facts, stage: Stage) -> float | None:
    """Bytes of a model without the blocks that an arm removes."""
    if facts.shapes is None:
        return None
    in_blocks = sum(layer.parameters for layer in facts.shapes.layers) / facts.shapes.stored
    return _size(facts.model) * (1 - facts.share(stage) * in_blocks)


def _training(facts: Facts, stage: Stage, passes: Passes) -> float | None:
    if facts.shapes is None:
        return None
    settings = settings_of(stage)
    copies = len(stage.params.get("milestones", ())) or 1
    log = 2 * _STEP * passes.steps
    if facts.method(settings).result == "checkpoint":
        values = trained_values(facts, stage) or 0.0
        kept = copies if stage.kind == "reference" else 0
        return log + _ENTRY + 4.0 * values * kept + _size(facts.model)
    return log + _ENTRY + copies * _adapter(facts, facts.share(stage), stage)


def _adapter(facts: Facts, share: float, stage: Stage) -> float:
    assert facts.shapes is not None
    layers = facts.layers or facts.shapes.layers
    chosen = None if stage.kind == "recover" else facts.chosen(stage)
    settings = settings_of(stage) if "train" in stage.params else facts.recipe.train
    method = facts.method(settings).create()
    of, part = (layers, share) if chosen is None else (chosen, 1.0)
    values = part * float(sum(method.stored_values(layer, settings) for layer in of))
    return 4.0 * values + _LAYER * share * len(layers) + _CARD


def _evaluation(facts: Facts, stage: Stage, passes: Passes) -> float | None:
    lines = responses = 0
    for role in stage.inputs:
        if role.startswith("data/"):
            rows = facts.rows(role.removeprefix("data/"), "heldout")
            if rows is None:
                return None
            lines += rows * (4 if stage.params.get("objective") else 1)
    for number, task in enumerate(stage.params["tasks"]):
        asked = asked_by(facts, task, f"source/task/{number}")
        if asked is None:
            return None
        lines += asked.lines * (2 if task.get("floor") else 1)
        responses += asked.items if asked.written else 0
    return _ENTRY + _OUTCOME * lines + _RESPONSE * responses + _TOKEN * passes.by_kind.get("write", 0.0)


def _size(path: Path | None) -> float:
    return 0.0 if path is None else float(sum(file.stat().st_size for file in path.rglob("*") if file.is_file()))


def _same_file_system(runs: Path) -> bool:
    """Whether files of the store can be linked into the folder of runs."""
    return nearest(runs).stat().st_dev == nearest(cache_root()).stat().st_dev


def nearest(folder: Path) -> Path:
    """A folder, or the closest one above it that exists."""
    found = folder.absolute()
    while not found.exists():
        found = found.parent
    return found
