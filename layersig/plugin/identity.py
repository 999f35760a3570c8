"""The identity of a component's code in a fingerprint."""

from __future__ import annotations

import hashlib
from pathlib import Path

from layersig.plugin.components import BUILT_IN, Component

Identity = dict[str, str | int]


def identity(component: Component) -> Identity:
    """The values that must be equal for a cached result of `component` to be reused.

    A released plugin is identified by its distribution and version, and by the `version` of the component. A single
    file or an editable installation is also identified by the sha256 of its source when it was loaded, since it changes
    without a release. A built-in component is identified by its `version` alone, like every stage of layersig: results
    stay valid in a new release that does not change the scorer.
    """
    origin = component.origin
    known: Identity = {"component": f"{component.kind}:{component.name}", "version": component.version}
    if origin == BUILT_IN:
        return known
    if origin.digest is not None:
        return {**known, "source": origin.digest}
    return {**known, "distribution": str(origin.distribution), "distribution_version": str(origin.version)}


def source_digest(source: Path) -> str:
    """Sha256 of a file, or of the names and contents of every Python file in a folder."""
    if source.is_file():
        return hashlib.sha256(source.read_bytes()).hexdigest()
    digest = hashlib.sha256()
    for path in sorted(source.rglob("*.py")):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(source).as_posix()}\n{len(content)}\n".encode() + content)
    return digest.hexdigest()
