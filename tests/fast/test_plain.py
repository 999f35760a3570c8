"""The plain twin of the fast paths: the same training, losses, gradients, scores and texts, but for rounding."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from lm_eval.api.instance import Instance
from scipy.stats import kendalltau

from layersig.evaluating.heldout import token_losses
from layersig.evaluating.model import SharedPrefixLM
from layersig.fast.decoder import Decoder
from layersig.fast.numerics import FAST_PATHS, GPU_PATHS, numerics_key
from layersig.fast.plain import PLAIN
from layersig.fast.runner import reading_runner
from layersig.generating.generation import generate
from layersig.generating.prompts import Prompt
from layersig.models.layermap import layer_map
from layersig.scoring.gating import gated
from layersig.training.gradients import visit_gradients
from tests.e2e.world import Run, World
from tests.models.helpers import dense_update, low_rank_update
from tests.study import RECIPE, write_study
from tests.tiny import tiny_model, tiny_tokenizer
from tests.training.world import BATCHES, CPU, SETTINGS, adapted, examples, run, trained

THREE = ("llama", "gpt2", "qwen3_moe")


@pytest.mark.parametrize("architecture", THREE)
def test_training_by_the_plain_twin_is_the_same(architecture: str) -> None:
    # Over two epochs and above the first block, so that the fast twin keeps a prefix.
    layers = [layer.name for layer in layer_map(tiny_model(architecture)) if layer.block]
    models = {fast: adapted(architecture, layers=layers, dropout=0.2) for fast in (True, False)}
    logs = {fast: run(model, SETTINGS, batches=BATCHES * 2, fast=fast) for fast, model in models.items()}
    assert logs[False].numerics == PLAIN
    assert "kept-prefix" in logs[True].numerics
    for fast, plain in zip(logs[True].steps, logs[False].steps, strict=True):
        assert fast.loss == pytest.approx(plain.loss, rel=1e-6)
        assert fast.gradient_norm == pytest.approx(plain.gradient_norm, rel=1e-5)
        assert (fast.tokens, fast.targets) == (plain.tokens, plain.targets)
    for name, value in trained(models[False]).items():
        torch.testing.assert_close(trained(models[True])[name], value, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("architecture", THREE)
def test_losses_and_gradients_are_the_same(architecture: str) -> None:
    found = {}
    for fast in (True, False):
        model = tiny_model(architecture, dtype=torch.float64).requires_grad_(False)
        weights = {name: value for name, value in model.named_parameters() if name.endswith("weight")}
        gradients: dict[tuple[int, str], torch.Tensor] = {}
        with reading_runner(model, examples(), 64, fast=fast) as runner:
            losses = runner.losses(BATCHES)
        with reading_runner(model, examples(), 64, fast=fast, pack=False) as runner:
            visit_gradients(
                runner,
                weights,
                examples(),
                BATCHES[:1],
                lambda batch, name, value, seen=gradients: seen.update({(batch, name): value.clone()}),
            )
        tokens = torch.cat(list(token_losses(model, examples(), fast=fast)))
        found[fast] = losses, gradients, tokens
    assert found[True][0] == pytest.approx(found[False][0], rel=1e-6)
    assert found[True][1].keys() == found[False][1].keys()
    for key, value in found[False][1].items():
        torch.testing.assert_close(found[True][1][key], value, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(found[True][2], found[False][2], rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("kind", [low_rank_update, dense_update])
@pytest.mark.parametrize("architecture", THREE)
def test_gates_have_the_same_gradient(architecture: str, kind) -> None:
    found = []
    for fast in (True, False):
        model = tiny_model(architecture, dtype=torch.float64).requires_grad_(False)
        update = kind(layer_map(model))
        gamma = torch.linspace(0.2, 0.9, len(update.layers), dtype=torch.float64, requires_grad=True)
        with gated(model, update, gamma, fast=fast), reading_runner(model, examples(), 64, fast=fast) as runner:
            count = runner.in_pieces(range(8), lambda pieces: [runner.loss(piece, 10).backward() for piece in pieces])
        assert len(count) > 1
        found.append(gamma.grad)
    torch.testing.assert_close(found[0], found[1], rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("architecture", THREE)
def test_scores_and_texts_are_the_same(architecture: str) -> None:
    model, tokenizer = tiny_model(architecture, dtype=torch.float64), tiny_tokenizer()
    asked = [
        Instance("loglikelihood", {}, (f"which of {number // 3}", choice), number)
        for number, choice in enumerate([" one", " two", " three"] * 4)
    ]
    answers = [SharedPrefixLM(model, tokenizer, share=share).loglikelihood(asked) for share in (True, False)]
    assert [greedy for _, greedy in answers[0]] == [greedy for _, greedy in answers[1]]
    assert [value for value, _ in answers[0]] == pytest.approx([value for value, _ in answers[1]], rel=1e-6)
    prompts = [Prompt((*range(5, 75), 5 + number), (), 6) for number in range(4)]
    texts = [generate(Decoder(model, fast=fast), tokenizer, prompts, 1000) for fast in (True, False)]
    assert texts[0] == texts[1]
    assert not Decoder(model, fast=False).shares


def test_the_numerics_key_says_which_paths_are_used() -> None:
    fast, plain = (numerics_key(CPU, torch.float32, fast=fast) for fast in (True, False))
    assert fast["paths"] == list(FAST_PATHS)
    assert plain == {**fast, "paths": []}
    assert fast == numerics_key(CPU, torch.float32)
    assert numerics_key(torch.device("mps"), torch.float32)["paths"] == list(GPU_PATHS)


STUDY = f"""\
{RECIPE}
[scorers.gradient]
kind = "gradient-norm"

[[arms]]
name = "gradient-30"
scorer = "gradient"
select = {{ kind = "top", fraction = 0.30 }}
"""


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "least"), [("float64", 1.0), ("float32", 0.99)])
@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gemma2"])
def test_a_study_ranks_and_selects_the_same_layers(tmp_path: Path, architecture: str, dtype: str, least: float) -> None:
    world = World(tmp_path, write_study(tmp_path, architecture, recipe=STUDY))
    fast, plain = (world.run(f"model.dtype={dtype}", *more).run for more in ((), ("model.fast=false",)))
    computed = {name for name, stage in plain.stages.items() if not stage["cached"]}
    assert {name.partition("/")[0] for name in computed} >= {"reference", "score", "tune", "evaluate"}
    agree(fast, plain, least)


def agree(fast: Run, plain: Run, least: float) -> None:
    """Two runs of `STUDY` have rankings with a Kendall's tau of `least` or more, equal selections, and close losses."""
    assert _rankings(fast).keys() == _rankings(plain).keys()
    for name, scores in _rankings(fast).items():
        others = _rankings(plain)[name]
        tau = kendalltau([scores[layer] for layer in scores], [others[layer] for layer in scores]).statistic
        assert tau > least - 1e-12
    for arm in ("ila-30", "gradient-30", "matched-random", "graft-30"):
        assert fast.layers(arm) == plain.layers(arm)
    for old, new in zip(fast.lines("metrics.jsonl"), plain.lines("metrics.jsonl"), strict=True):
        assert old["loss"] == pytest.approx(new["loss"], rel=1e-3)


def _rankings(run: Run) -> dict[str, dict[str, float]]:
    return {row["cell"]: row["scores"] for row in run.lines("scores.jsonl")}
