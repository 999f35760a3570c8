"""Adapters in a live model: proved to have moved, attached for evaluation, taken out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from peft import AdaLoraConfig, PeftModel
from peft.tuners.adalora.layer import AdaLoraLayer
from peft.tuners.lora import LoraLayer
from torch import Tensor
from transformers import PreTrainedModel

from layersig.errors import Diverged, StageFailed, first_few
from layersig.layers import Layer
from layersig.models.adapters.adalora import EPSILON, load_exactly
from layersig.models.adapters.files import adapted_layers
from layersig.models.adapters.inject import assert_same, frozen_state, injections
from layersig.models.adapters.wrappers import ADAPTER, Restorer, expected_warnings, wrapped_layers
from layersig.models.isolation import isolated
from layersig.models.layermap import layer_map
from layersig.models.updates import Delta, rescaled


def adapter_layers(peft_model: PeftModel) -> set[str]:
    """Full names of the adapted layers, as in the model without adapters."""
    return set(wrapped_layers(peft_model.get_base_model()))


def dropouts(peft_model: PeftModel) -> dict[str, float]:
    """The dropout that each adapted layer is trained with: the requested one, and 0 on fused experts."""
    return {
        name: float(getattr(wrapper.lora_dropout[ADAPTER], "p", 0.0))
        for name, wrapper in wrapped_layers(peft_model.get_base_model()).items()
    }


def assert_moved(
    peft_model: PeftModel, layers: Sequence[Layer], delta: Callable[[str, LoraLayer], Delta] | None = None
) -> None:
    """Prove that training changed the selected layers and nothing else.

    Args:
        peft_model: From `inject_lora` or `inject_adalora`.
        layers: The selected layers.
        delta: The change of a layer, by its name and PEFT's wrapper, where it is not what `live_delta` gives.

    Raises:
        StageFailed: The update of a selected layer is zero or not finite (AdaLoRA may give single layers no rank, not
            all of them), the adapted layers are not the selected ones, or another parameter is trainable or has
            changed since the injection.
    """
    wrappers = wrapped_layers(peft_model.get_base_model())
    assert_same({layer.name for layer in layers}, set(wrappers))
    norms = {
        name: (live_delta(wrapper) if delta is None else delta(name, wrapper)).norm()
        for name, wrapper in wrappers.items()
    }
    may_rest = any(norms.values()) and isinstance(peft_model.peft_config[ADAPTER], AdaLoraConfig)
    still = sorted(name for name, norm in norms.items() if not math.isfinite(norm) or (norm == 0 and not may_rest))
    if still:
        failure = StageFailed if all(map(math.isfinite, norms.values())) else Diverged
        raise failure(f"training left these layers without a finite, non-zero update: {first_few(sorted(still))}")
    added = {id(parameter) for wrapper in wrappers.values() for parameter in _added(wrapper)}
    trainable = [
        name
        for name, parameter in peft_model.named_parameters()
        if parameter.requires_grad and id(parameter) not in added
    ]
    if trainable:
        raise StageFailed(f"parameters outside the adapters are trainable: {', '.join(sorted(trainable))}")
    before, after = injections[peft_model].frozen, frozen_state(peft_model)
    changed = sorted(name for name in before if before[name] != after.get(name))
    if changed:
        raise StageFailed(f"frozen parameters have changed: {', '.join(changed)}")


def _added(wrapper: LoraLayer) -> Iterator[Tensor]:
    """The parameters that a wrapper has beside those of the layer that it wraps."""
    for name, parameter in wrapper.named_parameters():
        if not name.startswith("base_layer."):
            yield parameter


def live_delta(wrapper: LoraLayer) -> Delta:
    """The change of a layer of a live model: of LoRA, of AdaLoRA, or, dense, of DoRA."""
    if isinstance(wrapper, AdaLoraLayer):
        a, values, b = (factors[ADAPTER].detach() for factors in (wrapper.lora_A, wrapper.lora_E, wrapper.lora_B))
        return Delta(b, values * a, wrapper.scaling[ADAPTER] / (float(wrapper.ranknum[ADAPTER]) + EPSILON))
    a, b = wrapper.lora_A[ADAPTER].weight.detach(), wrapper.lora_B[ADAPTER].weight.detach()
    delta = Delta(b, a, wrapper.scaling[ADAPTER])
    if ADAPTER not in wrapper.lora_magnitude_vector:
        return delta
    weight = wrapper.get_base_layer().weight.detach()
    weight = weight.mT if wrapper.fan_in_fan_out else weight
    return rescaled(delta, wrapper.lora_magnitude_vector[ADAPTER].weight.detach(), weight)


def remove_adapter(peft_model: PeftModel) -> PreTrainedModel:
    """Take the adapter out and give back the model as it was before `inject_lora`."""
    injections.pop(peft_model).restorer.restore()
    return cast(PreTrainedModel, peft_model.get_base_model())


@contextmanager
def attach_adapter(model: PreTrainedModel, folder: Path) -> Iterator[PreTrainedModel]:
    """Evaluate `model` with a saved adapter; afterwards its weights and modules are bit for bit as before.

    Yields:
        `model` itself, its layers wrapped by PEFT with float32 factors, in eval mode.

    Raises:
        UserError: The folder is no adapter of this model, see `adapted_layers`.
        StageFailed: PEFT adapted other layers than the file holds.
    """
    adapted = adapted_layers(folder, layer_map(model, head=model.get_output_embeddings() is not None))
    restorer = Restorer(model)
    try:
        with isolated(0), expected_warnings():
            PeftModel.from_pretrained(model, folder, torch_device=str(model.device))
        wrappers = wrapped_layers(model)
        assert_same(set(adapted), set(wrappers))
        load_exactly(folder, wrappers)
        model.eval()
        yield model
    finally:
        restorer.restore()
