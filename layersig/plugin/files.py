"""Plugins that are single Python files, named by a recipe."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import replace
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from layersig.errors import UserError
from layersig.plugin.components import Component, Origin, declared
from layersig.plugin.guard import cause, raises_plugin_errors
from layersig.plugin.version import wanted_api


def from_file(path: Path) -> list[Component]:
    """The components that a Python file declares. The file is executed once per content.

    Raises:
        UserError: The file is missing, cannot be executed, declares nothing, or works with other versions of the API.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"plugin file {path} cannot be read: {error.strerror}") from error
    module = _execute(path, content)
    origin = Origin(path.name, source=path, digest=hashlib.sha256(content).hexdigest())
    found = [replace(component, origin=origin) for component in declared_in(module)]
    if not found:
        raise UserError(
            f"plugin file {path} declares nothing: decorate a function or class with @scorer, @policy or @method"
        )
    return found


def declared_in(module: object) -> list[Component]:
    """The decorated objects of a plugin's module, in order, without what it imports from layersig to derive from.

    An object under two names counts once.
    """
    values = {id(value): value for value in vars(module).values()}
    found = (declared(value) for value in values.values())
    return [each for each in found if each is not None and each.module.partition(".")[0] != "layersig"]


def _execute(path: Path, content: bytes) -> ModuleType:
    # Named by path and content, so that an edited file is executed again and pickled objects find their module.
    name = f"layersig_file_{hashlib.sha256(str(path.resolve()).encode() + content).hexdigest()[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UserError(f"plugin file {path} is not a Python file: its name must end in .py")
    module = module_from_spec(spec)
    sys.modules[name] = module
    try:
        exec(compile(content, str(path), "exec"), module.__dict__)
        wanted_api(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        if raises_plugin_errors():
            raise
        raise UserError(f"plugin file {path} cannot be executed: {cause(error, module.__name__)}") from error
    return module
