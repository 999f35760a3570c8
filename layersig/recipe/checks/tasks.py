"""What recipes must fulfil about the tasks that they name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from layersig.recipe.checks.values import list_at, table_at
from layersig.recipe.faults import Fault
from layersig.recipe.positions import KeyPath

_CODE_TASKS = ("humaneval", "mbpp")
"""How the names of lm-eval's tasks begin whose answers are programs to be run."""
_CODE_MARKS = re.compile(r"^\s*unsafe_code\s*:\s*true|\bmetric\s*:\s*[\"']?passes\b", re.MULTILINE | re.IGNORECASE)


def task_sources(holder: Mapping[str, Any]) -> Iterator[tuple[int, str]]:
    """The sources in `tasks` of a table, with their numbers."""
    for number, task in enumerate(list_at(holder, "tasks")):
        source = task.get("source") if isinstance(task, dict) else task
        if isinstance(source, str):
            yield number, source


def task_checks(data: Mapping[str, Any], base_dir: Path) -> Iterator[Fault]:
    """Every task stands there once; those that run what the model writes need the recipe's leave."""
    evaluate = table_at(data, "evaluate")
    seen = set()
    for number, source in task_sources(evaluate):
        if source in seen:
            yield Fault(("evaluate", "tasks", number), f'task "{source}" stands there twice')
        seen.add(source)
    if evaluate.get("allow_code_execution") is True:
        return
    holders: list[tuple[KeyPath, Mapping[str, Any]]] = [(("evaluate",), evaluate)]
    scorers = table_at(data, "scorers")
    holders += [(("scorers", name), table_at(scorers, name)) for name in scorers]
    for path, holder in holders:
        for number, source in task_sources(holder):
            if _runs_code(source, base_dir):
                reason = (
                    "runs programs that the model writes; set `allow_code_execution = true` in [evaluate] to let it"
                )
                yield Fault((*path, "tasks", number), f'task "{source}" {reason}')


def _runs_code(source: str, base_dir: Path) -> bool:
    if not source.startswith("file:"):
        return source.removeprefix("pypi:").startswith(_CODE_TASKS)
    try:
        text = (base_dir / source.removeprefix("file:")).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return False  # told when the task is looked for
    return _CODE_MARKS.search(text) is not None
