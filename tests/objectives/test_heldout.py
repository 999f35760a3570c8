"""Held-out pairs: margins, losses and accuracy of a model against the untouched one."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from torch.nn.functional import softplus

from layersig.data.examples import read_examples
from layersig.data.pairs import REJECTED
from layersig.evaluating import preferences
from layersig.evaluating.stage import evaluate
from layersig.evaluating.untouched import untouched
from layersig.fast import profile
from layersig.models.adapters import save_adapter
from layersig.records import Cell
from layersig.stages.job import Job
from layersig.stages.kinds import Untouched
from layersig.stages.measurements import Evaluate
from layersig.streams import Streams
from tests.objectives.world import log_probability, write_pairs
from tests.tiny import save_tiny, tiny_model
from tests.training.world import adapted
from tests.training.world import examples as conversations

BETA, SMOOTHING = 0.3, 0.1
DPO = {"name": "dpo", "params": {"beta": BETA, "label_smoothing": SMOOTHING, "per_token": False}}
SIMPO = {"name": "simpo", "params": {"beta": 2.0, "gamma": 0.5, "label_smoothing": 0.0}}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A model, an adapter that has moved, held-out pairs, and what the untouched model says of them."""
    root = tmp_path_factory.mktemp("heldout")
    save_tiny(root / "model")
    save_adapter(adapted(dtype=torch.float32), root / "adapter", base_model="tiny", revision=None)
    write_pairs(root / "data", 9, split="heldout")
    spec = Untouched.of(split="heldout", batch_tokens=96, **_compute())
    inputs = {"model": root / "model", "data": root / "data"}
    untouched(Job(Cell(data="pairs"), spec, inputs, *_parts(root, "untouched"), Streams(1)))
    return root


def _compute():
    return {"dtype": "float32", "device": "cpu", "quantization": "none", "attention": "sdpa"}


def _parts(root: Path, name: str):
    found = [root / name, root / f"{name}-work"]
    for each in found:
        each.mkdir()
    return found


def measured(root: Path, name: str, objective, *, adapter: bool = False, fast: bool = True):
    """Values by metric and pair, and the summary."""
    inputs = {"model": root / "model", "data/pairs": root / "data", "untouched/pairs": root / "untouched"}
    if adapter:
        inputs["adapter"] = root / "adapter"
    spec = Evaluate.of(tasks=[], batch_tokens=96, objective=objective, fast=fast, **_compute())
    out, work = _parts(root, name)
    evaluate(Job(Cell(arm="arm"), spec, inputs, out, work, Streams(1)))
    rows = [json.loads(line) for line in (out / "items.jsonl").read_text().splitlines()]
    values = {(row["metric"], row["item"]): row["value"] for row in rows}
    assert all(row["cluster"].startswith("group-") and row["task"] == "heldout/pairs" for row in rows)
    return values, json.loads((out / "results.json").read_text())["tasks"]["heldout/pairs"]


def test_the_untouched_model_has_no_margin_against_itself(world):
    values, summary = measured(world, "base", DPO)
    for number in range(9):
        assert values["preference_margin", f"pair-{number}"] == 0.0  # to the last bit: equal batches, equal bytes
        assert values["preference_loss", f"pair-{number}"] == pytest.approx(math.log(2), abs=1e-15)
        assert values["preference_accuracy", f"pair-{number}"] == 0.5
    assert summary["n"] == 9
    assert summary["higher_is_better"] == {
        "preference_loss": False,
        "preference_margin": True,
        "preference_accuracy": True,
    }


def test_free_memory_does_not_change_how_pairs_are_batched(monkeypatch):
    """Not even on a GPU: the untouched model would have margins of rounding against itself."""
    budgets = []
    monkeypatch.setattr(profile, "profile_of", lambda device: profile.GPU)
    monkeypatch.setattr(preferences, "mean_losses", lambda *given: budgets.append(given[3]) or [0.0] * len(given[1]))
    sequences = conversations(4)
    for asked in ("auto", 512):
        preferences.log_probabilities(tiny_model("llama"), sequences, "pairs", asked, print, None, True)
    assert budgets == [8192, 512]


@pytest.mark.parametrize("fast", [True, False])
def test_every_pair_is_measured_by_the_formula(world, fast):
    values, summary = measured(world, f"arm-{fast}", DPO, adapter=True, fast=fast)
    before, after = tiny_model("llama"), adapted(dtype=torch.float32)
    sides = [read_examples(world / "data", f"heldout{ending}") for ending in ("", REJECTED)]
    margins = []
    with torch.no_grad():
        for better, worse in zip(*sides, strict=True):
            ratio = [float(log_probability(after, each) - log_probability(before, each)) for each in (better, worse)]
            margins.append(BETA * (ratio[0] - ratio[1]))
            margin = torch.tensor(margins[-1])
            loss = (1 - SMOOTHING) * softplus(-margin) + SMOOTHING * softplus(margin)
            assert values["preference_margin", better.id] == pytest.approx(margins[-1], abs=1e-4)
            assert values["preference_loss", better.id] == pytest.approx(loss.item(), abs=1e-4)
            assert values["preference_accuracy", better.id] == float(margins[-1] > 0)
            own = -float(log_probability(after, better)) / better.targets.sum()
            assert values["loss", better.id] == pytest.approx(own, rel=1e-4)
    assert 0 < sum(margin > 0 for margin in margins) < 9
    assert summary["preference_accuracy"] == pytest.approx(sum(margin > 0 for margin in margins) / 9)


def test_simpo_counts_a_preference_without_its_target(world):
    values, _ = measured(world, "simpo", SIMPO)
    model = tiny_model("llama")
    for better, worse in zip(
        *(read_examples(world / "data", f"heldout{ending}") for ending in ("", REJECTED)), strict=True
    ):
        with torch.no_grad():
            mean = [float(log_probability(model, each)) / each.targets.sum() for each in (better, worse)]
        margin = 2.0 * (mean[0] - mean[1])
        assert values["preference_margin", better.id] == pytest.approx(margin, abs=1e-4)
        assert values["preference_accuracy", better.id] == float(margin > 0)
        assert values["preference_loss", better.id] == pytest.approx(math.log1p(math.exp(0.5 - margin)), abs=1e-4)
