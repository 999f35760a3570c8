from __future__ import annotations

import pytest

from layersig.testing import check_method
from layersig.training.methods import component_of

CASES = {
    "lora": ({}, {}),
    "rslora": ({}, {}),
    "dora": ({}, {}),
    "pissa": ({"iterations": 2}, {}),
    "adalora": ({"init_r": 4, "target_r": 2, "tinit": 1, "tfinal": 1}, {"learning_rate": 0.05}),
    "full": ({}, {}),
}


@pytest.mark.parametrize("name", CASES)
def test_it_keeps_the_rules(name):
    params, settings = CASES[name]
    check_method(component_of(name, ()), params, settings=settings)
