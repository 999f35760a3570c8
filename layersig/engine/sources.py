"""Brings what a recipe names onto this machine, before any stage runs, and pins it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from layersig.errors import LayersigError, MachineError, UserError
from layersig.pipeline import Graph, SourceRef
from layersig.pipeline import stages as graph_of
from layersig.recipe.load import LoadedRecipe
from layersig.sources.rankings import resolve_rankings
from layersig.sources.resolve import LOADERS, resolve, resolve_with_fallback
from layersig.sources.source import Request, Source, SourceLoader
from layersig.store.cache import cache_root


@dataclass(frozen=True)
class Pinned:
    """What an earlier start of the same run resolved a source to: a continued run keeps it.

    Attributes:
        resolved: As `layersig.sources.source.Source` has it.
        label: Its name in records.
        fallback: Whether it was the fallback.
        notes: What was told about it.
    """

    resolved: str
    label: str
    fallback: bool
    notes: tuple[str, ...]


def resolve_all(
    graph: Graph,
    loaded: LoadedRecipe,
    pinned: Mapping[str, Pinned],
    *,
    offline: bool,
    strict: bool,
    warn: Callable[[str], None],
) -> dict[str, Source]:
    """Every source of the graph, by node.

    Raises:
        UserError: What is named cannot be used.
        MachineError: It cannot be reached, nor can its fallback; or `strict` forbids the fallback.
    """
    return {
        node: _resolve(source, loaded, pinned.get(node), offline=offline, strict=strict, warn=warn)
        for node, source in graph.sources.items()
    }


def resolve_here(
    graph: Graph, loaded: LoadedRecipe, warn: Callable[[str], None]
) -> tuple[dict[str, Source], dict[str, str]]:
    """Every source of the graph that lies on this machine, by node, and why the others cannot be had; fetches nothing.

    Raises:
        UserError: What is named cannot be used.
    """
    found: dict[str, Source] = {}
    missing: dict[str, str] = {}
    for node, source in graph.sources.items():
        try:
            found[node] = _resolve(source, loaded, None, offline=True, strict=False, warn=warn)
        except MachineError as error:
            missing[node] = str(error)
    return found, missing


def fetch_all(loaded: LoadedRecipe, warn: Callable[[str], None]) -> list[dict[str, Any]]:
    """Fetch every source of a recipe and its fallback; what cannot be had is told, and is an error only without one.

    Raises:
        LayersigError: A source has no fallback, or neither can be had.
    """
    graph = graph_of(loaded.recipe, loaded.components)
    rows = []
    for node, source in graph.sources.items():
        found: list[Source] = []
        errors: list[LayersigError] = []
        for spec in (source.spec, source.fallback):
            if spec is None:
                continue
            try:
                single = replace(source, spec=spec, fallback=None)
                found.append(_resolve(single, loaded, None, offline=False, strict=False, warn=warn))
                rows.append({"node": node, "spec": spec, "path": str(found[-1].path), "error": None})
            except LayersigError as error:
                # There may be no fallback for everything that has a fallback.
                if isinstance(error, UserError) and spec == source.spec:
                    raise
                errors.append(error)
                rows.append({"node": node, "spec": spec, "path": None, "error": str(error)})
        if not found:
            raise errors[0]
    return rows


def _resolve(
    source: SourceRef,
    loaded: LoadedRecipe,
    pinned: Pinned | None,
    *,
    offline: bool,
    strict: bool,
    warn: Callable[[str], None],
) -> Source:
    request = Request(
        base_dir=loaded.base_dir, cache=cache_root(), offline=offline, split=source.split or "train", warn=warn
    )
    spec, fallback = source.spec, source.fallback
    loaders = _loaders(loaded)

    def find(wanted: str, name: str | None = None) -> Source:
        if source.kind == "task":
            from layersig.evaluating.tasks import resolve_task

            return resolve_task(wanted, None, request, data=source.rows)
        if source.kind == "rankings":
            return resolve_rankings(wanted, source.name, request)
        return _checked(resolve(wanted, source.kind, request, name=name, loaders=loaders))

    if pinned is not None and not pinned.fallback:
        # The revision of the first start stays, even when the hub has a newer one now. A path stays as it was written:
        # where it led may be elsewhere since the study was moved.
        moves = source.kind == "task" or pinned.resolved.startswith(("path:", "file:"))
        return replace(find(spec if moves else pinned.resolved, source.name), spec=spec)
    if pinned is not None:
        if strict:
            raise MachineError(
                f"{spec}: this run was started on its fallback {fallback}, which --strict forbids; "
                "run into another --runs folder"
            )
        assert fallback is not None, "the same recipe declared it when the run was started"
        return replace(find(fallback), spec=spec, label=pinned.label, fallback=True, notes=pinned.notes)
    if source.kind == "task":
        from layersig.evaluating.tasks import resolve_task

        return resolve_task(spec, fallback, request, strict=strict, data=source.rows)
    if source.kind == "rankings":
        return find(spec, source.name)
    return _checked(
        resolve_with_fallback(spec, fallback, source.kind, request, name=source.name, strict=strict, loaders=loaders)
    )


def _checked(found: Source) -> Source:
    """Questions are read only after everything is trained; what is wrong with them is told before."""
    if found.kind == "questions":
        from layersig.data.questions import read_questions

        read_questions(found.path)
    return found


def _loaders(loaded: LoadedRecipe) -> dict[str, SourceLoader]:
    """Loaders by scheme: those that layersig brings, and those of plugins."""
    brought = {name: loaded.components.get("source", name).create() for name in loaded.components.names("source")}
    return {**LOADERS, **brought}
