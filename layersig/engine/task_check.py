"""What is wrong with the tasks of a recipe, from their definitions alone: before anything is fetched or loaded."""

from __future__ import annotations

from typing import Any

from layersig.errors import UserError
from layersig.recipe.load import LoadedRecipe
from layersig.recipe.schema import TaskSettings


def check_tasks(loaded: LoadedRecipe) -> None:
    """Check the tasks of a recipe, those that scorers select by too, from their definitions.

    Raises:
        UserError: One cannot be evaluated, or its floor is asked for and cannot be measured.
    """
    recipe = loaded.recipe
    tasks: list[tuple[tuple[str | int, ...], TaskSettings]] = [
        (("evaluate", "tasks", number), task) for number, task in enumerate(recipe.evaluate.tasks)
    ]
    for name, choice in recipe.scorers.items():
        if "tasks" in loaded.components.get("scorer", choice.kind).needs:
            given = enumerate(choice.params.get("tasks", ()))
            tasks += [(("scorers", name, "tasks", number), _in_full(task)) for number, task in given]
    if not tasks:
        return
    from layersig.evaluating.definitions import check

    for path, task in tasks:
        try:
            check(
                task.source, loaded.base_dir, fetched=task.data is None, floor=task.floor, drawn=task.draws is not None
            )
        except UserError as error:
            raise UserError(f"{loaded.where(*path)}: {error}") from error


def _in_full(task: Any) -> TaskSettings:
    return TaskSettings.model_validate(task if isinstance(task, dict) else {"source": task}, strict=False)
