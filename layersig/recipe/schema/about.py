"""`[about]`: what reviewers ask and no record of a run can know."""

from __future__ import annotations

from typing import Annotated

from pydantic import StringConstraints

from layersig.recipe.schema.common import Table

DATE_PATTERN = r"^(unknown|[0-9]{4}(-(0[1-9]|1[0-2])(-(0[1-9]|[12][0-9]|3[01]))?)?)$"
STATEMENT_PATTERN = r"\S"

Statement = Annotated[str, StringConstraints(pattern=STATEMENT_PATTERN, strip_whitespace=True)]
Date = Annotated[str, StringConstraints(pattern=DATE_PATTERN)]


class AboutSettings(Table):
    """`[about]`: what reviewers ask and no record can know; the rigor card quotes it.

    It changes neither a result nor the id of the run, so it may be written after the run: run the recipe again, and the
    report has it.
    """

    interests: Statement | None = None
    """Competing interests, such as "none" or "two authors work for the maker of the model"."""
    funding: Statement | None = None
    """Who paid for the work, and their part in it, such as "none"."""
    licence: Statement | None = None
    """Licence of what you release: recipe, scores, adapters, report."""
    licences: dict[str, Statement] = {}
    """Licences of sources whose publisher's is not on record, by name: `model`, or the name of a data set."""
    training_cutoff: Date | None = None
    """Last date of the text that the model was pretrained on, as its maker states it: "2024-06", or "unknown" where
    the maker states none."""
    published: dict[str, Date] = {}
    """When benchmarks were published, by task, such as `{ my_task = "2025-02" }`; the dates of well-known ones are
    known."""
    sample_size: Statement | None = None
    """How the numbers of seeds and items were chosen before the run, with the smallest difference that they can
    detect."""
    validity: Statement | None = None
    """Why the outcome stands for what the study claims: what a loss or an accuracy says about the ability meant."""
