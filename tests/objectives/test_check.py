"""The check for authors of objectives passes good ones and tells what a bad one does wrong."""

from __future__ import annotations

import pytest
import torch

from layersig.data.examples import read_examples
from layersig.data.pairs import read_pairs
from layersig.objectives import PairObjective, objective_of
from layersig.objectives.base import Objective
from layersig.objectives.dpo import Dpo
from layersig.plugin.decorators import objective
from layersig.testing import check_objective


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("sft", {}),
        ("dpo", {"beta": 0.3, "label_smoothing": 0.1}),
        ("dpo", {"per_token": True}),
        ("simpo", {"gamma": 0.5}),
    ],
)
def test_the_built_in_objectives_pass(name, params):
    check_objective(objective_of(name, ()), params)


def bad(reads=("pairs",)):
    return objective("bad", reads=set(reads))


class Difference(PairObjective):
    """A margin without a scale, and a logistic loss."""

    def margin(self, params, pairs):
        return pairs.chosen - pairs.rejected

    def loss(self, params, margin):
        return torch.nn.functional.softplus(-margin)


@bad()
class Good(Difference):
    pass


@bad()
class FollowsTheRejected(Difference):
    def margin(self, params, pairs):
        return pairs.rejected - pairs.chosen


@bad()
class RewardsBoth(Difference):
    def margin(self, params, pairs):
        return pairs.chosen + pairs.rejected


@bad()
class TeachesTheRejected(Difference):
    def loss(self, params, margin):
        return torch.nn.functional.softplus(margin)


@bad()
class ScalesByTheBatch(Difference):
    def loss(self, params, margin):
        return super().loss(params, margin - margin.mean())


@bad()
class AddsUp(Difference):
    def loss(self, params, margin):
        return super().loss(params, margin).sum()[None]


@bad()
class Draws(Difference):
    def loss(self, params, margin):
        return super().loss(params, margin + torch.rand(()))


@bad()
class IsNotFinite(Difference):
    def loss(self, params, margin):
        return super().loss(params, margin) / 0.0


@bad()
class ReadsOneSide(Difference):
    def examples(self, params, folder, split, untouched):
        return read_pairs(folder, "train", untouched, lambda pairs: self.pair_loss(params, pairs))


@bad()
class ReadsConversations(Difference):
    def examples(self, params, folder, split, untouched):
        return read_examples(folder, split)


@bad()
class HasNoMargin(Objective):
    def examples(self, params, folder, split, untouched):
        return Good().examples(params, folder, split, untouched)


@bad(reads=())
class HidesThatItReadsPairs(Dpo):
    pass


def test_a_good_objective_passes():
    check_objective(Good)


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (FollowsTheRejected, "the margin falls when the chosen response becomes likelier"),
        (RewardsBoth, "the margin grows when the rejected response becomes likelier"),
        (TeachesTheRejected, "the loss must fall when the chosen one becomes likelier"),
        (ScalesByTheBatch, "must not depend on the others in its batch"),
        (AddsUp, "`loss` must give a value for every pair"),
        (Draws, "it must not draw random numbers"),
        (IsNotFinite, "gave a loss that is not finite"),
        (ReadsOneSide, "reads other items than those of 'heldout'"),
        (ReadsConversations, "must read Pairs, as its `reads` say, and not Examples"),
        (HasNoMargin, "must derive from `layersig.objectives.PairObjective`"),
        (HidesThatItReadsPairs, "must read Examples, as its `reads` say, and not Pairs"),
    ],
)
def test_a_bad_objective_is_told_what_it_does_wrong(target, words):
    with pytest.raises(AssertionError, match=words):
        check_objective(target)
