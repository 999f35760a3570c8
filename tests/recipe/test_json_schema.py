from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from layersig.plugin.components import Component, Origin
from layersig.plugin.manager import built_in
from layersig.plugin.table import Components
from layersig.recipe.json_schema import json_schema
from layersig.recipe.reference import render

ROOT = Path(__file__).parents[2]


def test_parameters_stand_under_their_kind() -> None:
    tables = json_schema(built_in())["$defs"]
    scorers = {branch["properties"]["kind"]["const"]: branch for branch in tables["ScorerChoice"]["oneOf"]}
    assert sorted(scorers) == list(built_in().names("scorer"))
    assert scorers["ila"]["properties"]["optimizer"]["enum"] == ["adam", "sgd"]
    assert scorers["ila"]["properties"]["checkpoint"]["default"] == 1.0
    assert "steps" not in scorers["random"]["properties"]
    policies = {branch["properties"]["kind"]["const"]: branch for branch in tables["Choice"]["oneOf"]}
    assert policies["top"]["required"] == ["kind", "fraction"]
    assert all(branch["additionalProperties"] is False for branch in [*scorers.values(), *policies.values()])


def test_every_reference_leads_somewhere() -> None:
    schema = json_schema(built_in())
    text = json.dumps(schema)
    for part in text.split('"$ref": "#/$defs/')[1:]:
        assert part.partition('"')[0] in schema["$defs"]


def test_a_component_that_cannot_be_loaded_is_left_out() -> None:
    broken = Component("scorer", "broken", "no_such_module:Scorer", origin=Origin("nobody"))
    assert json_schema(Components((*built_in(), broken))) == json_schema(built_in())


def test_the_schema_is_the_same_in_every_process() -> None:
    code = "import json; from layersig.recipe.json_schema import *; from layersig.plugin.manager import built_in; "
    code += "print(json.dumps(json_schema(built_in())))"
    texts = {
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert texts == {json.dumps(json_schema(built_in())).encode() + b"\n"}


@pytest.mark.parametrize("page", ["docs/reference/recipe.md"])
def test_the_reference_page_is_current(page: str) -> None:
    assert (ROOT / page).read_text(encoding="utf-8") == render(), (
        f"renew it: python -m layersig.recipe.reference > {page}"
    )


def test_every_key_has_a_meaning_in_the_reference() -> None:
    rows = [line for line in render().splitlines() if line.startswith("| `")]
    assert len(rows) > 60
    assert [row for row in rows if row.rstrip("| ").endswith("|") or row.endswith("|  |")] == []
