"""How rows are to be read, as far as the recipe says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from layersig.data.vocabulary import Meaning

_NAMEABLE: Mapping[str, Meaning] = {
    "messages": Meaning.TURNS,
    "prompt": Meaning.PROMPT,
    "response": Meaning.RESPONSE,
    "rejected": Meaning.REJECTED,
    "system": Meaning.SYSTEM,
    "context": Meaning.CONTEXT,
    "reasoning": Meaning.REASONING,
    "tools": Meaning.TOOLS,
}


@dataclass(frozen=True)
class Layout:
    """How rows are to be read, as far as the recipe says.

    Attributes:
        named: Fields that the recipe names, by meaning; several fields of a response follow after blank lines.
        ignored: Fields that it wants ignored.
        prompts: Rows are only asked: they need no response, and may end with a user turn.
    """

    named: Mapping[Meaning, tuple[str, ...]] = field(default_factory=dict)
    ignored: frozenset[str] = frozenset()
    prompts: bool = False

    @classmethod
    def of(cls, fields: Mapping[str, Any] | None, *, prompts: bool = False) -> Layout:
        """The layout that `data.fields` of a recipe describes."""
        fields = fields or {}
        named = {
            meaning: (value,) if isinstance(value, str) else tuple(value)
            for key, meaning in _NAMEABLE.items()
            if (value := fields.get(key))
        }
        return cls(named, frozenset(fields.get("ignore") or ()), prompts)
