"""Sweeps: arms written by hand that form one, and contrasts of arms that vary."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from layersig.plugin.manager import built_in
from layersig.recipe.json_schema import json_schema
from tests.recipe.swept import DATA, HEAD, ILA, SCORERS, faults, loaded

SWEEPS = '[[sweeps]]\nname = "mine"\nquantity = "share"\nentries = ["x", "y"]\nvalues = [0.1, 0.2]\n'
BY_HAND = "".join(
    f'[[arms]]\nname = "{name}"\nscorer = "ila"\nselect = {{ kind = "top", fraction = {x} }}\n'
    for name, x in (("x", 0.1), ("y", 0.2))
)


def test_arms_written_by_hand_may_form_a_sweep(tmp_path: Path) -> None:
    found = loaded(tmp_path, DATA, SCORERS, BY_HAND, SWEEPS)
    assert [(sweep.name, sweep.entries) for sweep in found.recipe.sweeps] == [("mine", ("x", "y"))]
    assert found.recipe.analyze.primary == ("x", "y")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('["x", "y"]', '["x", "z"]', 'sweeps.0.entries.1: there is no [[arms]] named "z". Allowed: x, y'),
        ('["x", "y"]', '["x", "x"]', 'sweeps.0.entries.1: "x" is given twice; remove one'),
        ("[0.1, 0.2]", "[0.2, 0.1]", "sweeps.0: `values` must ascend"),
        ("[0.1, 0.2]", "[0.1, 0.2, 0.3]", "sweeps.0: 2 `entries` need as many `values`; got 3"),
        ('["x", "y"]', '["x"]', "sweeps.0.entries: must have at least 2 entries"),
        ("quantity", 'of = "data"\nquantity', 'sweeps.0.entries.0: there is no [[data]] named "x"'),
    ],
)
def test_faulty_sweeps(tmp_path: Path, old: str, new: str, message: str) -> None:
    told = faults(tmp_path, DATA, SCORERS, BY_HAND, SWEEPS.replace(old, new))
    assert any(message in each for each in told), told


def test_editors_accept_what_loads(tmp_path: Path) -> None:
    schema = jsonschema.Draft202012Validator(json_schema(built_in()))

    def wrong(*parts: str) -> list[Any]:
        return list(schema.iter_errors(tomllib.loads("\n".join((HEAD, *parts)))))

    assert wrong(DATA + "grid.limit = [1, 2]", SCORERS, ILA, SWEEPS) == []
    assert wrong(DATA, SCORERS, ILA.replace("grid", "# grid"))
    assert wrong(DATA, SCORERS, ILA.replace('kind = "top"', 'kind = "topp"'))
    greedy = '[scorers.greedy]\nkind = "greedy"\ntasks = ["hellaswag"]\n'
    assert wrong(DATA, greedy)
    assert wrong(DATA, greedy + "grid.remove = [1, 2]\n") == []


MINE = '[[arms]]\nname = "mine"\nscorer = "chance"\nselect = { kind = "top" }\ngrid.select.fraction = [0.3, 0.05]\n'


def test_a_contrast_of_swept_arms_is_one_at_every_value_that_both_have(tmp_path: Path) -> None:
    contrasts = '[analyze]\ncontrols = false\ncontrasts = [["mine", "ila"], ["ila", "base"]]\n'
    found = loaded(tmp_path, DATA, SCORERS, ILA, MINE, contrasts)
    assert found.recipe.analyze.contrasts == (
        ("mine-0.3", "ila-0.3"),
        ("mine-0.05", "ila-0.05"),
        ("ila-0.3", "base"),
        ("ila-0.05", "base"),
    )


def test_a_faulty_contrast_of_swept_arms_is_told_once_where_it_is_written(tmp_path: Path) -> None:
    contrasts = '[analyze]\ncontrasts = [["mine", "illa"]]\n'
    (fault,) = faults(tmp_path, DATA, SCORERS, ILA, MINE, contrasts)
    assert "analyze.contrasts.0.1" in fault
    assert 'there is no arm "illa"' in fault
