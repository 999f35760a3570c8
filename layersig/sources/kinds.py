"""Every kind of thing that a recipe names from outside: how it is resolved, pinned and checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from layersig.sources.source import NamedSource, Request, Resolver, Source, SourceLoader


@dataclass(frozen=True, slots=True)
class SourceKind:
    """What sets one kind of source apart from the others.

    Functions are given as `"module:name"` and loaded when they are called.

    Attributes:
        resolver: A `Resolver`, which also decides whether the fallback stands in.
        check: Called with the path of what was found; raises `UserError` where a stage could not read it. None where
            the resolver checks enough.
        pins: Whether `Source.resolved` can be resolved itself, so that a continued run keeps what it began with.
    """

    resolver: str = "layersig.sources.resolve:resolve_wanted"
    check: str | None = None
    pins: bool = True

    def resolve(
        self, wanted: NamedSource, request: Request, *, strict: bool, loaders: Mapping[str, SourceLoader]
    ) -> Source:
        """Fetch what is wanted if necessary, check it, and return where it is.

        Args:
            wanted: What the recipe names.
            request: How it may be fetched.
            strict: Forbid the fallback.
            loaders: Loaders by scheme.

        Raises:
            UserError: What is named cannot be used.
            MachineError: It cannot be reached, nor can its fallback; or `strict` forbids the fallback.
        """
        resolver: Resolver = _load(self.resolver)
        found = resolver(wanted, request, strict=strict, loaders=loaders)
        if self.check is not None:
            check: Callable[[Path], object] = _load(self.check)
            check(found.path)
        return found


def _load(function: str) -> Any:
    module, _, name = function.partition(":")
    return getattr(import_module(module), name)


SOURCE_KINDS: Mapping[str, SourceKind] = {
    "model": SourceKind(),
    "data": SourceKind(),
    "task": SourceKind(resolver="layersig.evaluating.tasks:resolve_wanted_task", pins=False),
    "rankings": SourceKind(resolver="layersig.sources.rankings:resolve_rankings"),
    "update": SourceKind(),
    # Questions are read only after everything is trained; what is wrong with them is reported before.
    "questions": SourceKind(check="layersig.data.questions:read_questions"),
}
"""The kinds by name."""
