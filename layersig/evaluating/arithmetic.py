"""The rows of the arithmetic tasks, from problems as the data have them; named in the YAML files of `own`."""

from __future__ import annotations

from datasets import Dataset

from layersig.errors import UserError
from layersig.probes.arithmetic import SOLVED, TEMPLATES, Problem, asked, candidates, first_digit, problem


def first_digits(rows: Dataset) -> Dataset:
    """A row a problem: `prompt`, ten `choices`, `right`."""
    found = [(one, first_digit(one)) for one in _problems(rows)]
    return Dataset.from_list(
        [
            {"id": one.expression, "prompt": each.prompt, "choices": list(each.choices), "right": each.right}
            for one, each in found
        ]
    )


def answers(rows: Dataset) -> Dataset:
    """A row a problem and way to ask: `prompt`, `choices` (every answer that occurs), `right`, `answer`.

    `source_id` ties the ways to ask one problem together.
    """
    problems = _problems(rows)
    known = candidates(problems)
    choices = [f" {answer}\n" for answer in known]
    return Dataset.from_list(
        [
            {
                "id": f"{template}: {one.expression}",
                "source_id": one.expression,
                "prompt": asked(one, template),
                "choices": choices,
                "right": known.index(one.answer),
                "answer": str(one.answer),
            }
            for one in problems
            for template in TEMPLATES
        ]
    )


def _problems(rows: Dataset) -> list[Problem]:
    try:
        found = dict.fromkeys(problem(row["context"], row["completion"]) for row in rows)
    except (KeyError, ValueError, AttributeError) as error:
        raise UserError(f"arithmetic tasks read rows with `context` and `completion`: {error}") from error
    left = [one for one in found if one not in SOLVED]
    if not left:
        raise UserError("arithmetic tasks: no problem is left beside those that stand solved in the prompt")
    return left
