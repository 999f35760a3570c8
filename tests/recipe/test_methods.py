"""Tuning methods in recipes: unknown ones, their parameters, and what they do not go with."""

from __future__ import annotations

import pytest

from layersig.errors import UserError
from layersig.recipe.load import load
from tests.recipe.example import EXAMPLE


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ('method = "dorra"', 'train.method: there is no method "dorra"; did you mean "dora"?'),
        ('method = "pissa"\npissa = { iterations = 0 }', "train.pissa.iterations: must be at least 1; got 0"),
        ('method = "pissa"\npissa = { turns = 2 }', "train.pissa.turns: unknown key. Allowed: iterations"),
        ('method = "pissa"\npissa = 3', "train.pissa: must be a table"),
        ('method = "eva"\neva = { rho = 0.5 }', "train.eva.rho: must be at least 1; got 0.5"),
        ('method = "eva"', 'scorers.ila.kind: "eva" may leave layers without a rank'),
        ('method = "dora"\nuntil = "rank-stable"', 'train.until: "dora" has an update'),
    ],
)
def test_a_wrong_method_is_one_clear_message(tmp_path, keys, message):
    path = tmp_path / "recipe.toml"
    path.write_text(EXAMPLE.replace("rank = 8", f"rank = 8\n{keys}"))
    with pytest.raises(UserError) as raised:
        load(path)
    assert message in str(raised.value)


@pytest.mark.parametrize("method", ["dora", "pissa", "full"])
def test_4_bit_weights_are_refused_by_the_method(tmp_path, method):
    path = tmp_path / "recipe.toml"
    path.write_text(EXAMPLE.replace("rank = 8", f'method = "{method}"'))
    with pytest.raises(UserError, match=f'train.method: "{method}" .*take "lora", or no quantization'):
        load(path, ['model.quantization="nf4"'])


def test_parameters_are_written_out_and_count_for_their_method_alone(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text(EXAMPLE.replace("rank = 8", 'method = "pissa"\npissa = { iterations = 4 }'))
    loaded = load(path)
    known = loaded.components
    assert "iterations = 4" in loaded.resolved
    assert loaded.recipe.train.effective(known.get("method", "pissa"))["pissa"] == {"iterations": 4}
    assert "pissa" not in loaded.recipe.train.effective(known.get("method", "lora"))


def test_turns_by_scores_need_one_ranking_and_leave_a_fingerprint_only_where_asked_for(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text(EXAMPLE)
    loaded = load(path, ['arms.0.train={resample={weights="scores"}}'])
    lora = loaded.components.get("method", "lora")
    settings = [loaded.recipe.training_of(arm) for arm in loaded.recipe.arms]
    assert settings[0].effective(lora)["resample"] == {"blocks": 2, "every": 20, "weights": "scores"}
    assert settings[0].reads_ranking
    controls = [arm for arm in loaded.recipe.arms if arm.name.startswith("ila-30.")]
    assert controls
    for arm in controls:  # they have no scores to draw by
        assert not loaded.recipe.training_of(arm).reads_ranking
        assert loaded.recipe.training_of(arm).effective(lora)["resample"] == {"blocks": 2, "every": 20}
    with pytest.raises(UserError, match=r'resample.weights: weights = "scores" needs one ranking'):
        load(path, ['arms.2.train={resample={weights="scores"}}'])
