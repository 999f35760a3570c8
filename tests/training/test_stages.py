from __future__ import annotations

import json
from itertools import pairwise

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file

from layersig.errors import StageFailed
from layersig.models.adapters.wrappers import expected_warnings
from layersig.models.load import load_model
from layersig.training import loop, stages
from layersig.training.methods import component_of
from tests.tiny import tiny_batch, tiny_model
from tests.training.world import CHOSEN, TRAIN, digests, examples, job


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_reference_keeps_its_milestones_and_repeats_byte_for_byte(tmp_path, inputs, dtype):
    runs = [job(tmp_path, inputs, name, dtype=dtype, milestones=[0.05, 0.25, 0.3, 1.0]) for name in ("one", "two")]
    for each in runs:
        stages.reference(each)
    assert digests(runs[0].out) == digests(runs[1].out)
    # 36 draws in batches of 4: nine steps, of which 0.25 and 0.3 give 2 and 3, and 0.05 the first.
    names = ["at-0.05", "at-0.25", "at-0.3", "at-1", "log.json"]
    assert sorted(path.name for path in runs[0].out.iterdir()) == names
    factors = [load_file(runs[0].out / name / "adapter_model.safetensors") for name in names[:-1]]
    assert all(not torch.equal(a[key], b[key]) for a, b in pairwise(factors) for key in a)
    other = job(tmp_path, inputs, "other", dtype=dtype, seed=1, milestones=[1.0])
    stages.reference(other)
    assert digests(other.out / "at-1") != digests(runs[0].out / "at-1")


def test_log_and_costs(tmp_path, inputs):
    run = job(tmp_path, inputs, milestones=[1.0])
    stages.reference(run)
    log = json.loads((run.out / "log.json").read_text())
    assert [row["step"] for row in log["steps"]] == list(range(1, 10))
    assert "seconds" not in (run.out / "log.json").read_text()
    assert log["stability"]["step"] is None
    assert log["numerics"] == "packed-attention+lora-linear"
    assert [row | {"seconds": 0} for row in run.metrics] == [row | {"seconds": 0} for row in log["steps"]]
    assert {"step", "loss", "lr", "tokens", "seconds"} <= run.metrics[0].keys()
    assert run.cost["tokens"] == sum(len(example) for example in examples(18)) * 2
    assert run.cost["seconds_per_token"] == pytest.approx(
        sum(row["seconds"] for row in run.metrics) / run.cost["tokens"]
    )
    assert run.cost["peak_memory"] > 0


def test_tuning_moves_the_selected_layers_alone_and_loads_in_plain_peft(tmp_path, inputs):
    run = job(tmp_path, inputs)
    stages.tune(run)
    factors = load_file(run.out / "adapter" / "adapter_model.safetensors")
    assert {key.removeprefix("base_model.model.").split(".lora_")[0] for key in factors} == set(CHOSEN)
    base = tiny_model("llama")
    with expected_warnings():
        model = PeftModel.from_pretrained(base, run.out / "adapter").eval()
    before, after = (each(tiny_batch()).logits for each in (tiny_model("llama"), model))
    assert not torch.allclose(before, after)


def test_a_layer_starts_and_drops_out_alike_whichever_others_are_tuned(tmp_path, inputs):
    # One step: B is zero before it, so the gradient of a layer's B depends on its own A and mask alone.
    train = TRAIN.model_copy(update={"epochs": None, "steps": 1, "clip": None})
    everything, chosen = job(tmp_path, inputs, "all", train=train, milestones=[1.0]), job(tmp_path, inputs, train=train)
    stages.reference(everything)
    stages.tune(chosen)
    whole = load_file(everything.out / "at-1" / "adapter_model.safetensors")
    for name, value in load_file(chosen.out / "adapter" / "adapter_model.safetensors").items():
        torch.testing.assert_close(value, whole[name], rtol=1e-4, atol=1e-6)


def test_an_interrupted_stage_goes_on_and_gives_the_same_bytes(tmp_path, inputs, monkeypatch):
    unbroken = job(tmp_path, inputs, "unbroken", milestones=[0.25, 1.0])
    stages.reference(unbroken)
    whole, calls = loop._clip, []

    def interrupt(parameters, clip):
        calls.append(None)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return whole(parameters, clip)

    monkeypatch.setattr(loop, "_clip", interrupt)
    with pytest.raises(KeyboardInterrupt):
        stages.reference(job(tmp_path, inputs, "broken", milestones=[0.25, 1.0]))
    resumed = job(tmp_path, inputs, "broken", milestones=[0.25, 1.0])
    assert not any(resumed.out.iterdir())
    stages.reference(resumed)
    assert len(calls) == 5 + 5
    assert digests(resumed.out) == digests(unbroken.out)


def test_a_training_that_moves_no_selected_layer_fails(tmp_path, inputs):
    train = TRAIN.model_copy(update={"learning_rate": 1e-300})
    with pytest.raises(StageFailed, match="without a finite, non-zero update"):
        stages.tune(job(tmp_path, inputs, train=train))


def test_divergence_names_the_step_and_leaves_the_model_clean(tmp_path, inputs):
    train = TRAIN.model_copy(update={"learning_rate": 1e30, "clip": None, "schedule": "constant"})
    with pytest.raises(StageFailed, match=r"step 2: the loss is nan at learning rate 1e\+30"):
        stages.tune(job(tmp_path, inputs, train=train))
    run = job(tmp_path, inputs, "after")
    stages.tune(run)
    fresh = load_model(inputs["model"], dtype="float32", device="cpu")
    assert not hasattr(fresh, "peft_config")


def test_a_training_that_cannot_fit_is_refused_before_the_model_is_loaded(tmp_path, inputs, monkeypatch):
    monkeypatch.setattr(stages, "capacity", lambda device: 10_000.0)
    monkeypatch.setattr(stages, "borrow_model", None)
    with pytest.raises(StageFailed, match=r"and the device has 10,000; .*--cards"):
        stages.tune(job(tmp_path, inputs))


def test_small_moments_train_and_are_told(tmp_path, inputs):
    found = {}
    for optimizer in ("adamw", "adamw-bf16"):
        done = job(tmp_path, inputs, optimizer, train=TRAIN.model_copy(update={"optimizer": optimizer}))
        stages.tune(done)
        found[optimizer] = done.cost["optimizer_memory"] / done.cost["trained_memory"]
    assert found == {"adamw": 2.0, "adamw-bf16": 1.0}
    assert digests(tmp_path / "adamw" / "out" / "adapter") != digests(tmp_path / "adamw-bf16" / "out" / "adapter")


def test_the_optimizer_is_part_of_what_a_training_is_known_by_only_where_it_is_not_the_usual():
    lora = component_of("lora", ())
    assert "optimizer" not in TRAIN.effective(lora)
    assert TRAIN.model_copy(update={"optimizer": "adamw-8bit"}).effective(lora)["optimizer"] == "adamw-8bit"
