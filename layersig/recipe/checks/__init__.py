"""Checks of a recipe beyond the types of its keys: names, references, and the parameters of components.

The checks read the raw values of the file, so that they report even where other keys are invalid.

- `values`: reading raw values
- `names`: unique names, known schemes
- `components`: plugin files, and scorers and policies with their parameters
- `tasks`, `data`, `judge`, `rankings`, `arms`, `tuning`, `objectives`, `margins`, `declarations`, `about`, `sweeps`: a
  section of a recipe each, beside what else decides whether its keys have an effect
- `size`: an upper limit on the number of trainings and scorings
- `library`: the text of lm-eval's task definitions
- `training_keys`: keys of `[train]` inside arms and scorers
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from layersig.plugin.table import Components
from layersig.recipe.checks.about import about_checks
from layersig.recipe.checks.arms import arm_checks
from layersig.recipe.checks.components import plugin_files, scorer_checks
from layersig.recipe.checks.data import data_checks
from layersig.recipe.checks.declarations import declaration_checks
from layersig.recipe.checks.judge import judge_checks
from layersig.recipe.checks.margins import margin_checks
from layersig.recipe.checks.names import name_checks
from layersig.recipe.checks.objectives import objective_checks
from layersig.recipe.checks.size import size_checks
from layersig.recipe.checks.sweeps import sweep_checks
from layersig.recipe.checks.tasks import task_checks
from layersig.recipe.checks.training_keys import own_training_checks
from layersig.recipe.checks.tuning import tuning_checks, unread_keys
from layersig.recipe.checks.values import measures, strange_values, table_at, unusable_text
from layersig.recipe.faults import Fault

__all__ = ["cross_checks", "plugin_files", "strange_values", "unread_keys", "unusable_text"]


def cross_checks(data: Mapping[str, Any], components: Components, base_dir: Path) -> Iterator[Fault]:
    """Every fault that shows only when keys are read together, or against the registered components.

    Args:
        data: The values of the recipe.
        components: The components that it may name.
        base_dir: Folder that relative paths start from.
    """
    yield from name_checks(data, components)
    yield from task_checks(data, base_dir)
    yield from data_checks(data)
    yield from judge_checks(data)
    yield from scorer_checks(data, components)
    yield from arm_checks(data, components)
    yield from tuning_checks(data, components)
    yield from objective_checks(data, components)
    yield from own_training_checks(data, components)
    yield from margin_checks(data, base_dir)
    yield from declaration_checks(data, base_dir)
    yield from about_checks(data)
    yield from sweep_checks(data)
    yield from size_checks(data)
    if not measures(data) and not table_at(data, "scorers"):
        yield Fault((), "there is nothing to do; add at least one [scorers.NAME], one [[arms]], or evaluate.tasks")
