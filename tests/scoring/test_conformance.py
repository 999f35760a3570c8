"""Every built-in scorer keeps the rules that plugins are held to."""

from __future__ import annotations

import pytest

from layersig.plugin.manager import built_in
from layersig.testing import check_scorer

FEW = {
    "ablation": {"batches": 1},
    "greedy": {"batches": 1, "remove": 1},
    "ila": {"steps": 2},
    "path-attribution": {"batches": 1, "nodes": 2, "tolerance": 1.0},
    "leave-one-out": {"batches": 1},
    "add-one-in": {"batches": 1},
    "update-taylor": {"batches": 2},
    "gradient-norm": {"batches": 2},
    "projected-gradient": {"batches": 2},
    "whitened-gradient": {"batches": 2},
    "layer-contribution": {"steps": 2, "validation": 0.4},
    "adalora-sensitivity": {"batches": 3},
    "transfer": {"scorer": "places"},
}


@pytest.mark.parametrize("name", built_in().names("scorer"))
def test_it_keeps_the_rules_of_scorers(name):
    slow = name == "layer-contribution"  # a training for every unit
    units = ("block",) if slow else ("module", "block", "part")
    check_scorer(built_in().get("scorer", name).implementation, FEW.get(name), units=units)


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("gradient-norm", {"batches": 2, "relative": True}),
        ("gradient-norm", {"batches": 1, "reduce": "sum", "per_example": True, "prompts": True}),
        ("projected-gradient", {"batches": 2, "draws": 3}),
        ("ablation", {"batches": 1, "how": "mean"}),
        ("block-influence", {"mean": "examples"}),
        ("block-influence", {"tokens": "prompt"}),
        ("angular-distance", {"tokens": "all"}),
        ("weight-change", {"measure": "relative"}),
        ("weight-change", {"measure": "rms"}),
        ("spectral", {"measure": "effective-rank"}),
        ("spectral", {"measure": "spectral-norm"}),
    ],
)
def test_so_do_its_options(name, params):
    check_scorer(built_in().get("scorer", name).implementation, params)


def test_a_later_parameter_at_its_default_leaves_the_identity_of_results_alone():
    component = built_in().get("scorer", "gradient-norm")
    in_full = component.params().model_dump(mode="json")
    assert component.told(in_full) == {"batches": 16, "relative": False}
    assert component.told({**in_full, "reduce": "sum"}) == {"batches": 16, "relative": False, "reduce": "sum"}
