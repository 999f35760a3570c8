"""`[[sweeps]]` and `grid`: entries that differ in one quantity."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from layersig.recipe.schema.common import Name, Table

Grid = Annotated[dict[str, Any], Field(exclude=True)]
"""Keys of an entry with lists of values; loading a recipe leaves none, and what it writes shows the copies."""


class SweepSettings(Table):
    """`[[sweeps]]`: entries that differ in one quantity, for a curve over it. A `grid` writes them, or the user."""

    name: Name
    """What records and figures call it."""
    of: Literal["arms", "data"] = "arms"
    """Whether arms differ, or the data sets that every arm is tuned on."""
    quantity: str = Field(min_length=1)
    """What varies, such as `select.fraction`."""
    entries: Annotated[tuple[Name, ...], Field(min_length=2)]
    """Names of the arms or data sets, in ascending order of the quantity."""
    values: Annotated[tuple[float, ...], Field(min_length=2)]
    """The quantity in each of them."""

    @model_validator(mode="after")
    def _aligned(self) -> Self:
        if len(self.values) != len(self.entries):
            raise ValueError(f"{len(self.entries)} `entries` need as many `values`; got {len(self.values)}")
        if any(low >= high for low, high in zip(self.values, self.values[1:], strict=False)):
            raise ValueError("`values` must ascend, each greater than the one before; order the entries by them")
        return self
