"""Find out which layers matter when a language model is fine-tuned, and prove it.

Names are imported when they are first used, so that `import layersig` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from layersig.api import Run as Run
    from layersig.api import list_runs as list_runs
    from layersig.api import open_run as open_run
    from layersig.api import run as run
    from layersig.plugin.components import Component as Component
    from layersig.plugin.components import Params as Params
    from layersig.plugin.decorators import method as method
    from layersig.plugin.decorators import objective as objective
    from layersig.plugin.decorators import policy as policy
    from layersig.plugin.decorators import scorer as scorer
    from layersig.plugin.decorators import source as source
    from layersig.plugin.hookspecs import hookimpl as hookimpl
    from layersig.recipe.load import load as load
    from layersig.recipe.schema import Recipe as Recipe

__version__ = "0.1.0"

_HOMES = {
    "Component": "layersig.plugin.components",
    "Params": "layersig.plugin.components",
    "Recipe": "layersig.recipe.schema",
    "Run": "layersig.api",
    "hookimpl": "layersig.plugin.hookspecs",
    "list_runs": "layersig.api",
    "load": "layersig.recipe.load",
    "method": "layersig.plugin.decorators",
    "objective": "layersig.plugin.decorators",
    "open_run": "layersig.api",
    "policy": "layersig.plugin.decorators",
    "run": "layersig.api",
    "scorer": "layersig.plugin.decorators",
    "source": "layersig.plugin.decorators",
}

__all__ = [
    "Component",
    "Params",
    "Recipe",
    "Run",
    "__version__",
    "hookimpl",
    "list_runs",
    "load",
    "method",
    "objective",
    "open_run",
    "policy",
    "run",
    "scorer",
    "source",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
