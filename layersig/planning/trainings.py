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
    method, budget = facts.method(settings), facts.budget(stage)
    if budget is not None:
        passes = dict(_by_kind(method, budget * tokens, 1.0, 1.0, 0.0))
    else:
        again = _again(facts, stage, tokens)
        passes = dict(_by_kind(method, tokens, facts.share(stage), facts.reached(stage), again))
    for kind, batches in method.create().passes_before(settings).items():
        passes[kind] = passes.get(kind, 0.0) + tokens / steps * min(batches * trials(settings), planned)
    return Passes(tokens, steps, passes, at_most=budget is not None)


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


def _again(facts: Facts, stage: Stage, tokens: float) -> float:
    """Tokens that come up again in a training, of which what the frozen lower blocks give is kept."""
    lengths = facts.lengths(stage.cell.data or "", settings_of(stage).objective)
    if lengths is None or facts.shapes is None or not facts.recipe.model.fast:
        return 0.0
    from layersig.fast.profile import LARGEST_PREFIX

    whole = float(sum(lengths))
    if whole * facts.shapes.hidden * facts.width > LARGEST_PREFIX:
        return 0.0
    # An epoch draws every conversation once, so all that is beyond the first has been seen.
    return max(0.0, tokens - whole * trials(settings_of(stage)))


def _by_kind(method: Component, tokens: float, share: float, reached: float, again: float) -> Mapping[str, float]:
    """Passes of a training.

    Args:
        method: How layers are tuned.
        tokens: All tokens.
        share: Share of the layers that is trained.
        reached: Share of a pass through which gradients go back.
        again: Of the tokens, those that pass the frozen part below no second time.
    """
    below = (tokens - again) * (1 - reached)
    if method.result == "checkpoint":
        # The gradient of a weight costs what a forward pass of its layer does.
        return {"plain": tokens * reached, "read": below + tokens * share}
    adapted = min(share, reached)
    return {"train": tokens * adapted, "plain": tokens * (reached - adapted), "read": below}
