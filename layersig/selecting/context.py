"""The input of policies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from layersig.layers import Group
from layersig.records import Ranking, Selection
from layersig.selecting.costs import Arithmetic
from layersig.streams import Streams


@dataclass(frozen=True)
class SelectionContext:
    """The input of a policy.

    Attributes:
        groups: Every unit in model order, with its layers.
        rankings: The rankings that the arm reads, by `scorer/data`; empty for policies that need none.
        like: The selection of the arm named by the parameter `like`; None for policies without that parameter.
        streams: Named random streams of the cell.
        params: The policy's own parameters, an instance of its `Params`.
        arithmetic: What training the units costs; None for policies that do not declare `costs`.
    """

    groups: tuple[Group, ...]
    rankings: Mapping[str, Ranking]
    like: Selection | None
    streams: Streams
    params: Any
    arithmetic: Arithmetic | None = None

    @property
    def ranking(self) -> Ranking:
        """The one ranking of a policy that reads one."""
        (ranking,) = self.rankings.values()
        return ranking
