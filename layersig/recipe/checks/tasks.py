"""Checks of `evaluate.tasks` and of tasks inside scorers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from layersig.recipe.checks.values import list_at, table_at
from layersig.recipe.faults import Fault
from layersig.recipe.positions import KeyPath

_CODE_TASKS = ("humaneval", "mbpp")
"""Prefixes of lm-eval's tasks whose answers are programs that have to be run."""
_WITH_DRAWS = {"temperature": None, "top_p": 1.0, "pass_at": None}
"""Keys that set how answers are sampled, with the defaults that resolved recipes write out."""
_CODE_MARKS = re.compile(r"^\s*unsafe_code\s*:\s*true|\bmetric\s*:\s*[\"']?passes\b", re.MULTILINE | re.IGNORECASE)


def task_sources(holder: Mapping[str, Any]) -> Iterator[tuple[int, str]]:
    """The sources in `tasks` of a table, with their numbers."""
    for number, task in enumerate(list_at(holder, "tasks")):
        source = task.get("source") if isinstance(task, dict) else task
        if isinstance(source, str):
            yield number, source


def task_checks(data: Mapping[str, Any], base_dir: Path) -> Iterator[Fault]:
    """Faults of tasks: repeated ones, unknown ones, and ones that run code without permission."""
    evaluate = table_at(data, "evaluate")
    seen: dict[str, str] = {}
    for number, source in task_sources(evaluate):
        before = seen.get(name := source.removeprefix("pypi:"))
        if before is not None:
            twice = "is listed twice" if before == source else f'has the results of "{before}", under one name'
            yield Fault(("evaluate", "tasks", number), f'task "{source}" {twice}; remove one')
        seen.setdefault(name, source)
    yield from _draw_checks(data)
    if evaluate.get("memorisation") is True and not evaluate.get("tasks"):
        reason = "asks whether the items of tasks are memorised, and there are none; give `tasks`, or remove it"
        yield Fault(("evaluate", "memorisation"), reason, idle=True)
    if evaluate.get("allow_code_execution") is True:
        return
    holders: list[tuple[KeyPath, Mapping[str, Any]]] = [(("evaluate",), evaluate)]
    scorers = table_at(data, "scorers")
    holders += [(("scorers", name), table_at(scorers, name)) for name in scorers]
    for path, holder in holders:
        for number, source in task_sources(holder):
            if _runs_code(source, base_dir):
                reason = (
                    "runs programs that the model writes; set `allow_code_execution = true` in [evaluate] to allow that"
                )
                yield Fault((*path, "tasks", number), f'task "{source}" {reason}')


def _draw_checks(data: Mapping[str, Any]) -> Iterator[Fault]:
    """Faults of `draws`: draws need a temperature, the other sampling keys need draws, and scorers take none."""
    for number, task in enumerate(list_at(table_at(data, "evaluate"), "tasks")):
        if not isinstance(task, dict):
            continue
        path: KeyPath = ("evaluate", "tasks", number)
        draws = task.get("draws")
        if draws is not None and task.get("temperature") is None:
            yield Fault((*path, "draws"), "needs a `temperature` above 0, such as 0.8")
        if draws is None and (given := _given(task)):
            yield Fault((*path, given[0]), "sets how answers are drawn; give `draws` too, or remove it")
        listed = task.get("pass_at")
        if type(draws) is int and isinstance(listed, list):
            large = [k for k in listed if type(k) is int and k > draws]
            if large:
                yield Fault(
                    (*path, "pass_at"), f"{large[0]} answers cannot be chosen from {draws} draws; give at most {draws}"
                )
    scorers = table_at(data, "scorers")
    for name in scorers:
        for number, task in enumerate(list_at(table_at(scorers, name), "tasks")):
            if isinstance(task, dict) and (given := ["draws"] * ("draws" in task) + _given(task)):
                yield Fault(
                    ("scorers", name, "tasks", number, given[0]), "scorers read the most likely answer; remove it"
                )


def _given(task: Mapping[str, Any]) -> list[str]:
    return [key for key, default in _WITH_DRAWS.items() if task.get(key, default) != default]


def _runs_code(source: str, base_dir: Path) -> bool:
    if not source.startswith("file:"):
        return source.removeprefix("pypi:").startswith(_CODE_TASKS)
    try:
        text = (base_dir / source.removeprefix("file:")).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return False  # reported when the task is loaded
    return _CODE_MARKS.search(text) is not None
