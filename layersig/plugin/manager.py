"""Finds components: built-in ones, those of installed distributions, and those in a recipe's own plugin files.

A broken installed plugin causes a warning. A broken file that a recipe names is an error.

Environment:
    LAYERSIG_PLUGINS: Distributions whose plugins load, separated by commas; empty for none. Absent: all.
    LAYERSIG_RAISE_PLUGIN_ERRORS: `1` raises a plugin's original error, with its traceback.
    LAYERSIG_TRACE_PLUGINS: `1` shows every call of a plugin on stderr.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from importlib.metadata import Distribution, EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, cast

import pluggy

from layersig.errors import UserError
from layersig.plugin import builtin, hookspecs
from layersig.plugin.components import Component, Origin
from layersig.plugin.files import declared_in, from_file
from layersig.plugin.guard import cause, raises_plugin_errors
from layersig.plugin.identity import source_digest
from layersig.plugin.table import Components, Plugin
from layersig.plugin.trace import traced
from layersig.plugin.tracking import OfferedTracker
from layersig.plugin.version import wanted_api

_log = logging.getLogger(__name__)
_OTHER_HOOKS = ("layersig_topics", "layersig_trackers")


class OfferedTopic(NamedTuple):
    """Where a topic of the report is, and who offers it.

    Attributes:
        where: `module:attribute`.
        plugin: Name and version of the distribution.
    """

    where: str
    plugin: str


def with_files(files: Sequence[Path]) -> Components:
    """Built-in and installed components, and those that plugin files declare.

    Call this before unpickling objects of such a file in another process.

    Raises:
        UserError: A file is missing, cannot be executed, or declares nothing.
    """
    known = installed()
    of_files = (each for path in dict.fromkeys(files) for each in from_file(path))
    return replace(known, found=(*known, *of_files))


def built_in() -> Components:
    """The built-in components, without those of installed plugins."""
    return Components(tuple(_offered(_manager(), builtin, hookspecs.PROJECT)))


@cache
def installed() -> Components:
    """Built-in and installed components, looked up once per process; each broken plugin is logged as one warning."""
    manager = _manager()
    found = _offered(manager, builtin, hookspecs.PROJECT)
    plugins = []
    absent = _wanted() or set()
    for distribution, entry in _entry_points():
        absent.discard(_normal(distribution.name or ""))
        plugin = Plugin(str(distribution.name), distribution.version)
        try:
            module, plugin = _imported(entry, plugin)
            offered = _offered(manager, module, entry.name, plugin.label)
            if not offered and not any(_called(manager, module, hook, plugin.label) for hook in _OTHER_HOOKS):
                raise UserError(
                    "it offers no component, topic or tracker: its module has none of the hooks nor decorated objects"
                )
            source = _source(distribution, entry)
            digest = None if source is None else source_digest(source)
            origin = Origin(plugin.label, distribution.name, distribution.version, source, digest)
            found += [replace(component, origin=origin) for component in offered]
        except (Exception, SystemExit) as error:
            if raises_plugin_errors():
                raise
            problem = f'plugin "{entry.name}" of {plugin.label} is not loaded: {cause(error, entry.module)}'
            plugin = plugin._replace(problem=problem)
        plugins.append(plugin)
    problems = [plugin.problem for plugin in plugins if plugin.problem is not None]
    problems += [f"LAYERSIG_PLUGINS names {name}, which is not installed or has no plugin" for name in sorted(absent)]
    for problem in problems:
        _log.warning("%s", problem)
    return Components(tuple(found), tuple(problems), tuple(plugins))


def offered_topics() -> Iterator[OfferedTopic]:
    """The topics of the report that installed plugins offer; plugins that break are `installed`'s to report."""
    for label, found in _offers("layersig_topics"):
        yield from (OfferedTopic(str(where), label) for where in found)


def offered_trackers() -> Iterator[OfferedTracker]:
    """The trackers that installed plugins offer; plugins that break are `installed`'s to report."""
    for label, found in _offers("layersig_trackers"):
        yield from (OfferedTracker(str(name), str(where), label) for name, where in dict(found).items())


def _offers(hook: str) -> Iterator[tuple[str, Any]]:
    """What every installed plugin gives for a hook, with its name and version."""
    manager = _manager()
    for distribution, entry in _entry_points():
        try:
            module, plugin = _imported(entry, Plugin(str(distribution.name), distribution.version))
            manager.register(module, entry.name)
            found = _called(manager, module, hook, plugin.label)
        except (Exception, SystemExit):
            if raises_plugin_errors():
                raise
            continue
        yield plugin.label, found


def _imported(entry: EntryPoint, plugin: Plugin) -> tuple[Any, Plugin]:
    """The module of a plugin, and the plugin with the API versions that it declares.

    Raises:
        UserError: It works with other versions.
    """
    module = traced(f"{plugin.label}: import {entry.value}", entry.load)
    return module, plugin._replace(api=wanted_api(module))


def _called(manager: pluggy.PluginManager, module: Any, hook: str, label: str) -> Any:
    """What one plugin gives for a hook; nothing where it does not implement it."""
    hooks = [each for each in getattr(manager.hook, hook).get_hookimpls() if each.plugin is module]
    return traced(f"{label}: {hook}", hooks[0].function) if hooks else ()


def _manager() -> pluggy.PluginManager:
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    return manager


def _offered(manager: pluggy.PluginManager, module: Any, name: str, label: str | None = None) -> list[Component]:
    manager.register(module, name)
    hooks = [each for each in manager.hook.layersig_components.get_hookimpls() if each.plugin is module]
    if not hooks:
        return declared_in(module)
    # Called one plugin at a time, so that an error in one hook does not affect the others.
    hook = hooks[0].function
    given = hook() if label is None else traced(f"{label}: layersig_components", hook)
    components = list(cast("Iterable[Any]", given))
    for component in components:
        if not isinstance(component, Component):
            raise UserError(f"layersig_components must return Component objects, got {type(component).__name__}")
    return components


def _entry_points() -> Iterator[tuple[Distribution, EntryPoint]]:
    wanted = _wanted()
    if wanted == set():
        return
    for entry in sorted(entry_points(group=hookspecs.PROJECT)):
        if entry.dist is not None and (wanted is None or _normal(entry.dist.name or "") in wanted):
            yield entry.dist, entry


def _wanted() -> set[str] | None:
    """Distributions that LAYERSIG_PLUGINS allows; None for all."""
    names = os.environ.get("LAYERSIG_PLUGINS")
    return None if names is None else {_normal(name) for name in names.split(",") if name.strip()}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name.strip()).lower()


def _source(distribution: Distribution, entry: EntryPoint) -> Path | None:
    """Package folder or module file of an editable installation; None for a released one."""
    spec = find_spec(entry.module.partition(".")[0]) if _editable(distribution) else None
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin)
    return path.parent if path.name == "__init__.py" else path


def _editable(distribution: Distribution) -> bool:
    text = distribution.read_text("direct_url.json")
    return bool(text and json.loads(text).get("dir_info", {}).get("editable"))
