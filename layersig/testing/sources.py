"""The rules that every source must keep."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import get_args

from layersig.data.questions import read_questions
from layersig.data.rows import read_rows
from layersig.errors import LayersigError
from layersig.plugin.components import Component
from layersig.sources.files import check_model_folder, check_update_folder
from layersig.sources.source import Kind, Request, Source, SourceLoader
from layersig.testing.contents import component_of

_READERS: Mapping[Kind, Callable[[Path], object]] = {
    "model": check_model_folder,
    "data": read_rows,
    "questions": read_questions,
    "update": check_update_folder,
}


def check_source(
    target: object, kind: Kind, reference: str, *, base_dir: Path | None = None, split: str = "train"
) -> None:
    """Check with something that can be loaded that a source keeps the rules.

    What it loads can be read as what it is said to be, and has a digest of its content. Loading it again gives the
    same, from the cache and into an empty one; so does loading `resolved`, where that is of the same scheme. Without a
    network it comes from the cache. What is not there is a `UserError` or a `MachineError`.

    Args:
        target: A class decorated with `@source`.
        kind: What is loaded: one of its `kinds`.
        reference: What follows the scheme and its colon in a recipe.
        base_dir: Folder that relative paths start from; default: the working directory.
        split: Split of a data set.

    Raises:
        LayersigError: It cannot be loaded, or not read as what it is said to be.
        AssertionError: Any other rule is broken; the message says which.
    """
    component = component_of(target, "source")
    loader: SourceLoader = component.create()
    strange = set(loader.kinds) - set(get_args(Kind))
    assert not strange, f"{component.label}: unknown kinds {sorted(strange)}; allowed are {', '.join(get_args(Kind))}"
    assert kind in loader.kinds, f"{component.label} does not say that it loads a {kind}"
    with TemporaryDirectory() as folder:
        request = Request(base_dir or Path.cwd(), Path(folder) / "cache", split=split)
        found = loader.load(kind, reference, request)
        _check_found(component, kind, found)
        same = {
            "the second time": (reference, request),
            "without a network": (reference, replace(request, offline=True)),
            "into an empty cache": (reference, replace(request, cache=Path(folder) / "other")),
        }
        scheme, _, resolved = found.resolved.partition(":")
        if scheme == component.name:
            same["from what it was resolved to"] = (resolved, request)
        for when, (wanted, how) in same.items():
            digest = loader.load(kind, wanted, how).digest
            assert digest == found.digest, f"{component.label} loads something else {when}"
        _check_missing(component, loader, kind, request)


def _check_found(component: Component, kind: Kind, found: Source) -> None:
    assert isinstance(found, Source), f"{component.label} must return a Source, got {type(found).__name__}"
    assert found.kind == kind, f"{component.label} returned a {found.kind} when it was asked for a {kind}"
    assert found.path.exists(), f"{component.label}: there is no {found.path}"
    hexadecimal = len(found.digest) == 64 and set(found.digest) <= set("0123456789abcdef")
    assert hexadecimal, f"{component.label}: `digest` must be a sha256 in hexadecimal, got {found.digest!r}"
    if read := _READERS.get(kind):
        read(found.path)


def _check_missing(component: Component, loader: SourceLoader, kind: Kind, request: Request) -> None:
    try:
        loader.load(kind, "no-such-thing-here", request)
    except LayersigError:
        return
    except Exception as error:
        raise AssertionError(
            f"{component.label} raises {type(error).__name__} for what is not there; raise a UserError, or a "
            "MachineError where it cannot be reached"
        ) from error
    raise AssertionError(f"{component.label} loads what is not there")
