"""Stages that learn from pairs: every tuning method, resumption, search, and the reference that they compare with."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from layersig.data.examples import read_examples
from layersig.data.pairs import read_interleaved
from layersig.evaluating.untouched import untouched
from layersig.objectives import objective_of
from layersig.recipe.schema import TrainSettings
from layersig.records import Cell
from layersig.stages.job import Job
from layersig.stages.kinds import Reference, Tune, Untouched
from layersig.streams import Streams
from layersig.training import loop, stages
from layersig.training.methods import component_of
from tests.objectives.world import DPO, dpo_loss, log_probability, write_pairs, write_untouched
from tests.tiny import tiny_model
from tests.training.world import CHOSEN, digests, write_inputs

_COMPUTE = {"dtype": "float32", "device": "cpu", "quantization": "none", "attention": "sdpa"}
_KEYS = {"objective": "dpo", "dpo": DPO, "rank": 2, "batch_size": 4, "learning_rate": 1e-2, "warmup_ratio": 0.0,
         "dropout": 0.0, "steps": 4, "micro_batch_tokens": 64}  # fmt: skip


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """What a training reads, by role, with pairs in place of conversations."""
    root = tmp_path_factory.mktemp("pairs")
    found = write_inputs(root)
    write_pairs(root / "data", 12)
    write_untouched(root / "untouched", root / "data", tiny_model("llama"))
    return {**found, "untouched": root / "untouched"}


def job(folder: Path, inputs, kind=Tune, name="job", keys=None, **params):
    """A training about to run; one of the same name finds the state that the last one left."""
    settings = TrainSettings.model_validate({**_KEYS, **(keys or {})}, strict=False)
    parts = [folder / name / part for part in ("out", "work")]
    for each in parts:
        each.mkdir(parents=True, exist_ok=True)
    train = settings.effective(component_of(settings.method, ()), objective_of(settings.objective, ()))
    spec = kind.of(train=train, **{**_COMPUTE, **params})
    return Job(Cell(arm="arm"), spec, inputs, *parts, Streams(1, 0))


def losses(run):
    return [step["loss"] for step in json.loads((run.out / "log.json").read_text())["steps"]]


@pytest.mark.parametrize("method", ["lora", "adalora", "full", "dora", "rslora", "pissa"])
def test_every_method_learns_the_preference_with_the_selected_layers_alone(tmp_path, inputs, method):
    keys = {"method": method, "batch_size": 12, "learning_rate": 3e-2}
    keys["adalora"] = {"init_r": 3, "target_r": 2, "tinit": 0, "tfinal": 1, "orth_reg_weight": 0.0}
    run = job(tmp_path, inputs, keys=keys)
    stages.tune(run)  # which proves that these layers moved and nothing else did
    found = losses(run)
    # Before the first step the model is the untouched one: all margins are 0.
    assert found[0] == pytest.approx(math.log(2), abs=1e-5)
    assert found[-1] < found[0] - 1e-3
    assert (run.out / ("model" if method == "full" else "adapter")).is_dir()


def test_a_reference_repeats_byte_for_byte_also_when_it_is_interrupted(tmp_path, inputs, monkeypatch):
    keys = {"dropout": 0.2}
    one = job(tmp_path, inputs, Reference, "one", keys, milestones=[0.5, 1.0])
    stages.reference(one)
    clip, calls = loop._clip, []

    def interrupt(parameters, norm):
        calls.append(None)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return clip(parameters, norm)

    monkeypatch.setattr(loop, "_clip", interrupt)
    with pytest.raises(KeyboardInterrupt):
        stages.reference(job(tmp_path, inputs, Reference, "two", keys, milestones=[0.5, 1.0]))
    two = job(tmp_path, inputs, Reference, "two", keys, milestones=[0.5, 1.0])
    stages.reference(two)
    assert len(calls) == 3 + 2
    assert digests(one.out) == digests(two.out)


def test_other_parameters_and_objectives_are_other_trainings(tmp_path, inputs):
    found = {}
    for name, keys in {
        "dpo": {},
        "beta": {"dpo": {**DPO, "beta": 1.0}},
        "per token": {"dpo": {**DPO, "per_token": True}},
        "simpo": {"objective": "simpo"},
        "sft": {"objective": "sft"},
    }.items():
        run = job(tmp_path, inputs, name=name, keys={**keys, "steps": 1})
        stages.tune(run)
        found[name] = (digests(run.out / "adapter")["adapter_model.safetensors"], losses(run)[0])
    assert len({digest for digest, _ in found.values()}) == len(found)
    assert found["dpo"][1] == pytest.approx(found["per token"][1], abs=1e-6)
    assert found["sft"][1] > 2  # nats per target token of the chosen responses


def test_trials_are_compared_by_the_preference_loss(tmp_path, inputs):
    keys = {"steps": 2, "search": {"learning_rates": [1e-2, 1e-4], "validation": 0.3}}
    run = job(tmp_path, inputs, keys=keys)
    stages.tune(run)
    trials = json.loads((run.out / "search.json").read_text())["trials"]
    assert trials[0]["loss"] != trials[1]["loss"]
    assert all(trial["loss"] < 1.0 for trial in trials)
    assert json.loads((run.out / "search.json").read_text())["validation"]["conversations"] == 4


def test_the_stage_of_the_untouched_model(tmp_path, inputs):
    for part in ("out", "work"):
        (tmp_path / part).mkdir()
    spec = Untouched.of(split="train", batch_tokens=64, **_COMPUTE)
    run = Job(Cell(data="pairs"), spec, inputs, tmp_path / "out", tmp_path / "work", Streams(1))
    untouched(run)
    found = load_file(tmp_path / "out" / "train.safetensors")["log_probabilities"]
    expected = load_file(inputs["untouched"] / "train.safetensors")["log_probabilities"]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert found.shape == (12, 2)
    assert run.cost["tokens"] == read_interleaved(inputs["data"], "train").lengths.sum()


def test_one_step_of_a_training_starts_at_the_gradient_of_the_formula(tmp_path, inputs):
    # Full fine-tuning by AdamW without decay: the first step moves every weight against the sign of its gradient.
    keys = {"method": "full", "steps": 1, "weight_decay": 0.0, "clip": None, "schedule": "constant"}
    run = job(tmp_path, inputs, Reference, keys=keys, milestones=[1.0])
    stages.reference(run)
    change = load_file(run.out / "at-1" / "dense_update.safetensors")
    model = tiny_model("llama")
    weight = model.get_submodule(CHOSEN[0]).weight.requires_grad_(True)
    batch = Streams(1, 0).generator("data-order", 0).permutation(12)[:4]
    chosen, rejected = (read_examples(inputs["data"], f"train{ending}") for ending in ("", "-rejected"))
    before = tiny_model("llama")
    loss = dpo_loss(
        lambda example: log_probability(model, example),
        lambda example: log_probability(before, example),
        *([side[int(index)] for index in batch] for side in (chosen, rejected)),
        **DPO,
    )
    loss.backward()
    (name,) = (name for name in change if CHOSEN[0] in name)
    clear = weight.grad.abs() > 1e-4 * weight.grad.abs().max()
    assert (np.sign(change[name])[clear.numpy()] == -np.sign(weight.grad.numpy())[clear.numpy()]).all()
