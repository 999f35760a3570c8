"""What every row has in common."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

Scope = Literal["checkpoints", "method"]
Role = Literal["baseline", "random control", "rule control"]


class Row(BaseModel):
    """One row of a table: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
