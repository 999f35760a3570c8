"""What is wrong with the tasks of a recipe, from their definitions alone: before anything is fetched or loaded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from layersig.errors import UserError
from layersig.recipe.load import LoadedRecipe
from layersig.recipe.schema import TaskSettings


def check_tasks(loaded: LoadedRecipe) -> None:
    """Check the tasks of a recipe, those that scorers select by too, from their definitions.

    Raises:
        UserError: One cannot be evaluated, its floor is asked for and cannot be measured, or two give results of one
            name.
    """
    recipe = loaded.recipe
    lists: dict[tuple[str, ...], list[TaskSettings]] = {("evaluate", "tasks"): list(recipe.evaluate.tasks)}
    for name, choice in recipe.scorers.items():
        if "tasks" in loaded.components.get("scorer", choice.kind).needs:
            lists["scorers", name, "tasks"] = list(map(_in_full, choice.params.get("tasks", ())))
    if not any(lists.values()):
        return
    from layersig.evaluating.definitions import check, check_apart

    for place, tasks in lists.items():
        for number, task in enumerate(tasks):
            with _told_at(loaded, *place, number):
                check(
                    task.source,
                    loaded.base_dir,
                    fetched=task.data is None,
                    floor=task.floor,
                    drawn=task.draws is not None,
                )
        with _told_at(loaded, *place):
            check_apart((task.source, loaded.base_dir / task.source.removeprefix("file:")) for task in tasks)


@contextmanager
def _told_at(loaded: LoadedRecipe, *path: str | int) -> Iterator[None]:
    try:
        yield
    except UserError as error:
        raise UserError(f"{loaded.where(*path)}: {error}") from error


def _in_full(task: Any) -> TaskSettings:
    return TaskSettings.model_validate(task if isinstance(task, dict) else {"source": task}, strict=False)
