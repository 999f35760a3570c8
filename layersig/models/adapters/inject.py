"""Adapters put into a live model: on exactly the chosen layers, every one from a random stream of its own."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast
from weakref import WeakKeyDictionary

import torch
from peft import AdaLoraConfig, LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora import LoraLayer
from peft.utils.transformers_weight_conversion import convert_peft_config_for_transformers
from torch import nn
from transformers import PreTrainedModel

from layersig.errors import LayersigError, StageFailed, UserError, is_machine_fault, one_line
from layersig.layers import Layer
from layersig.models.adapters.wrappers import ADAPTER, Restorer, expected_warnings, wrapped_layers
from layersig.models.isolation import isolated
from layersig.models.tensor_hash import hash_values
from layersig.recipe.schema import AdaLoraSettings
from layersig.streams import Streams


@dataclass(frozen=True, slots=True)
class Injection:
    """What must be known after training: how to restore the model, and hashes of its frozen parameters."""

    restorer: Restorer
    frozen: Mapping[str, int]


injections: WeakKeyDictionary[PeftModel, Injection] = WeakKeyDictionary()
"""Models with an adapter that was put in here."""


def inject_lora(
    model: PreTrainedModel,
    layers: Sequence[Layer],
    *,
    rank: int,
    alpha: float,
    dropout: float,
    streams: Streams,
    ranks: Mapping[str, int] | None = None,
    modules_only: bool = False,
    **options: Any,
) -> PeftModel:
    """Put LoRA factors on exactly `layers`; everything else is frozen.

    A and B are float32 (float64 in a float64 model). A of every layer is drawn from the stream ("adapter-init",
    layer) with PEFT's default (Kaiming uniform, a = sqrt 5), so a layer starts the same whichever others are
    selected; B is zero. PEFT has no dropout on parameters: fused experts are trained without, and so are linear modules
    that bear the name of an expert (such as those of a shared expert); see `dropouts`.

    Args:
        model: A model without adapters; it is changed in place until `remove_adapter`.
        layers: Layers of its map.
        rank: Rank r of the factors.
        alpha: The product is scaled by alpha / r.
        dropout: Dropout on the input of the factors.
        streams: Random streams of the cell.
        ranks: Ranks of single layers, by full name; the scale stays alpha / `rank`.
        modules_only: Refuse layers that PEFT adapts as parameters: experts, and modules that it takes for some.
        options: More keys of PEFT's `LoraConfig`.

    Raises:
        UserError: No layer is given, PEFT refuses the model or a layer, or a layer is no linear module of its own where
            that is asked for.
        StageFailed: PEFT wrapped another set of modules than the selected one.
    """
    modules, parameters = targets(model, layers, modules_only=modules_only)
    key_of = {name: re.escape(f"{name}.weight" if f"{name}.weight" in parameters else name) for name in ranks or ()}
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,
        lora_dropout=0.0 if parameters else dropout,
        target_modules=modules,
        target_parameters=parameters or None,
        rank_pattern={key_of[name]: value for name, value in (ranks or {}).items()},
        alpha_pattern={key_of[name]: alpha / rank * value for name, value in (ranks or {}).items()},
        bias="none",
        task_type="CAUSAL_LM",
        **options,
    )

    def start(wrapper: LoraLayer, name: str) -> None:
        _initialise(wrapper, streams.number("adapter-init", name))
        if config.lora_dropout < dropout and name in modules:
            wrapper.lora_dropout[ADAPTER] = nn.Dropout(dropout)

    return _inject(model, layers, config, streams, start)


def inject_adalora(
    model: PreTrainedModel,
    layers: Sequence[Layer],
    *,
    settings: AdaLoraSettings,
    alpha: float,
    dropout: float,
    steps: int,
    streams: Streams,
) -> PeftModel:
    """Put PEFT's AdaLoRA (Zhang et al., arXiv 2303.10512) on exactly `layers`; everything else is frozen.

    The change of a layer is alpha / init_r * P diag(E) Q. Factors are float32 (float64 in a float64 model); P and Q
    start as PEFT's do, normal with deviation 0.02, from the stream ("adapter-init", layer), E at zero.

    Args:
        model: A model without adapters; it is changed in place until `remove_adapter`.
        layers: Linear modules of its map.
        settings: Ranks, budget schedule and importance of AdaLoRA.
        alpha: The product is scaled by alpha / init_r.
        dropout: Dropout on the input of the factors.
        steps: Planned optimizer steps, on which the budget schedule hangs.
        streams: Random streams of the cell.

    Raises:
        UserError: No layer is given, a layer is no module of its own, PEFT refuses the model or a layer, or the
            schedule does not fit into the steps.
        StageFailed: PEFT wrapped another set of modules than the selected one.
    """
    modules, _ = targets(model, layers, modules_only=True)
    if settings.tinit + settings.tfinal >= steps:
        raise UserError(
            f"train.adalora: tinit + tfinal is {settings.tinit + settings.tfinal}, but the training has {steps} steps, "
            "so no step is left to cut ranks; lower them or train longer"
        )
    config = AdaLoraConfig(
        **settings.model_dump(),
        lora_alpha=alpha,
        lora_dropout=dropout,
        total_step=steps,
        target_modules=modules,
        bias="none",
        task_type="CAUSAL_LM",
    )

    def start(wrapper: LoraLayer, name: str) -> None:
        generator = torch.Generator().manual_seed(streams.number("adapter-init", name))
        for factors, deviation in ((wrapper.lora_A, 0.02), (wrapper.lora_E, 0.0), (wrapper.lora_B, 0.02)):
            value = deviation * torch.randn(factors[ADAPTER].shape, generator=generator)
            dtype = torch.promote_types(factors[ADAPTER].dtype, torch.float32)
            factors[ADAPTER] = nn.Parameter(value.to(factors[ADAPTER].device, dtype))
        # PEFT declares the number of ranks frozen, and thaws it where it casts it to another type.
        wrapper.ranknum[ADAPTER].requires_grad_(False)

    return _inject(model, layers, config, streams, start)


def _inject(
    model: PreTrainedModel,
    layers: Sequence[Layer],
    config: LoraConfig,
    streams: Streams,
    start: Callable[[LoraLayer, str], None],
) -> PeftModel:
    if not layers:
        raise UserError("no layer is selected, so there is nothing to adapt")
    modules, parameters = sorted(config.target_modules or ()), config.target_parameters
    restorer = Restorer(model)
    try:
        with isolated(streams.number("adapter-init")):
            peft_model = _wrap(model, config)
        wrappers = wrapped_layers(model)
        assert_same({layer.name for layer in layers}, set(wrappers))
    except LayersigError:
        restorer.restore()
        raise
    # PEFT may have shortened the list to suffixes; full names are what an export must carry.
    config.target_modules, config.target_parameters = modules, parameters
    for name, wrapper in wrappers.items():
        start(wrapper, name)
    injections[peft_model] = Injection(restorer, frozen_state(peft_model))
    return peft_model


def _wrap(model: PreTrainedModel, config: LoraConfig) -> PeftModel:
    try:
        with expected_warnings():
            return cast(PeftModel, get_peft_model(model, config))
    except (ValueError, TypeError, RuntimeError) as error:
        if is_machine_fault(error):
            raise
        raise UserError(
            f"PEFT cannot adapt {type(model).__name__} ({model.config.model_type}): {one_line(error)}; leave such "
            "layers out"
        ) from error


def targets(
    model: PreTrainedModel, layers: Sequence[Layer], *, modules_only: bool = False
) -> tuple[list[str], list[str]]:
    """Sorted full names for `target_modules` and for `target_parameters`.

    In models with fused experts PEFT takes a linear module for an expert of an older format when it bears an
    expert's name (`shared_expert.down_proj`). Its weight is then targeted as a parameter.

    Raises:
        UserError: A parameter would be targeted where only modules may be.
    """
    taken = {kind: _taken_for_expert(model, kind) for kind in {layer.name.rpartition(".")[2] for layer in layers}}
    modules: list[str] = []
    parameters: list[str] = []
    for layer in layers:
        if layer.is_parameter:
            parameters.append(layer.name)
        elif taken[layer.name.rpartition(".")[2]]:
            parameters.append(f"{layer.name}.weight")
        else:
            modules.append(layer.name)
    if parameters and modules_only:
        raise UserError(
            f"this tuning method cannot tune {min(parameters)}: PEFT has it for linear modules only, not for experts; "
            'write train.method = "lora", or leave such layers out'
        )
    return sorted(modules), sorted(parameters)


def _taken_for_expert(model: PreTrainedModel, name: str) -> bool:
    config = LoraConfig(target_modules=[name])
    try:
        convert_peft_config_for_transformers(config, model, None)
    except ValueError:
        return True
    return name not in (config.target_modules or ())


def _initialise(wrapper: LoraLayer, seed: int) -> None:
    a, b = wrapper.lora_A[ADAPTER], wrapper.lora_B[ADAPTER]
    dtype = torch.promote_types(a.weight.dtype, torch.float32)
    start = torch.empty(a.weight.shape, dtype=torch.float32)
    nn.init.kaiming_uniform_(start, a=math.sqrt(5), generator=torch.Generator().manual_seed(seed))
    a.weight = nn.Parameter(start.to(a.weight.device, dtype))
    b.weight = nn.Parameter(torch.zeros_like(b.weight, dtype=dtype))
    for magnitude in wrapper.lora_magnitude_vector.values():
        # Of DoRA. PEFT's start is rounded to the type of the weight, which would be a change before any training.
        weight = wrapper.get_base_layer().weight.detach().to(dtype)
        turned = weight.mT if wrapper.fan_in_fan_out else weight
        magnitude.weight = nn.Parameter(torch.linalg.vector_norm(turned, dim=1))


def assert_same(selected: set[str], wrapped: set[str]) -> None:
    """Refuse that PEFT adapted other layers than the selected ones.

    Raises:
        StageFailed: It did.
    """
    if selected != wrapped:
        raise StageFailed(
            "PEFT did not adapt the selected layers: "
            f"missing {sorted(selected - wrapped) or 'none'}, not selected {sorted(wrapped - selected) or 'none'}"
        )


def frozen_state(model: nn.Module) -> dict[str, int]:
    """Hashes of the values of everything that is not trained."""
    frozen = {name: parameter for name, parameter in model.named_parameters() if not parameter.requires_grad}
    return dict(zip(frozen, hash_values(frozen.values()), strict=True))
