"""Finds PEFT's wrappers in a model by the layer they adapt, and takes them out without a trace."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from peft.tuners.lora import LoraLayer
from peft.tuners.lora.layer import ParamWrapper
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

# PEFT's name of the one adapter that a model carries here.
ADAPTER = "default"

# Each of these is answered elsewhere: a tied head is adapted on purpose and its embedding is not saved; PEFT sets
# fan_in_fan_out by itself; patterns for expert parameters do apply although PEFT looks for modules only; PEFT asks a
# property of transformers by its old name.
_EXPECTED_WARNINGS = (
    r"Model has `tie_word_embeddings=True` and a tied layer is part of the adapter",
    r"Model with `tie_word_embeddings=True` and the tied_target_modules=",
    r"fan_in_fan_out is set to (True|False) but the target module is",
    r"The following (rank|alpha)_pattern keys did not match any targeted module",
    r"`is_gradient_checkpointing` is deprecated",
)


@contextmanager
def expected_warnings() -> Iterator[None]:
    """Silences the warnings of PEFT that are known and dealt with; every other one still shows."""
    with warnings.catch_warnings():
        for message in _EXPECTED_WARNINGS:
            warnings.filterwarnings("ignore", message=message)
        yield


def wrapped_layers(model: nn.Module) -> dict[str, LoraLayer]:
    """PEFT's wrapper of every adapted layer, by the layer's name in the model without adapters."""
    wrappers: dict[str, LoraLayer] = {}
    for name, module in model.named_modules():
        if isinstance(module, ParamWrapper):
            owner = name
            while owner.endswith(".base_layer"):
                owner = owner.removesuffix(".base_layer")
            is_linear = isinstance(module.get_base_layer(), nn.Linear | Conv1D)
            wrappers[owner if is_linear else f"{owner}.{module.parameter_name}"] = module
        elif isinstance(module, LoraLayer):
            wrappers[name] = module
    return wrappers


class Restorer:
    """Remembers a model without adapters, and makes it so again whatever PEFT did to it.

    Taking out the wrappers is not enough. PEFT parametrizes expert parameters during every forward pass, and torch
    registers a parameter anew when its parametrization is removed. That changes the order in which a module lists its
    parameters, by which PEFT nests the wrappers of the next adapter, and so the meaning of the keys in its file.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self._model = model
        self._orders = [(module, tuple(module._parameters)) for module in model.modules() if module._parameters]
        self._gradients = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
        self._modes = [(module, module.training) for module in model.modules()]

    def restore(self) -> None:
        """Take out every wrapper; put back the order of parameters, their need of gradients, and train or eval mode."""
        outermost = ""
        for name, module in list(self._model.named_modules()):
            if isinstance(module, LoraLayer) and not (outermost and name.startswith(f"{outermost}.")):
                outermost = name
                self._model.set_submodule(name, module.get_base_layer())
        if hasattr(self._model, "peft_config"):
            del self._model.peft_config
        for module, names in self._orders:
            for name in names:
                module._parameters[name] = module._parameters.pop(name)
        for parameter, requires_grad in self._gradients:
            parameter.requires_grad_(requires_grad)
        for module, training in self._modes:
            module.training = training
