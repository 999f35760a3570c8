"""The check for authors passes good scorers and tells what a bad one does wrong."""

from __future__ import annotations

import math

import pytest
import torch
from pydantic import ConfigDict, ValidationError

from layersig import Params, scorer
from layersig.errors import UserError
from layersig.testing import TinyStudy, check_scorer


@scorer("good", needs={"model", "checkpoints"}, version=1)
def good(context, *, power: float = 1.0):
    """Growth of the update between milestones."""
    half, whole = context.checkpoints.values()
    size = {name: whole.norm(name) - half.norm(name) for name in whole.layers}
    totals = dict.fromkeys(context.layers, 0.0)
    for layer, unit in context.unit_of.items():
        totals[unit] += size[layer] ** power
    return totals


def test_a_good_scorer_passes():
    check_scorer(good, {"power": 2.0})


def test_the_study_offers_what_references_need(tmp_path):
    study = TinyStudy(tmp_path, dtype="float64")
    ranking = study.ranking(good)
    expected = {name: study.update.norm(name) / 2 for name in study.layers.names}
    assert ranking.scores == pytest.approx(expected)
    assert len(study.layers) == 14
    assert len(study.examples) == 12


def bad(needs=(), **traits):
    """A decorator for a scorer of one mistake."""
    return lambda function: scorer("bad", needs=needs, **traits)(function)


def zeros(context):
    return dict.fromkeys(context.layers, 0.0)


@bad()
def misses_a_layer(context):
    return dict.fromkeys(context.layers[1:], 0.0)


@bad()
def is_not_finite(context):
    return dict.fromkeys(context.layers, math.nan)


@bad()
def uses_what_it_did_not_ask_for(context):
    return zeros(context) if context.examples else {}


@bad()
def draws_from_the_global_generator(context):
    return {name: torch.rand(()).item() for name in context.layers}


@bad()
def draws_without_declaring_it(context):
    return {name: context.stream("x").random() for name in context.layers}


@bad({"model"})
def changes_a_weight(context):
    context.weight(context.layers[0]).mul_(1.0001)
    return zeros(context)


@bad({"model"})
def leaves_a_hook(context):
    context.model.get_submodule("model.layers.0").register_forward_hook(lambda *_: None)
    return zeros(context)


@bad({"model"})
def leaves_a_gradient_behind(context):
    parameter = next(context.model.parameters())
    parameter.grad = torch.zeros_like(parameter)
    return zeros(context)


@bad({"model"})
def leaves_train_mode(context):
    context.model.train()
    return zeros(context)


@bad({"update"})
def changes_the_update(context):
    context.update.delta(context.layers[0]).b.add_(1.0)
    return zeros(context)


@pytest.mark.parametrize(
    ("target", "error", "words"),
    [
        (misses_a_layer, UserError, "gave no score for 1 of 14 layers"),
        (is_not_finite, UserError, "every score must be finite"),
        (uses_what_it_did_not_ask_for, UserError, "add 'data' to its `needs`"),
        (draws_from_the_global_generator, AssertionError, "two rankings for one seed"),
        (draws_without_declaring_it, AssertionError, "declare it with `seeded=True`"),
        (changes_a_weight, AssertionError, r"changed the weight model\.layers\.0\.self_attn\.q_proj\.weight"),
        (leaves_a_hook, AssertionError, r"changed hooks or mode of model\.layers\.0 "),
        (leaves_a_gradient_behind, AssertionError, "changed the gradient of"),
        (leaves_train_mode, AssertionError, "changed hooks or mode of the model"),
        (changes_the_update, AssertionError, r"changed the update of model\.layers\.0\.self_attn\.q_proj"),
        (zeros, AssertionError, "not decorated with @scorer"),
    ],
)
def test_a_broken_rule_is_told(target, error, words):
    with pytest.raises(error, match=words):
        check_scorer(target, units=["module"])


def test_params_must_be_valid_and_strict():
    with pytest.raises(ValidationError):
        check_scorer(good, {"power": "two"})

    class Loose(Params):
        model_config = ConfigDict(extra="allow")

    @scorer("loose")
    class Scorer:
        Params = Loose

        def score(self, context):
            return zeros(context)

    with pytest.raises(AssertionError, match="takes unknown parameters"):
        check_scorer(Scorer)


def test_a_unit_of_the_scorers_own_is_tried_alone():
    seen = set()

    @bad(unit="block")
    def of_blocks(context):
        seen.add(context.layers)
        return zeros(context)

    check_scorer(of_blocks)
    assert seen == {("model.layers.0", "model.layers.1")}
