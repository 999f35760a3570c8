"""The version of the plugin API, and the range of versions that a plugin works with."""

from __future__ import annotations

from layersig.errors import UserError

API_VERSION = "1.0"
"""Version of what docs/plugins.md describes: the first number changes when plugins break, the second with additions."""

_DECLARED = "LAYERSIG_API"


def wanted_api(module: object) -> str | None:
    """The range of API versions that the module of a plugin declares, such as `>=1.0,<2`; None if it declares none.

    Raises:
        UserError: It is not a range, or this layersig has another version.
    """
    wanted = getattr(module, _DECLARED, None)
    if wanted is None:
        return None
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        fits = API_VERSION in SpecifierSet(wanted)
    except (InvalidSpecifier, AttributeError, TypeError) as error:
        raise UserError(f'{_DECLARED} must be a range of versions such as ">=1.0,<2"; got {wanted!r}') from error
    if not fits:
        raise UserError(
            f"it works with version {wanted} of the plugin API, and this layersig has {API_VERSION}; install another "
            "version of the plugin or of layersig"
        )
    return str(wanted)
