"""The objective of docs/plugins.md, in a plugin file: a recipe names it, and stages learn by it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from layersig.data.pairs import Pairs
from layersig.errors import UserError
from layersig.fast.runner import reading_runner
from layersig.objectives import learnt
from layersig.pipeline import stages
from layersig.plugin.decorators import objective
from layersig.recipe.load import load
from tests.objectives.world import log_probability, write_pairs, write_untouched
from tests.recipe.example import EXAMPLE
from tests.tiny import tiny_model

PAGE = Path(__file__).parents[2] / "docs" / "plugins.md"


@pytest.fixture
def loaded(tmp_path):
    """A recipe that learns by the objective of the page."""
    (code,) = re.findall(
        r"```python\n(.*?)```", PAGE.read_text().split("## An objective")[1].split("\n## ")[0], re.DOTALL
    )
    (tmp_path / "hinge.py").write_text(code)
    text = EXAMPLE.replace("plugins = []", 'plugins = ["./hinge.py"]')
    (tmp_path / "recipe.toml").write_text(
        text.replace("rank = 8", 'rank = 8\nobjective = "hinge"\nhinge = { beta = 0.5 }')
    )
    return load(tmp_path / "recipe.toml")


def test_stages_know_it_and_its_source(loaded):
    found = {each.id: each for each in stages(loaded.recipe, loaded.components).stages}
    for name in ("reference/chats/seed-0", "score/ila/chats/seed-0/at-0.5", "evaluate/base"):
        assert [each.name for each in found[name].components if each.kind == "objective"] == ["hinge"]
    assert found["reference/chats/seed-0"].params["train"]["hinge"] == {"beta": 0.5}


def test_it_is_learnt_by(loaded, tmp_path):
    before, model = tiny_model("llama"), tiny_model("llama", seed=1)
    inputs = {"data": write_pairs(tmp_path / "data", 4), "untouched": tmp_path / "untouched"}
    write_untouched(inputs["untouched"], inputs["data"], before)
    items = learnt(loaded.recipe.train, inputs, "train", [loaded.components.get("objective", "hinge")])
    assert isinstance(items, Pairs)
    with reading_runner(model, items, 4096) as runner:
        found = runner.losses([range(4)])[0]
    due = 0.0
    with torch.no_grad():
        for better, worse in zip(items.chosen, items.rejected, strict=True):
            ratios = [log_probability(model, each) - log_probability(before, each) for each in (better, worse)]
            due += max(0.0, 1 - 0.5 * float(ratios[0] - ratios[1])) / 4
    assert found == pytest.approx(due, rel=1e-5)


def test_a_malformed_objective_is_refused():
    with pytest.raises(UserError, match="unknown reads 'rows'; allowed are pairs, reference"):
        objective("bad", reads={"rows"})(type("Bad", (), {"examples": lambda self: None}))
    with pytest.raises(UserError, match="it must be a class with `examples"):
        objective("bad")(lambda context: None)
