"""What each stage and built-in component computes with, and its version, to be held against each other.

`python -m tests.golden.versions` accepts the present state. Do that after bumping the version of what changed its
results, or after a change that provably leaves every result as it was.

What a result depends on is found from the code: see `closure`. What no name leads to is listed in `LOADED_BY_FILE`, and
what a stage reaches but its result does not depend on in `BORDERS`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from layersig.plugin.manager import built_in
from layersig.stages.kinds import SPECS
from tests.golden.closure import Code, digest
from tests.golden.normal_form import Key

PACKAGE = Path(__file__).parents[2] / "layersig"
ACCEPTED = Path(__file__).with_name("versions.json")

BORDERS: Mapping[str, str] = {
    "layersig.errors": "a stage that fails leaves no result",
    "layersig.plugin": "components have versions of their own, which enter the fingerprint",
    "layersig.sources": "what is fetched is an input, and its digest enters the fingerprint",
}
"""Packages and modules that are not followed, each with the reason."""

LOADED_BY_FILE: Mapping[str, str] = {"layersig.sandbox.launch": "layersig.sandbox.standins"}
"""Modules that another one loads by the name of their file."""

CALLED_BY: Mapping[str, str] = {"scorer": "score", "policy": "select", "method": "tune", "objective": "tune"}
"""The stage that calls a kind of component. What both reach counts for the stage, whose version enters the same
fingerprints."""


def watched(code: Code) -> dict[str, frozenset[Key]]:
    """All that the result of every stage and built-in component depends on."""
    found = {f"stage {kind}": dependencies(code, f"{s.__module__}:{s.__name__}") for kind, s in SPECS.items()}
    for each in built_in():
        if each.kind != "source":
            name, stage = f"{each.kind} {each.name}", f"stage {CALLED_BY[each.kind]}"
            found[name] = dependencies(code, str(each.implementation)) - found[stage]
    return found


def dependencies(code: Code, root: str) -> frozenset[Key]:
    """The definitions that the result of a component or of a kind of stage depends on, its own among them."""
    found = code.closure([root], BORDERS)
    modules = {module for module, _ in found}
    more = [f"{loaded}:*" for loader, loaded in LOADED_BY_FILE.items() if loader in modules]
    return found | code.closure(more, BORDERS)


def present(code: Code, reached: Mapping[str, frozenset[Key]]) -> dict[str, dict[str, Any]]:
    """Version and digest of every stage kind and built-in component."""
    known = built_in()
    versions = {f"stage {kind}": spec.version for kind, spec in SPECS.items()}
    versions |= {f"{each.kind} {each.name}": known.get(each.kind, each.name).version for each in known}
    hashes = code.hashes(frozenset[Key]().union(*reached.values()))
    return {
        name: {"version": versions[name], "code": digest(hashes[key] for key in keys)} for name, keys in reached.items()
    }


if __name__ == "__main__":
    here = Code.read(PACKAGE)
    ACCEPTED.write_text(json.dumps(present(here, watched(here)), indent=1) + "\n", encoding="utf-8")
