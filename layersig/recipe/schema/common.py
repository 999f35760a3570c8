"""The base class of the tables of a recipe, and the types of names and sources."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints

from layersig.docstrings import Described

MODEL_SCHEMES = ("hub", "path", "pypi", "untrained")
UPDATE_SCHEMES = ("path",)
DATA_SCHEMES = ("hub", "file", "pypi")
"""Of data sets and of sets of questions."""

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_\-]*(\.[A-Za-z0-9_\-]+)*$"
SOURCE_PATTERN = r"^[a-z][a-z0-9\-]*:.+$"
ENDPOINT_PATTERN = r"^https?://[^\s/?#@]+(/[^\s?#@]*)?$"
DEVICE_PATTERN = r"^(auto|cpu|mps|cuda(:[0-9]+)?)$"
VARIABLE_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]*$"

Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN, max_length=80)]
Fraction = Annotated[float, Field(gt=0, le=1)]
Device = Annotated[str, StringConstraints(pattern=DEVICE_PATTERN)]
SourceSpec = Annotated[str, StringConstraints(pattern=SOURCE_PATTERN)]

TokenBudget = Annotated[int, Field(ge=1)] | Literal["auto"]
"""Tokens that go through a model at once."""
AUTO_TOKENS_ON_CPU = 4096
"""What `auto` is on a CPU where gradients follow."""
AUTO_BATCH_ON_CPU = 8192
"""What `auto` is on a CPU where none do."""
LEAST_AUTO_TOKENS = 256
"""The smallest budget that `auto` chooses on a GPU."""


class Table(Described):
    """A table of the recipe: frozen, unknown keys refused, no silent conversion of types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
