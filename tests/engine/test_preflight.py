"""What is refused before the first stage of a study."""

from __future__ import annotations

import pytest

from layersig.engine.preflight import check_trainings
from layersig.errors import UserError
from layersig.pipeline import stages
from layersig.recipe.load import load
from layersig.training import footprint, optimizers
from tests.study import RECIPE, write_study

FULL = """\
[[arms]]
name = "full"
scorer = "ila"
select = { kind = "top", fraction = 0.5 }
train = { method = "full" }
"""


def _check(path):
    loaded = load(path, ())
    check_trainings(stages(loaded.recipe, loaded.components), path.parent / "model", loaded)


def test_a_training_that_cannot_fit_is_named_with_a_cure(tmp_path, monkeypatch):
    head, _, tail = RECIPE.partition("[evaluate]")
    path = write_study(tmp_path, recipe=f"{head}{FULL}\n[evaluate]{tail}")
    _check(path)
    needed = {}
    for room in (10**12, 300_000, 100_000):
        monkeypatch.setattr(footprint, "capacity", lambda device, room=room: float(room))
        try:
            _check(path)
        except UserError as error:
            needed[room] = str(error)
    assert list(needed) == [300_000, 100_000]
    assert needed[300_000].startswith("tune/full/chats/seed-0: the model takes ")
    assert "layersig plan RECIPE --cards" in needed[300_000]
    assert needed[100_000].startswith("reference/chats/seed-0: ")


def test_a_missing_package_is_named_before_anything_runs(tmp_path, monkeypatch):
    path = write_study(tmp_path, recipe=RECIPE.replace("[train]", '[train]\noptimizer = "adamw-8bit"', 1))
    _check(path)
    monkeypatch.setattr(optimizers, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="needs the package bitsandbytes"):
        _check(path)
