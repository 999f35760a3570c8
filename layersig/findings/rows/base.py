"""What every row has in common."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

Scope = Literal["checkpoints", "method"]
Role = Literal["baseline", "contrast", "other scorer", "random control", "rule control"]
"""Why two arms are compared: with the baseline, because the recipe declares the pair, because another scorer chose as
many layers by the same policy, or with a control."""


class Row(BaseModel):
    """One row of a table: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
