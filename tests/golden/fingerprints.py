"""The fingerprints of the stages of bundled recipes, which name what caches hold.

`python -m tests.golden.fingerprints` accepts the present ones. Whoever does that gives up every cached output of a
stage whose fingerprint changed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from layersig.pipeline import Stage, stages
from layersig.plugin.identity import identity
from layersig.recipe.load import load_all
from layersig.store.fingerprint import fingerprint
from layersig.store.hashing import sha256_json
from layersig.streams import Streams

RECIPES = Path(__file__).parents[2] / "recipes"
ACCEPTED = Path(__file__).with_name("fingerprints.json")


def fingerprints(recipe: Path) -> Mapping[str, str]:
    """A hash of the fingerprints of all stages of a recipe by kind; sources stand in for their content."""
    found: dict[str, dict[str, str]] = {}
    for loaded in load_all(recipe):
        for stage in stages(loaded.recipe, loaded.components).stages:
            found.setdefault(stage.kind, {})[f"{loaded.recipe.name} {stage.id}"] = _fingerprint(stage)
    return {kind: sha256_json(each)[:16] for kind, each in found.items()}


def _fingerprint(stage: Stage) -> str:
    return fingerprint(
        kind=stage.kind,
        version=stage.spec.version,
        params=stage.params,
        inputs={role: f"{each.node}:{each.path}" for role, each in stage.inputs.items()},
        streams=Streams(0, stage.seed),
        numerics={} if stage.computes else None,
        components={f"{each.kind}/{each.name}": identity(each) for each in stage.components},
    )


if __name__ == "__main__":
    every = {path.relative_to(RECIPES).as_posix(): fingerprints(path) for path in sorted(RECIPES.rglob("*.toml"))}
    ACCEPTED.write_text(json.dumps(every, indent=1) + "\n", encoding="utf-8")
