"""Passes of a training: the batches that it will draw, and the part of the model that they go back through."""

from __future__ import annotations

from collections.abc import Mapping

from layersig.pipeline import Stage
from layersig.planning.facts import Facts
from layersig.planning.passes import Passes
from layersig.plugin.components import Component
from layersig.recipe.schema import TrainSettings
from layersig.stages.kinds import Score, Training


def settings_of(stage: Stage) -> TrainSettings:
    """How a stage trains."""
    assert isinstance(stage.spec, Training | Score)
    assert stage.spec.train is not None, "a scorer that computes"
    return stage.spec.train


def trained(facts: Facts, stage: Stage) -> Passes:
    """Passes of a training, with all trials of its search, up to the last milestone that anything reads."""
    settings = settings_of(stage)
    planned, drawn = _drawn(facts, stage, settings)
    reached = max(stage.params.get("milestones", (1.0,)))
    steps = min(planned, max(1, round(reached * planned)))
    tokens = None if drawn is None else reached * drawn
    if tokens is None:
        if steps:
            return Passes(None, steps, unknown=f"the lengths of the conversations in {stage.cell.data}")
        return Passes(None, 0, unknown=f"the rows of {stage.cell.data}")
    return Passes(tokens, steps, _by_kind(facts.method(settings), tokens, facts.share(stage), facts.lowest(stage)))


def trials(settings: TrainSettings) -> int:
    """Trainings that a stage runs: those of its search, or one."""
    search = settings.search
    return 1 if search is None else max(len(search.learning_rates), 1) * max(len(search.epochs), 1)


def _drawn(facts: Facts, stage: Stage, settings: TrainSettings) -> tuple[int, float | None]:
    data = stage.cell.data or ""
    lengths, rows = facts.lengths(data, settings.objective), facts.rows(data, "train")
    validated = 0.0
    if settings.search is not None:
        examples = facts.examples(data, "train")
        if examples is not None and lengths is not None:
            from layersig.data.split import validation_indices

            held = validation_indices(examples.groups, settings.search.validation, facts.recipe.root_seed)
            every = lengths
            lengths = [length for index, length in enumerate(every) if index not in held]
            validated = float(sum(every) - sum(lengths))
        elif rows is not None:
            rows = round(rows * (1 - settings.search.validation))
    steps, tokens = 0, 0.0
    for epochs in (settings.search.epochs if settings.search is not None else ()) or (None,):
        length = {"steps": settings.steps} if epochs is None and settings.steps else {}
        length = length or {"epochs": epochs or settings.epochs or 1.0}  # type: ignore[dict-item]
        own, drawn = facts.drawn_from(lengths, rows, stage.seed, batch_size=settings.batch_size, **length)
        steps += own
        tokens = float("nan") if drawn is None else tokens + drawn + validated
    rates = max(len(settings.search.learning_rates), 1) if settings.search is not None else 1
    return steps * rates, None if tokens != tokens else tokens * rates


def _by_kind(method: Component, tokens: float, share: float, above: float) -> Mapping[str, float]:
    """Passes of a training of a share of the layers, whose gradients go back through a share of the blocks.

    Every token is read once; the rest of a pass, back through the blocks, is what the blocks above make of it.
    """
    if method.result == "checkpoint":
        # The gradient of a weight costs what a forward pass of its layer does.
        return {"plain": tokens * above, "read": tokens * (1 - above + share * above)}
    return {"train": tokens * share * above, "plain": tokens * (1 - share) * above, "read": tokens * (1 - above)}
