"""What is checked of every component, and what of a model must be left as it was."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from layersig.plugin.components import Component, Kind, declared


def component_of(target: object, kind: Kind) -> Component:
    """The component that a decorated function or class is."""
    component = target if isinstance(target, Component) else declared(target)
    assert component is not None, f"{target!r} is not decorated with @{kind}"
    assert component.kind == kind, f"{component.label} is not a {kind}"
    return component


def check_parameters(component: Component, given: Mapping[str, Any]) -> None:
    """Check that parameters parse, unknown ones are refused, and all have a JSON schema.

    Raises:
        pydantic.ValidationError: `given` are refused.
        AssertionError: Unknown ones are not.
    """
    component.parse(given)
    try:
        component.parse({**given, "no-such-parameter": 1})
    except ValidationError:
        pass
    else:
        raise AssertionError(f"{component.label} takes unknown parameters; derive `Params` from `layersig.Params`")
    component.params.model_json_schema()


def model_contents(model: nn.Module) -> dict[str, Any]:
    """Weights, gradients, hooks and modes of a model, each under a name for messages."""
    found: dict[str, Any] = {f"the weight {name}": value.clone() for name, value in model.state_dict().items()}
    for name, parameter in model.named_parameters():
        found[f"requires_grad of {name}"] = parameter.requires_grad
        found[f"the gradient of {name}"] = None if parameter.grad is None else parameter.grad.clone()
    for name, module in model.named_modules():
        found[f"hooks or mode of {name or 'the model'}"] = _habits(module)
    return found


def changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Names of what differs, or is new."""
    found = [name for name, value in before.items() if not _same(value, after.get(name))]
    return found + sorted(after.keys() - before.keys())


def _habits(module: nn.Module) -> tuple[Any, ...]:
    hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)
    return type(module), module.training, "forward" in vars(module), *map(len, hooks)


def _same(before: Any, after: Any) -> bool:
    if isinstance(before, Tensor) and isinstance(after, Tensor):
        return torch.equal(before, after)
    return bool(before == after)
