"""The known components by kind and name; an implementation is imported when it is first used."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from importlib import import_module
from typing import NamedTuple

from layersig.errors import UserError
from layersig.plugin.components import Component, Kind, declared
from layersig.plugin.guard import cause, raises_plugin_errors
from layersig.plugin.identity import source_digest


class Plugin(NamedTuple):
    """An installed plugin.

    Attributes:
        distribution: Its name.
        version: Version of the distribution.
        api: The versions of the plugin API that it declares to work with; None if it declares none.
        problem: Why it is not loaded; None if it is.
    """

    distribution: str
    version: str
    api: str | None = None
    problem: str | None = None

    @property
    def label(self) -> str:
        """For messages: `layersig-fisher 0.2.0`."""
        return f"{self.distribution} {self.version}"


@dataclass(frozen=True)
class Components:
    """The components that recipes can name, by (kind, name).

    Attributes:
        found: The components in the order found: built-in, installed, files.
        problems: One sentence for each plugin that could not be loaded.
        plugins: The installed plugins, loaded or not.
    """

    found: tuple[Component, ...]
    problems: tuple[str, ...] = ()
    plugins: tuple[Plugin, ...] = ()
    _loaded: dict[tuple[str, str], Component] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __iter__(self) -> Iterator[Component]:
        return iter(self.found)

    def names(self, kind: Kind) -> tuple[str, ...]:
        """Names of one kind, sorted. Imports nothing."""
        return tuple(sorted({component.name for component in self.found if component.kind == kind}))

    def get(self, kind: Kind, name: str) -> Component:
        """The component, loaded.

        Raises:
            UserError: The name is unknown, two plugins claim it, or its module cannot be used.
        """
        if (kind, name) not in self._loaded:
            self._loaded[kind, name] = _load(self._find(kind, name))
        return self._loaded[kind, name]

    def _find(self, kind: Kind, name: str) -> Component:
        claims = [component for component in self.found if (component.kind, component.name) == (kind, name)]
        if len(claims) > 1:
            origins = " and ".join(str(component.origin) for component in claims)
            raise UserError(
                f'the {kind} "{name}" is offered twice, by {origins}; rename one, or uninstall one of the plugins'
            )
        if not claims:
            raise UserError(f'there is no {kind} "{name}"{suggestion(name, self.names(kind))}')
        return claims[0]


def suggestion(name: str, known: Iterable[str]) -> str:
    """A hint for an unknown name: `; did you mean "top"? Allowed: freeze, top`, each name once."""
    known = list(dict.fromkeys(known))
    lowered = {each.lower(): each for each in known}
    close = get_close_matches(name, known, n=1)
    close = close or [lowered[each] for each in get_close_matches(name.lower(), lowered, n=1)]
    return (f'; did you mean "{close[0]}"?' if close else ".") + f" Allowed: {', '.join(known) or 'nothing'}"


def _load(component: Component) -> Component:
    if not isinstance(component.implementation, str):
        return component
    where = component.implementation
    module, _, attribute = where.partition(":")
    source = component.origin.source
    if source is not None and module not in sys.modules and source_digest(source) != component.origin.digest:
        raise UserError(
            f"{component.label}: {source} was edited after this process had loaded a part of it; start a new process"
        )
    try:
        target = getattr(import_module(module), attribute)
    except Exception as error:
        if raises_plugin_errors():
            raise
        raise UserError(f"{component.label} cannot be loaded from {where}: {cause(error, module)}") from error
    found = declared(target)
    if found is None or (found.kind, found.name) != (component.kind, component.name):
        raise UserError(f'{component.label}: {where} is not declared with @{component.kind}("{component.name}")')
    return replace(found, origin=component.origin)
