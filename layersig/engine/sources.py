"""Brings what a recipe names onto this machine, before any stage runs, and pins it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from layersig.errors import LayersigError, MachineError, UserError
from layersig.pipeline import Graph, SourceRef
from layersig.pipeline import stages as graph_of
from layersig.plugin.guard import blamed
from layersig.plugin.table import Components
from layersig.recipe.load import LoadedRecipe
from layersig.sources.kinds import SOURCE_KINDS, SourceKind
from layersig.sources.resolve import loaders_of
from layersig.sources.source import NamedSource, Request, Source
from layersig.store.cache import cache_root


@dataclass(frozen=True)
class PinnedSource:
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
    pinned: Mapping[str, PinnedSource],
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
    """Fetch every source of a recipe and its fallback.

    A source that cannot be reached is reported; it is an error only where it has no fallback.

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
    pinned: PinnedSource | None,
    *,
    offline: bool,
    strict: bool,
    warn: Callable[[str], None],
) -> Source:
    request = Request(
        base_dir=loaded.base_dir, cache=cache_root(), offline=offline, split=source.split or "train", warn=warn
    )
    kind = SOURCE_KINDS[source.kind]
    wanted = NamedSource(source.kind, source.name, source.spec, source.fallback, source.rows)

    def find(wanted: NamedSource) -> Source:
        return _found(kind, wanted, request, loaded.components, strict=strict)

    if pinned is None:
        return find(wanted)
    if not pinned.fallback:
        # The revision of the first start stays, even when the hub has a newer one now. A path stays as it was written:
        # where it led may be elsewhere since the study was moved.
        moves = not kind.pins or pinned.resolved.removeprefix("untrained:").startswith(("path:", "file:"))
        spec = source.spec if moves else pinned.resolved
        return replace(find(replace(wanted, spec=spec, fallback=None)), spec=source.spec)
    if strict:
        raise MachineError(
            f"{source.spec}: this run was started on its fallback {source.fallback}, which --strict forbids; "
            "run into another --runs folder"
        )
    assert source.fallback is not None, "the same recipe declared it when the run was started"
    found = find(replace(wanted, spec=source.fallback, fallback=None))
    return replace(found, spec=source.spec, label=pinned.label, fallback=True, notes=pinned.notes)


def _found(kind: SourceKind, wanted: NamedSource, request: Request, components: Components, *, strict: bool) -> Source:
    """What is wanted; an error in the code of a plugin names it."""
    try:
        loaders = loaders_of(components, wanted.spec, wanted.fallback)
        return kind.resolve(wanted, request, strict=strict, loaders=loaders)
    except LayersigError:
        raise
    except Exception as error:
        if (why := blamed(error, (each for each in components if each.kind == "source"))) is None:
            raise
        raise UserError(why) from error
