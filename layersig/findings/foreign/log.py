"""What one evaluation of one model gave, item by item, whoever measured it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from layersig.records import Outcome


class ItemIdentity(NamedTuple):
    """What an item was, as far as the file tells.

    Attributes:
        shown: What a message calls the item.
        document: Digest of its document.
        prompt: Digest of its prompt.
        target: Digest of its right answer.
    """

    shown: str
    document: str | None = None
    prompt: str | None = None
    target: str | None = None


@dataclass(frozen=True, eq=False)
class Log:
    """One evaluation.

    Attributes:
        where: File or folder.
        outcomes: What every item gave.
        asked: What an item was, by task and item.
        higher: Whether higher is better, by task and metric, where the file tells.
        pooled: Tasks whose outcomes are those of several tasks, each a stratum.
        notes: What was left out, and why.
    """

    where: str
    outcomes: tuple[Outcome, ...]
    asked: Mapping[tuple[str, str], ItemIdentity]
    higher: Mapping[tuple[str, str], bool] = field(default_factory=dict)
    pooled: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()

    @property
    def items(self) -> dict[tuple[str, str], dict[str, None]]:
        """The items of every task and metric, in order."""
        found: dict[tuple[str, str], dict[str, None]] = {}
        for outcome in self.outcomes:
            found.setdefault((outcome.task, outcome.metric), {})[outcome.item] = None
        return found
