"""Objectives in recipes: unknown names, parameters, settings that pairs exclude, and parameters of the stages."""

from __future__ import annotations

import pytest

from layersig.errors import UserError
from layersig.pipeline import stages
from layersig.recipe.load import load
from tests.recipe.example import EXAMPLE

DPO = EXAMPLE.replace("rank = 8", 'rank = 8\nobjective = "dpo"\ndpo = { beta = 0.2 }')


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"dpo"', '"dop"', 'train.objective: there is no objective "dop"; did you mean "dpo"?'),
        ("beta = 0.2", "beta = 0.0", "train.dpo.beta: must be greater than 0; got 0"),
        ("beta = 0.2", "betta = 0.2", 'train.dpo.betta: unknown key; did you mean "beta"?'),
        ("beta = 0.2", "label_smoothing = 0.5", "train.dpo.label_smoothing: must be less than 0.5"),
        ("dpo = { beta = 0.2 }", "dpo = 3", 'train.dpo: must be a table: the parameters of objective = "dpo"'),
        (
            'source = "file:rows.jsonl"',
            'source = "file:rows.jsonl"\ngenerate = {}',
            'data.1.generate: generated responses have no rejected ones beside them, which "dpo" needs',
        ),
        (
            'kind = "random"',
            'kind = "gradient-norm"\nprompts = true',
            "scorers.chance.prompts: the loss of",
        ),
        (
            'action = "graft"',
            'action = "prune"\nrecover = {}',
            'arms.1.recover: a pruned model cannot recover by "dpo"; add objective = "sft"',
        ),
    ],
)
def test_a_wrong_objective_is_one_clear_message(tmp_path, old, new, message):
    path = tmp_path / "recipe.toml"
    assert old in DPO
    path.write_text(DPO.replace(old, new, 1))
    with pytest.raises(UserError) as raised:
        load(path)
    assert message in str(raised.value)


def test_pairs_are_asked_for_in_train_first(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text(EXAMPLE.replace("[arms.train]", '[arms.train]\nobjective = "simpo"'))
    with pytest.raises(UserError, match=r'arms.2.train.objective: "simpo" learns from pairs, and so must \[train\]'):
        load(path)


def specs(tmp_path, text):
    """Parameters and inputs of every stage, by id."""
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    loaded = load(path)
    return {each.id: each for each in stages(loaded.recipe, loaded.components).stages}


def test_supervised_tuning_is_told_nothing_new(tmp_path):
    for stage in specs(tmp_path, EXAMPLE).values():
        assert not {"objective", "pairs"} & stage.params.keys()
        assert "objective" not in stage.params.get("train", {})
        assert not any("untouched" in role for role in stage.inputs)


def test_every_stage_reads_the_reference_of_its_side(tmp_path):
    found = specs(
        tmp_path,
        DPO.replace(
            '[scorers.chance]\nkind = "random"',
            '[scorers.chance]\nkind = "ila"\nsteps = 8\ntrain = { objective = "sft" }',
        ),
    )
    assert found["data/chats"].params["pairs"] is True
    for name in ("reference/chats/seed-0", "tune/control/chats/seed-0", "score/ila/chats/seed-0/at-0.5"):
        assert found[name].inputs["untouched"].node == "untouched/chats/train"
        assert found[name].params["train"]["objective"] == "dpo"
        assert found[name].params["train"]["dpo"] == {"beta": 0.2, "label_smoothing": 0.0, "per_token": False}
    # A scorer with an objective of its own ranks by that, in its training and in its own passes.
    for name in ("reference/chance/chats/seed-0", "score/chance/chats/seed-0/at-1"):
        assert "untouched" not in found[name].inputs
        assert not {"objective", "dpo"} & found[name].params["train"].keys()
    assert found["evaluate/base"].inputs["untouched/local"].node == "untouched/local/heldout"
    assert found["evaluate/base"].params["objective"]["name"] == "dpo"


def test_without_a_reference_nothing_measures_the_untouched_model(tmp_path):
    found = specs(tmp_path, EXAMPLE.replace("rank = 8", 'rank = 8\nobjective = "simpo"'))
    assert not any("untouched" in name for name in found)
    assert found["tune/control/chats/seed-0"].params["train"]["simpo"]["gamma"] == 1.0
    assert found["evaluate/base"].params["objective"]["name"] == "simpo"
