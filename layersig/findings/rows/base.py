"""What rows and tables have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict

Scope = Literal["checkpoints", "method", "method against a checkpoint"]
"""What a row is about; the third of several training runs of one arm against a single one of another."""
Role = Literal["baseline", "contrast", "all layers", "other scorer", "random control", "rule control"]
"""Why two arms are compared: with the baseline, because the recipe declares the pair, with all layers because the arm
may be as good as they are, because another scorer chose as many layers by the same policy, or with a control."""


class Row(BaseModel):
    """One row of a table: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


RowT = TypeVar("RowT", bound=Row, covariant=True)


@dataclass(frozen=True, slots=True)
class Table(Generic[RowT]):
    """A table of `analysis.json`; `findings[table]` gives its rows.

    Attributes:
        name: Its key in `analysis.json`, and the name of its CSV file.
        row: The type of its rows.
    """

    name: str
    row: type[RowT]


AnyTable = Table[Any]
