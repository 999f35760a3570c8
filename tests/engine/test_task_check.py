"""Tasks that are refused from their definitions, before anything is fetched or trained."""

from __future__ import annotations

from pathlib import Path

import pytest

from layersig.engine.task_check import check_tasks
from layersig.errors import UserError
from layersig.recipe.load import load
from tests.study import write_study


@pytest.mark.parametrize(
    ("tasks", "name"), [(["ai2_arc", "arc_challenge"], "arc_challenge"), (["mmlu", "mmlu_anatomy"], None)]
)
def test_two_entries_that_give_results_of_one_task_are_refused(
    tmp_path: Path, tasks: list[str], name: str | None
) -> None:
    loaded = load(write_study(tmp_path), [f"evaluate.tasks={tasks}"])
    if name is None:
        check_tasks(loaded)
        return
    with pytest.raises(UserError, match=rf"{tasks[0]} and {tasks[1]} both give results of the task {name}") as refused:
        check_tasks(loaded)
    assert "evaluate.tasks" in str(refused.value)
