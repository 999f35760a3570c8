"""What a made-up run is a run of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from layersig.recipe.schema import Recipe


@dataclass(frozen=True)
class Study:
    """What the synthetic run contains.

    Attributes:
        blocks: Blocks of the model.
        data: Labels of the data sets; `declared>used` for one that was replaced by its fallback.
        seeds: Values of the seed axis.
        tasks: Items of each benchmark task.
        heldout: Held-out conversations of each data set.
        extra_scorer: Adds a fifth model-dependent scorer and an arm for it.
        prefix: Start of every layer name.
        checkpoints: Earlier fractions of the reference training at which ILA scores too.
        steps: Steps of every training.
        declared: Whether the evaluations came after the declaration.
    """

    blocks: int = 30
    data: tuple[str, ...] = ("norobots", "lima")
    seeds: tuple[int, ...] = (0, 1, 2)
    tasks: tuple[tuple[str, int], ...] = (("hellaswag", 200), ("arc_easy", 150), ("mmlu", 285))
    heldout: int = 60
    extra_scorer: bool = False
    prefix: str = "model.layers"

    checkpoints: tuple[float, ...] = ()
    steps: int = 120
    declared: bool = True

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the data sets in the recipe."""
        return tuple(label.partition(">")[0] for label in self.data)


USUAL = Study()
"""The study of most tests."""


def recipe_of(study: Study) -> Recipe:
    """The recipe that would have made the run."""
    scorers: dict[str, Any] = {
        "ila": {"kind": "ila"},
        "gradient-norm": {"kind": "gradient-norm"},
        "random": {"kind": "random"},
        "first-k": {"kind": "first-k"},
        "last-k": {"kind": "last-k"},
    }
    arms: list[dict[str, Any]] = [
        {"name": "ila-30", "scorer": "ila", "select": {"kind": "top", "fraction": 0.3}},
        {"name": "ila-75", "scorer": "ila", "select": {"kind": "top", "fraction": 0.75}},
        {"name": "matched-random", "select": {"kind": "matched-random", "like": "ila-30"}},
        {"name": "ila-30.rule", "scorer": "ila", "select": {"kind": "type-depth", "like": "ila-30"}},
        {"name": "first-k", "scorer": "first-k", "select": {"kind": "top", "fraction": 0.3}},
        {"name": "last-k", "scorer": "last-k", "select": {"kind": "top", "fraction": 0.3}},
    ]
    for checkpoint in study.checkpoints:
        scorers[f"ila-at-{checkpoint:g}"] = {"kind": "ila", "checkpoint": checkpoint}
    if study.extra_scorer:
        arms.append({"name": "gradient-30", "scorer": "gradient-norm", "select": {"kind": "top", "fraction": 0.3}})
    return Recipe.model_validate(
        {
            "name": "synthetic",
            "description": "Which layers of a small Llama matter for instruction tuning?",
            "seeds": study.seeds,
            "model": {"source": "pypi:smollm2-135m"},
            "data": tuple({"name": name, "source": f"hub:example/{name}"} for name in study.names),
            "scorers": scorers,
            "arms": tuple(arms),
            "evaluate": {"tasks": tuple({"source": task} for task, _ in study.tasks)},
        },
        strict=False,
    )
