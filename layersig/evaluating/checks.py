"""Mistakes in a user's task that lm-eval reports unclearly, late, or not at all."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

from jinja2 import UndefinedError
from lm_eval.api.registry import METRIC_REGISTRY, is_higher_better

from layersig.errors import LayersigError, UserError, one_line
from layersig.evaluating.blanks import has_blank
from layersig.evaluating.definitions import Config
from layersig.evaluating.local import LocalTask


def check_definition(config: Config, fields: Iterable[str], path: Path) -> None:
    """Refuse metrics and fields that are not there, and metrics whose better side nobody knows.

    Args:
        config: A task of the user's YAML.
        fields: Names of its rows' fields.
        path: The YAML file.

    Raises:
        UserError: lm-eval has no such metric (it would ask the hub for one) and the task computes none of that name,
            nothing says whether its higher values are the better ones, or no row has such a field.
    """
    for entry in _metrics(config, path):
        name = entry.get("metric")
        if not isinstance(name, str) and not callable(name):
            raise UserError(f"{path}: metric_list: an entry has no `metric`, or one that is no name")
        own = config.get("process_results") is not None or bool(entry.get("hf_evaluate"))
        if isinstance(name, str) and not own and name not in METRIC_REGISTRY:
            raise UserError(f"{path}: lm-eval has no metric `{name}`{_near(name, METRIC_REGISTRY)}")
        _check_direction(entry, name if isinstance(name, str) else getattr(name, "__name__", repr(name)), path)
    check_field(config, "doc_to_choice", fields, path)


def check_field(config: Config, key: str, fields: Iterable[str], where: object) -> None:
    """Refuse a key that names a field alone where no row has it: lm-eval would take the name for a text.

    Args:
        config: A task.
        key: Such as `doc_to_choice`.
        fields: Names of its rows' fields.
        where: What the message begins with.

    Raises:
        UserError: There is no such field.
    """
    name, known = config.get(key), list(fields)
    if isinstance(name, str) and name.isidentifier() and not config.get("process_docs") and name not in known:
        raise UserError(f"{where}: {key}: the rows have {', '.join(known)} and no field `{name}`{_near(name, known)}")


def check_answers(task: LocalTask, path: Path) -> None:
    """Refuse rows that cannot be shown, such as those without a field that a template prints.

    Of the chosen rows of a multiple-choice task, refuse as well those whose right answer is none of the choices;
    lm-eval calls any wrong.

    Raises:
        UserError: It names the first such row.
    """
    chooses = task.OUTPUT_TYPE == "multiple_choice" and task.config.process_results is None
    for index, row in zip(task.chosen or (), task.eval_docs, strict=True):
        if not chooses and not has_blank(row):
            continue
        where = f"{path}: task {task.config.task}, row {index + 1} of split `{task.scored_split}`"
        fault = _shown(task, row, where, answers=chooses)
        if fault is not None:
            raise UserError(f"{where}: {fault}")
    if task.config.num_fewshot:
        for index, row in enumerate(task.fewshot_docs() or ()):
            if index == 0 or has_blank(row):  # the first shows what all lack
                _shown(task, row, f"{path}: task {task.config.task}, few-shot row {index + 1}", answers=False)


def _shown(task: LocalTask, row: Config, where: str, *, answers: bool) -> str | None:
    """What is wrong with the right answer of a row, if asked; raises `UserError` where the row cannot be shown."""
    try:
        if not answers or has_blank(row):
            task.doc_to_text(row), task.doc_to_prefix(row)
        target = task.doc_to_target(row)
        choices = task.doc_to_choice(row) if task.config.doc_to_choice is not None else []
        right = task.doc_to_text(row) if task.multiple_input else target
        for each in (right if isinstance(right, list) else [right]) if answers else ():
            if not (0 <= each < len(choices) if isinstance(each, int | float) else each in choices):
                return (
                    f"the right answer is {each!r}, none of the {len(choices)} choices; correct the row or "
                    "`doc_to_target`"
                )
    except UndefinedError as error:
        raise UserError(f"{where}: {error}; fill it in, delete the row, or give the template a `default`") from error
    except LayersigError:
        raise
    except Exception as error:  # templates and functions of a task may fail in any way
        raise UserError(
            f"{where}: it cannot be shown ({type(error).__name__}: {one_line(error)}); correct the row or the task"
        ) from error
    return None


def _metrics(config: Config, path: Path) -> list[Config]:
    listed = config.get("metric_list") or []
    if not isinstance(listed, list) or not all(isinstance(entry, dict) for entry in listed):
        raise UserError(f"{path}: metric_list: a list of entries such as `- metric: acc` is needed")
    return listed


def _check_direction(entry: Config, name: str, path: Path) -> None:
    """Where the task says nothing, lm-eval's registry speaks for its own metrics; for others a guess may be wrong."""
    said = entry.get("higher_is_better", is_higher_better(name))
    if not isinstance(said, bool):
        what = f"is {said!r}" if "higher_is_better" in entry else "is missing, and lm-eval does not know this metric's"
        raise UserError(f"{path}: metric `{name}`: higher_is_better {what}; write `true` or `false` beside the metric")


def _near(name: str, known: Iterable[str]) -> str:
    close = get_close_matches(name, known, n=1)
    return f"; did you mean `{close[0]}`?" if close else ""
