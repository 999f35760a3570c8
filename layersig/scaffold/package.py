"""The package of a new plugin: which templates, under which names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from layersig.errors import UserError
from layersig.plugin.components import KINDS, PluginKind
from layersig.plugin.version import API_VERSION
from layersig.store.files import write_atomic

_TEMPLATES = Path(__file__).parent / "templates"
_COMMON, _SUFFIX = "common", ".jinja"
_PREFIX = "layersig-"
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


def write_package(name: str, kind: PluginKind, parent: Path, *, layersig: str) -> Path:
    """Write the package of a plugin that offers one thing, with tests, a README, CI and, where it is one, a recipe.

    Args:
        name: What the plugin offers, such as `weight-size`; the package is `layersig-weight-size`.
        kind: What it is.
        parent: Folder for the package.
        layersig: The version of layersig that the package asks for at least.

    Returns:
        Folder of the package.

    Raises:
        UserError: The name cannot be one, or the folder is there already.
    """
    name = name.removeprefix(_PREFIX)
    if not _NAME.fullmatch(name):
        raise UserError(f"{name!r}: a name is lower-case letters, digits and single hyphens, such as weight-size")
    folder = parent / f"{_PREFIX}{name}"
    if folder.exists():
        raise UserError(f"{folder} exists already; take another name, or -o for another folder")
    if not parent.is_dir():
        raise UserError(f"there is no folder {parent}")
    values = {**_values(name, kind), "layersig": layersig}
    for path, text in _files(kind, values):
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(target, text)
    return folder


def _values(name: str, kind: PluginKind) -> dict[str, Any]:
    major = int(API_VERSION.partition(".")[0])
    module = f"{_PREFIX}{name}".replace("-", "_")
    return {
        "api": f">={API_VERSION},<{major + 1}",
        "cls": "".join(part.capitalize() for part in name.split("-")),
        "distribution": f"{_PREFIX}{name}",
        "kind": kind,
        "module": module,
        "name": name,
        "recipe": (_TEMPLATES / kind / f"recipe.toml{_SUFFIX}").is_file(),
        "table": f"{name.replace('-', '_')}_items",
        "versioned": kind in KINDS,
    }


def _files(kind: PluginKind, values: Mapping[str, Any]) -> Iterator[tuple[Path, str]]:
    """The files of a package, with their paths in it."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(loader=FileSystemLoader(_TEMPLATES), undefined=StrictUndefined, autoescape=False)
    for part in (_COMMON, kind):
        for template in sorted((_TEMPLATES / part).rglob(f"*{_SUFFIX}")):
            path = template.relative_to(_TEMPLATES / part)
            name = path.as_posix().removesuffix(_SUFFIX)
            name = name.replace("MODULE", values["module"]).replace("dot-", ".")
            text = environment.get_template(template.relative_to(_TEMPLATES).as_posix()).render(values)
            yield Path(name), f"{text.rstrip()}\n" if text else ""
