"""`[about]`: statements that reviewers ask for and that no record of a run contains."""

from __future__ import annotations

from typing import Annotated

from pydantic import StringConstraints

from layersig.recipe.schema.common import Table

DATE_PATTERN = r"^(unknown|[0-9]{4}(-(0[1-9]|1[0-2])(-(0[1-9]|[12][0-9]|3[01]))?)?)$"
STATEMENT_PATTERN = r"\S"

Statement = Annotated[str, StringConstraints(pattern=STATEMENT_PATTERN, strip_whitespace=True)]
Date = Annotated[str, StringConstraints(pattern=DATE_PATTERN)]


class AboutSettings(Table):
    """`[about]`: statements that reviewers ask for and that no record of a run contains; the rigor card quotes them.

    They change neither results nor the id of the run, so they can be added after a run: run the recipe again, and the
    report contains them.
    """

    interests: Statement | None = None
    """Competing interests, such as "none" or "two authors work for the maker of the model"."""
    funding: Statement | None = None
    """Who paid for the work, and their role in it, such as "none"."""
    licence: Statement | None = None
    """Licence of what you release: recipe, scores, adapters, report."""
    licences: dict[str, Statement] = {}
    """Licences of sources for which none is on record, by name: `model`, or the name of a data set."""
    training_cutoff: Date | None = None
    """Training cut-off of the model, as its developer states it: "2024-06", or "unknown" if the developer states
    none."""
    published: dict[str, Date] = {}
    """Publication dates of benchmarks, by task, such as `{ my_task = "2025-02" }`; those of well-known ones are built
    in."""
    sample_size: Statement | None = None
    """How the numbers of seeds and items were chosen before the run, with the smallest difference that they can
    detect."""
    validity: Statement | None = None
    """Why the outcome is valid for the claim: what a loss or an accuracy says about the ability in question."""
