"""A topic of the report: its tables, how their rows are computed, and the section that shows them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from layersig.findings.evidence import Evidence
from layersig.findings.rows.base import AnyTable, Row
from layersig.findings.tables import Findings
from layersig.report.document import Section
from layersig.report.material import Material


@dataclass(frozen=True)
class Result:
    """What a topic found.

    Attributes:
        rows: The rows of each of its tables, in the order of `analysis.json`.
        notes: Sentences on what is missing or could not be computed, and why.
    """

    rows: Mapping[AnyTable, Iterable[Row]] = field(default_factory=dict)
    notes: Iterable[str] = ()


@dataclass(frozen=True)
class Topic:
    """One subject of the report.

    Attributes:
        name: Its name, unique among all topics.
        tables: The tables that it computes.
        compute: From the evidence of a run, and the rows of other topics that it `reads`, to its own; None for a topic
            that only shows what others computed.
        reads: Tables of topics before it in the list that `compute` reads; others are not there for it.
        section: From everything that was found to its section, None where it has nothing to say; None for a topic whose
            rows are shown in the section of another.
        place: Where its section is on the page: the built-in ones are 30 (layers) to 230 (provenance).
        plugin: Name and version of the plugin that the topic is from; None for a built-in one. layersig sets it.
    """

    name: str
    tables: tuple[AnyTable, ...] = ()
    compute: Callable[[Evidence, Findings], Result] | None = None
    reads: tuple[AnyTable, ...] = ()
    section: Callable[[Material], Section | None] | None = None
    place: int = 205
    plugin: str | None = None

    @property
    def label(self) -> str:
        """For messages: `topic "task sizes" (layersig-sizes 1.2)`."""
        return f'topic "{self.name}" ({self.plugin or "built into layersig"})'
