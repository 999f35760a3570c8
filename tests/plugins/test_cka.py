"""CKA against its definition on states gathered by plain hooks, and the bias that it is known for."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from layersig.errors import UserError
from layersig.scoring import stage
from tests.scoring.heard import Heard
from tests.scoring.test_block_influence import boundary_states
from tests.scoring.world import World
from tests.tiny import tiny_batch

LENGTHS = (24, 5, 17, 7, 9, 12)
ROWS = [row[:length] for row, length in zip(tiny_batch(rows=6, length=24).tolist(), LENGTHS, strict=True)]
TARGETS_FROM = 4


def features_cka(first, second):
    """The form of the paper, by features."""
    first, second = first - first.mean(0), second - second.mean(0)
    cross = np.linalg.norm(first.T @ second) ** 2
    return cross / (np.linalg.norm(first.T @ first) * np.linalg.norm(second.T @ second))


def unbiased_hsic(first, second):
    """The mean over all quadruples of different examples, term by term (Song et al. 2012, equation 4)."""
    n = len(first)
    k, m = first @ first.T, second @ second.T
    total, count = 0.0, 0
    for i in range(n):
        for j in range(n):
            for q in range(n):
                for r in range(n):
                    if len({i, j, q, r}) == 4:
                        total += k[i, j] * (m[i, j] + m[q, r] - 2 * m[i, q])
                        count += 1
    return total / count


def unbiased_cka(first, second):
    own = unbiased_hsic(first, first) * unbiased_hsic(second, second)
    return unbiased_hsic(first, second) / np.sqrt(own)


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "qwen3_moe"])
@pytest.mark.parametrize(("estimator", "reference"), [("biased", features_cka), ("debiased", unbiased_cka)])
@pytest.mark.parametrize("tokens", ["last", "prompt", "mean"])
def test_it_is_one_minus_the_similarity(packages, tmp_path, architecture, estimator, reference, tokens):
    world = World(tmp_path, architecture)
    world.write_data(ROWS, TARGETS_FROM)
    params = {"examples": 6, "estimator": estimator, "tokens": tokens}
    found = world.ranking("cka", params)
    one = {"last": lambda state: state[-1], "prompt": lambda state: state[TARGETS_FROM - 1]}
    take = one.get(tokens, lambda state: state.mean(0))
    states = [[take(state.astype(np.float64)) for state in boundary_states(world.model, row)] for row in ROWS]
    boundaries = [np.stack(each) for each in zip(*states, strict=True)]
    spread = np.ptp(list(found.scores.values()))
    for place, score in enumerate(found.scores.values()):
        assert score == pytest.approx(1 - reference(boundaries[place], boundaries[place + 1]), abs=2e-5 * spread)
    assert world.ranking("cka", params, micro_batch_tokens=1).scores == pytest.approx(found.scores, abs=1e-5)


def test_a_block_that_scrambles_ranks_first(packages, tmp_path):
    world = World(tmp_path)
    world.write_data(tiny_batch(rows=12, length=16).tolist(), TARGETS_FROM)
    world.model.model.layers[1].mlp.down_proj.weight.data.mul_(50)
    world.model.save_pretrained(tmp_path / "model")
    for estimator in ("biased", "debiased"):
        assert "layers.1" in world.ranking("cka", {"examples": 12, "estimator": estimator}).ordered()[0]


def test_the_final_norm_does_not_count(packages, tmp_path):
    world = World(tmp_path)
    world.write_data(ROWS, TARGETS_FROM)
    before = world.ranking("cka", {})
    world.model.model.norm.weight.data.normal_()
    world.model.save_pretrained(tmp_path / "model")
    assert world.ranking("cka", {}) == before


def test_similarity_is_that_of_shapes(packages):
    from layersig_cka import biased_cka, debiased_cka

    generator = torch.Generator().manual_seed(0)
    states = torch.randn(40, 8, generator=generator, dtype=torch.float64)
    turn = torch.linalg.qr(torch.randn(8, 8, generator=generator, dtype=torch.float64)).Q
    gram, other = states @ states.mT, 9 * (states @ turn) @ (states @ turn).mT
    for similarity in (biased_cka, debiased_cka):
        assert similarity(gram, other) == pytest.approx(1)


def test_the_bias_of_few_examples_is_gone(packages):
    from layersig_cka import biased_cka, debiased_cka

    generator = torch.Generator().manual_seed(1)
    found = []
    for _ in range(100):
        one, two = (torch.randn(64, 256, generator=generator, dtype=torch.float64) for _ in range(2))
        found.append([similarity(one @ one.mT, two @ two.mT) for similarity in (biased_cka, debiased_cka)])
    biased, debiased = np.array(found).T
    assert biased.mean() > 0.7
    assert abs(debiased.mean()) < 3 * debiased.std() / 10


@pytest.mark.parametrize("estimator", ["biased", "debiased"])
def test_chats_that_end_alike_give_the_first_block_no_similarity(packages, tmp_path, estimator):
    """The state of one token before the first block is the same in every example: nothing can be compared with it."""
    world = World(tmp_path)
    world.write_data([[*row[:-1], 7] for row in ROWS], TARGETS_FROM)
    heard = Heard()
    job = replace(world.job("cka", {"estimator": estimator}), reporter=heard)
    stage.score(job)
    found = json.loads((job.out / "ranking.json").read_text())["scores"]
    first, *others = found.values()
    assert first == 1
    assert all(0 < other < 1 for other in others)
    assert "because they end with the same token" in heard.warnings[0]
    assert "layers.0 " in heard.warnings[0]
    assert 0 < next(iter(world.ranking("cka", {"estimator": estimator, "tokens": "mean"}).scores.values())) < 1


def test_chats_that_end_alike_but_for_one_give_the_debiased_estimate_nothing(packages, tmp_path):
    """As when one is cut short: what the unbiased estimates leave of it is rounding, whose root may be imaginary."""
    world = World(tmp_path)
    world.write_data([[*row[:-1], 9 if number == 2 else 7] for number, row in enumerate(ROWS)], TARGETS_FROM)
    for estimator, defined in (("biased", True), ("debiased", False)):
        heard = Heard()
        job = replace(world.job("cka", {"estimator": estimator}), reporter=heard)
        stage.score(job)
        first, *others = json.loads((job.out / "ranking.json").read_text())["scores"].values()
        assert (0 < first < 1) if defined else first == 1
        assert all(0 < other < 1 for other in others)
        assert bool(heard.warnings) is not defined
    assert "all examples but one at most have one state in front of" in heard.warnings[0]


def test_what_all_states_share_rounds_nothing_away(packages):
    from layersig_cka import debiased_cka

    generator = torch.Generator().manual_seed(2)
    one, two = (torch.randn(20, 8, generator=generator, dtype=torch.float64) for _ in range(2))
    plain = debiased_cka(one @ one.mT, two @ two.mT)
    assert debiased_cka((one + 1e4) @ (one + 1e4).mT, two @ two.mT) == pytest.approx(plain, abs=1e-6)
    for _ in range(20):  # states that are all alike but one
        odd = torch.randn(1, 8, generator=generator, dtype=torch.float64).expand(20, 8).clone()
        odd[3] = torch.randn(8, generator=generator, dtype=torch.float64)
        assert debiased_cka(odd @ odd.mT, two @ two.mT) == debiased_cka(two @ two.mT, odd @ odd.mT) == 0


def test_four_examples_are_needed(packages, tmp_path):
    world = World(tmp_path)
    world.write_data(ROWS[:3])
    with pytest.raises(UserError, match="3 training examples; CKA takes four"):
        world.ranking("cka", {})
