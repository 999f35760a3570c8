"""From a spec such as `hub:ID@REVISION` to a source on this machine, with or without a fallback."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from difflib import get_close_matches
from typing import cast

from layersig.errors import MachineError, UserError
from layersig.plugin.table import Components
from layersig.sources.embedded import EmbeddedSources
from layersig.sources.files import FileData, PathModel
from layersig.sources.hub import Hub
from layersig.sources.source import Kind, NamedSource, Request, Source, SourceLoader
from layersig.sources.untrained import SCHEME, Untrained

_FETCHED: dict[str, SourceLoader] = {"hub": Hub(), "path": PathModel(), "file": FileData(), "pypi": EmbeddedSources()}
LOADERS: Mapping[str, SourceLoader] = {**_FETCHED, SCHEME: Untrained(_FETCHED)}
"""The built-in loaders by scheme."""


def loaders_of(components: Components, *specs: str | None) -> dict[str, SourceLoader]:
    """The built-in loaders, and those of plugins whose schemes the specs have.

    Raises:
        UserError: The plugin of such a scheme cannot be loaded.
    """
    schemes = {spec.partition(":")[0] for spec in specs if spec is not None}
    offered = schemes & {*components.names("source")}
    return {**LOADERS, **{name: components.get("source", name).create() for name in sorted(offered)}}


def resolve(
    spec: str,
    kind: Kind,
    request: Request,
    *,
    name: str | None = None,
    loaders: Mapping[str, SourceLoader] = LOADERS,
) -> Source:
    """Fetch a source if necessary, check it, and return where it is.

    Args:
        spec: `SCHEME:REFERENCE`.
        kind: What is wanted.
        request: How it may be fetched.
        name: The source's name in the recipe, which becomes its label.
        loaders: Loaders by scheme; those of plugins go beside `LOADERS`.

    Raises:
        UserError: The spec is wrong, or what it names cannot be used.
        MachineError: It cannot be reached.
    """
    scheme, _, reference = spec.partition(":")
    known = sorted(each for each, loader in loaders.items() if kind in loader.kinds)
    if scheme not in known or not reference:
        close = get_close_matches(scheme, known, n=1)
        hint = f"; did you mean {close[0]}:?" if close and close[0] != scheme else "."
        forms = ", ".join(f"{each}:..." for each in known)
        raise UserError(f"{spec!r} names no {kind} source{hint} Allowed: {forms}")
    source = loaders[scheme].load(kind, reference, request)
    return replace(source, spec=spec, label=name or source.label)


def resolve_with_fallback(
    spec: str,
    fallback: str | None,
    kind: Kind,
    request: Request,
    *,
    name: str | None = None,
    strict: bool = False,
    loaders: Mapping[str, SourceLoader] = LOADERS,
) -> Source:
    """As `resolve`, but use the fallback if, and only if, the source cannot be reached.

    The result then names both: `label` is `norobots>alpaca-gpt4-sample`, `resolved` the source used, `fallback` is set,
    and the first note gives the reason.

    Args:
        spec: What is wanted.
        fallback: What may stand in; None for nothing.
        kind: What it is.
        request: How it may be fetched.
        name: The source's name in the recipe.
        strict: Forbid the fallback.
        loaders: Loaders by scheme.

    Raises:
        UserError: A spec is wrong, or what it names cannot be used.
        MachineError: Neither can be reached, or the fallback is forbidden.
    """
    try:
        return resolve(spec, kind, request, name=name, loaders=loaders)
    except MachineError as error:
        if fallback is None:
            raise
        if strict:
            raise MachineError(f"{error}; --strict forbids its fallback {fallback}") from error
        try:
            source = resolve(fallback, kind, request, loaders=loaders)
        except MachineError as second:
            raise MachineError(f"{error}; its fallback cannot be reached either: {second}") from second
        first = name or spec.rpartition("/")[2].partition("@")[0].rpartition(":")[2]
        why = f"{first} ({spec}) was not used: {error}. {source.label} is used instead"
        return replace(source, spec=spec, label=f"{first}>{source.label}", fallback=True, notes=(why, *source.notes))


def resolve_wanted(
    wanted: NamedSource, request: Request, *, strict: bool, loaders: Mapping[str, SourceLoader]
) -> Source:
    """The `Resolver` of everything that a loader knows by its scheme: `resolve_with_fallback`."""
    kind = cast(Kind, wanted.kind)  # `resolve` refuses what no loader has
    return resolve_with_fallback(
        wanted.spec, wanted.fallback, kind, request, name=wanted.name, strict=strict, loaders=loaders
    )
