"""Every tuning method trains what it was told to and nothing else, and leaves behind what plain libraries load."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import AdaLoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AutoModelForCausalLM

from layersig.data.batches import collate
from layersig.errors import UserError
from layersig.fast.runner import Workload
from layersig.models.adapters import allocate, inject_adalora, orthogonality
from layersig.models.adapters.ranks import kept
from layersig.models.adapters.wrappers import expected_warnings, wrapped_layers
from layersig.models.dense import base_dtype, trained_weights
from layersig.models.layermap import layer_map
from layersig.models.load import load_model
from layersig.models.update_folder import read_update
from layersig.recipe.schema import AdaLoraSettings, TrainSettings
from layersig.training import loop, stages
from layersig.training.methods import Base, tuned
from layersig.training.optimization import Optimization
from tests.tiny import tiny_batch, tiny_model
from tests.training.spy import Spy
from tests.training.world import (
    BATCHES,
    CHOSEN,
    STREAMS,
    TRAIN,
    digests,
    examples,
    job,
)

ADALORA = AdaLoraSettings(target_r=2, init_r=4, tinit=2, tfinal=2, deltaT=2)
CASES: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "lora": ({}, {}),
    "qlora": ({}, {"quantization": "nf4"}),
    # A larger rate, since PEFT starts AdaLoRA's factors small.
    "adalora": ({"method": "adalora", "adalora": ADALORA, "learning_rate": 5e-2}, {}),
    "qadalora": ({"method": "adalora", "adalora": ADALORA, "learning_rate": 5e-2}, {"quantization": "nf4"}),
    "full": ({"method": "full"}, {}),
    "dora": ({"method": "dora"}, {}),
    "rslora": ({"method": "rslora", "alpha": 3.0}, {}),
    "pissa": ({"method": "pissa"}, {}),
    "eva": ({"method": "eva", "eva": {"rho": 1.0}}, {}),
    "fast pissa": ({"method": "pissa", "pissa": {"iterations": 2}}, {}),
}


ALIKE = ("qadalora", "fast pissa", "eva")
"""Cases that take the ways of others together."""


@pytest.fixture(params=[pytest.param(name, marks=[pytest.mark.slow] if name in ALIKE else []) for name in CASES])
def case(request: pytest.FixtureRequest) -> tuple[str, TrainSettings, dict[str, str]]:
    """Name, settings and compute parameters of a method."""
    if "nf4" in CASES[request.param][1].values():
        pytest.importorskip("bitsandbytes")
    changes, compute = CASES[request.param]
    return request.param, TRAIN.model_copy(update=changes), compute


def _reloaded(model: Path, out: Path, compute: Mapping[str, str]) -> torch.nn.Module:
    """What plain transformers and PEFT make of the output of a stage."""
    if (out / "model").is_dir():
        plain: torch.nn.Module = AutoModelForCausalLM.from_pretrained(out / "model")
        assert not any("layersig" in type(module).__module__ for module in plain.modules())
        return plain.eval()
    base = load_model(model, dtype="float32", device="cpu", quantization=compute.get("quantization", "none"))  # type: ignore[arg-type]
    with expected_warnings():
        return PeftModel.from_pretrained(base, out / "adapter").eval()


def test_a_method_trains_the_selected_layers_alone_and_reloads_equal(
    tmp_path: Path,
    inputs: Mapping[str, Path],
    case: tuple[str, TrainSettings, dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name, train, compute = case
    spy = Spy(monkeypatch)
    run = job(tmp_path, inputs, train=train, **compute)
    stages.tune(run)
    if name == "full":
        assert spy.changed == set()
        assert spy.parameters == set(CHOSEN)
        before, after = (load_file(folder / "model.safetensors") for folder in (inputs["model"], run.out / "model"))
        assert {key for key in after if not torch.equal(after[key], before[key])} == {f"{key}.weight" for key in CHOSEN}
        assert before.keys() == after.keys()
    else:
        owners = {key.removeprefix("base_model.model.").partition(".lora_")[0] for key in spy.changed}
        assert owners == set(CHOSEN)
        assert all(".lora_" in key for key in spy.changed)
        assert spy.parameters == spy.changed
    sizes = {name: each.numel() for name, each in tiny_model("llama").named_parameters()}
    linear = [size for key, size in sizes.items() if key.endswith("proj.weight")]
    # Of a 4-bit weight: half a byte, a byte for every 64 of them, and two tables of 16 and 256 numbers a layer.
    packed = sum(size / 2 + size / 64 + 4 * (16 + 256) for size in linear)
    held = 4 * (sum(sizes.values()) - sum(linear)) + (packed if compute else 4 * sum(linear))
    assert run.cost["weights_memory"] == pytest.approx(held, rel=1e-2)
    assert run.cost["trained_memory"] == sum(value.nbytes for value in spy.values)
    with torch.no_grad():
        plain = _reloaded(inputs["model"], run.out, compute)(tiny_batch()).logits
        base = load_model(
            inputs["model"],
            dtype="float32",
            device="cpu",
            quantization=compute.get("quantization", "none"),  # type: ignore[arg-type]
        )(tiny_batch()).logits
    assert (plain - spy.logits).abs().max() <= 1e-5 * plain.abs().max()
    assert (base - spy.logits).abs().max() > 1e-3 * plain.abs().max()


def test_killed_and_resumed_gives_the_same_bytes(
    tmp_path: Path,
    inputs: Mapping[str, Path],
    case: tuple[str, TrainSettings, dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, train, compute = case
    unbroken = job(tmp_path, inputs, "unbroken", train=train, milestones=[0.25, 1.0], **compute)
    stages.reference(unbroken)
    whole, calls = loop._clip, []

    def interrupt(parameters: Any, clip: float | None) -> float:
        calls.append(None)
        if len(calls) in {5, 9}:
            raise KeyboardInterrupt
        return whole(parameters, clip)

    monkeypatch.setattr(loop, "_clip", interrupt)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            stages.reference(job(tmp_path, inputs, "broken", train=train, milestones=[0.25, 1.0], **compute))
    resumed = job(tmp_path, inputs, "broken", train=train, milestones=[0.25, 1.0], **compute)
    stages.reference(resumed)
    assert len(calls) == 9 + 2
    assert digests(resumed.out) == digests(unbroken.out)


@pytest.mark.parametrize("method", ["adalora", "full"])
def test_a_stored_update_is_the_change_of_the_weights(tmp_path: Path, inputs: Mapping[str, Path], method: str) -> None:
    run = job(tmp_path, inputs, train=TRAIN.model_copy(update={"method": method, "adalora": ADALORA}), milestones=[1.0])
    stages.reference(run)
    base = tiny_model("llama")
    layers = layer_map(base)
    update = read_update(run.out / "at-1", layers)
    assert update.layers == layers.names
    if method == "full":
        after = AutoModelForCausalLM.from_pretrained(run.out / "model").state_dict()
        before = base.state_dict()
        change = {name: after[f"{name}.weight"] - before[f"{name}.weight"] for name in layers.names}
        assert base_dtype(run.out / "at-1") is torch.float32
    else:
        with expected_warnings():
            peft_model = PeftModel.from_pretrained(base, run.out / "at-1")
        wrappers = wrapped_layers(peft_model.get_base_model())
        change = {name: wrapper.get_delta_weight("default").detach() for name, wrapper in wrappers.items()}
        # Rank 4 was cut to a mean of 2, and nobody is left with what was masked.
        ranks = [wrapper.r["default"] for wrapper in wrappers.values()]
        assert sum(ranks) == 2 * len(layers)
        assert max(ranks) > min(ranks)
    for name in layers.names:
        torch.testing.assert_close(update.delta(name).dense(), change[name], rtol=1e-5, atol=1e-7)


def test_adalora_between_two_cuts_is_stored_as_it_computes(
    tmp_path: Path, inputs: Mapping[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    # 9 steps, cuts after steps 4 and 6: after step 5 masked values have moved again.
    run = job(
        tmp_path,
        inputs,
        train=TRAIN.model_copy(update={"method": "adalora", "adalora": ADALORA}),
        milestones=[5 / 9, 1.0],
    )
    keep, seen = stages._keep, []

    def look(tuning: Any, work: Path, names: list[str]) -> None:
        keep(tuning, work, names)
        # Without the loop's own ways of running the model, which know only its batches.
        with torch.no_grad():
            changes = {
                name: wrapper.get_delta_weight("default") for name, wrapper in wrapped_layers(tuning.model).items()
            }
        seen.append({name.removeprefix("base_model.model."): change for name, change in changes.items()})

    monkeypatch.setattr(stages, "_keep", look)
    stages.reference(run)
    for name, changes in zip((f"at-{5 / 9:g}", "at-1"), seen, strict=True):
        with expected_warnings(), torch.no_grad():
            plain = PeftModel.from_pretrained(tiny_model("llama"), run.out / name)
            for layer, wrapper in wrapped_layers(plain.get_base_model()).items():
                torch.testing.assert_close(wrapper.get_delta_weight("default"), changes[layer], rtol=1e-5, atol=1e-7)


def test_adalora_is_what_pefts_own_loop_computes() -> None:
    model, twin = (tiny_model("llama", dtype=torch.float64) for _ in range(2))
    layers = [layer_map(model).by_name[name] for name in CHOSEN]
    settings = TRAIN.model_copy(
        update={"method": "adalora", "adalora": ADALORA, "dropout": 0.0, "alpha": 6.0, "schedule": "constant"}
    )
    many = BATCHES * 3
    with tuned(model, layers, settings, base=Base("b"), steps=len(many), streams=STREAMS) as tuning:
        start = {name: value.detach().clone() for name, value in tuning.parameters.items()}
        work = Workload(tuning.model, tuning.parameters, examples(), many, settings, STREAMS)
        log = loop.train(work, Optimization.of(settings), [tuning])
        ours = {name: value.detach().clone() for name, value in tuning.parameters.items()}
    config = AdaLoraConfig(
        **ADALORA.model_dump(),
        lora_alpha=6,
        total_step=len(many),
        target_modules=list(CHOSEN),
        task_type="CAUSAL_LM",
    )
    with expected_warnings():
        plain = get_peft_model(twin, config)
    for name, value in plain.named_parameters():
        if "ranknum" in name:  # a number that PEFT declares frozen, and thaws when it casts it
            value.requires_grad_(False)
    theirs = {name: value for name, value in plain.named_parameters() if value.requires_grad}
    for name, value in theirs.items():
        value.data = start[name].clone()
    optimizer = torch.optim.AdamW(theirs.values(), lr=settings.learning_rate, betas=settings.betas, weight_decay=0.1)
    for step, indices in enumerate(many, start=1):
        batch = collate([examples()[index] for index in indices])
        optimizer.zero_grad()
        found = plain(input_ids=batch.tokens, labels=torch.where(batch.targets, batch.tokens, -100), use_cache=False)
        found.loss.backward()
        assert found.loss.item() == pytest.approx(log.steps[step - 1].loss, rel=1e-5)
        torch.nn.utils.clip_grad_norm_(theirs.values(), 1.0)
        optimizer.step()
        plain.base_model.update_and_allocate(step)
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value.detach(), rtol=1e-3, atol=1e-6)


class Kernels(TorchDispatchMode):
    """Counts operations that compute something."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += not func.is_view
        return func(*args, **(kwargs or {}))


def test_the_penalty_of_adalora_takes_as_many_operations_for_many_layers_as_for_few() -> None:
    """Factors of one shape are taken together; the value is that of PEFT's own loop over them."""
    counts = []
    for chosen in (CHOSEN, layer_map(tiny_model("llama")).names):
        model = tiny_model("llama", dtype=torch.float64)
        layers = [layer_map(model).by_name[name] for name in chosen]
        adapted = inject_adalora(model, layers, settings=ADALORA, alpha=6.0, dropout=0.0, steps=9, streams=STREAMS)
        with Kernels() as kernels:
            penalty = orthogonality(adapted)
        counts.append((kernels.count, len({layer.shape for layer in layers})))
        factors = [each for name, each in adapted.named_parameters() if "lora_A" in name or "lora_B" in name]
        grams = [each @ each.T if each.shape[0] < each.shape[1] else each.T @ each for each in factors]
        gaps = [torch.norm(gram - torch.eye(len(gram), dtype=gram.dtype)) for gram in grams]
        assert penalty.item() == pytest.approx(ADALORA.orth_reg_weight * sum(gaps).item() / len(gaps), rel=1e-12)
    (few, few_shapes), (many, many_shapes) = counts
    assert many / many_shapes <= few / few_shapes


def test_adalora_cuts_ranks_without_a_wait_for_the_device() -> None:
    """On the meta device, where nothing can be read."""
    model = tiny_model("llama")
    layers = [layer_map(model).by_name[name] for name in CHOSEN]
    adapted = inject_adalora(model, layers, settings=ADALORA, alpha=6.0, dropout=0.0, steps=9, streams=STREAMS)
    adapted.to("meta")
    for step in range(1, 10):
        for parameter in adapted.parameters():
            parameter.grad = torch.zeros_like(parameter) if parameter.requires_grad else None
        allocate(adapted, step)
    assert kept(adapted).keys() == {f"{name}.lora_E.default" for name in CHOSEN}
    assert {mask.device.type for mask in kept(adapted).values()} == {"meta"}


def test_what_a_method_cannot_tune_is_refused(tmp_path: Path) -> None:
    experts = tiny_model("qwen3_moe")
    fused = [layer for layer in layer_map(experts) if layer.is_parameter][:1]
    adalora = TRAIN.model_copy(update={"method": "adalora"})
    with (
        pytest.raises(UserError, match=r'method "adalora" cannot tune .*experts'),
        tuned(experts, fused, adalora, base=Base("b"), steps=9, streams=STREAMS),
    ):
        pass
    model = tiny_model("llama", tied=True)
    late = adalora.model_copy(update={"adalora": AdaLoraSettings(tinit=5, tfinal=4)})
    with (
        pytest.raises(UserError, match=r"tinit \+ tfinal is 9, but the training has 9 steps"),
        tuned(model, layer_map(model), late, base=Base("b"), steps=9, streams=STREAMS),
    ):
        pass
    head = layer_map(model, head=True)[-1:]
    with pytest.raises(UserError, match="lm_head is tied"), trained_weights(model, head):
        pass
    assert not hasattr(model, "peft_config")
    assert not any(module._forward_pre_hooks for module in model.modules())
