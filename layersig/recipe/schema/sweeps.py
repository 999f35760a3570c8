"""`[[sweeps]]` and `grid`: entries that differ in one quantity."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from layersig.recipe.schema.common import Name, Table

Grid = Annotated[dict[str, Any], Field(exclude=True)]
"""Keys of an entry with lists of values. Loading a recipe expands them; the resolved recipe shows the copies."""


class SweepSettings(Table):
    """`[[sweeps]]`: entries that differ in one quantity, for a curve over it. A `grid` adds its sweeps itself."""

    name: Name
    """Name of the sweep in records and figures."""
    of: Literal["arms", "data"] = "arms"
    """What differs: arms, or the data sets that every arm is tuned on."""
    quantity: str = Field(min_length=1)
    """The quantity that varies, such as `select.fraction`."""
    entries: Annotated[tuple[Name, ...], Field(min_length=2)]
    """Names of the arms or data sets, in ascending order of the quantity."""
    values: Annotated[tuple[float, ...], Field(min_length=2)]
    """The value of the quantity in each entry."""

    @model_validator(mode="after")
    def _aligned(self) -> Self:
        if len(self.values) != len(self.entries):
            raise ValueError(f"{len(self.entries)} `entries` need as many `values`; got {len(self.values)}")
        if any(low >= high for low, high in zip(self.values, self.values[1:], strict=False)):
            raise ValueError("`values` must ascend, each greater than the one before; order the entries by them")
        return self
