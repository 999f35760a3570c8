"""The recipes that come with layersig, by name."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

from layersig.errors import UserError

SCHEMA_LINE = "#:schema ./recipe.schema.json\n"
"""The first line of a recipe that is written for a user: editors that know it complete keys from that file."""


def shipped() -> Path:
    """Folder of the bundled recipes: inside the package of an installation, else in the checkout."""
    package = Path(__file__).parent.parent
    installed = package / "_recipes"
    return installed if installed.exists() else package.parent / "recipes"


def names() -> list[str]:
    """The names of the bundled recipes, such as `quickstart` and `paper/table-05`."""
    return [path.relative_to(shipped()).with_suffix("").as_posix() for path in sorted(shipped().rglob("*.toml"))]


def bundled(name: str) -> Path | None:
    """The bundled recipe of a name, with or without `recipes/` and `.toml`; None if there is none."""
    path = shipped() / f"{name.removeprefix('recipes/').removesuffix('.toml')}.toml"
    return path if path.is_file() and path.resolve().is_relative_to(shipped().resolve()) else None


def recipe_path(value: str) -> Path:
    """The recipe file that a user means: a file of that name, else the bundled recipe, else the path as it is.

    Raises:
        UserError: What looks like a name is none of a bundled recipe.
    """
    if is_file(value):
        return Path(value)
    return bundled(value) or (Path(value) if value.endswith(".toml") or Path(value).exists() else find(value))


def is_file(value: str) -> bool:
    """Whether there is a file of that name, which may be too long for one, as overrides can be."""
    try:
        return Path(value).is_file()
    except OSError:
        return False


def find(name: str) -> Path:
    """The bundled recipe of a name such as `quickstart` or `paper/table-05`.

    Raises:
        UserError: There is none.
    """
    if (path := bundled(name)) is None:
        close = next(iter(get_close_matches(name, names(), n=1)), None)
        meant = f"did you mean {close!r}? " if close else ""
        raise UserError(f"no recipe {name!r}; {meant}`layersig recipes ls` lists them")
    return path
