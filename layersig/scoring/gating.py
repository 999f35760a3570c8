"""Runs a base model with a share of an update: the effective weight of layer i is W_i + gamma_i * Delta_i.

This is the masked model of ILA (arXiv 2410.17875, definition of gamma) with real gates instead of {0, 1}. Weights and
update are only read. The gradient of a gate needs the gradient at the layer's output, not the weight's: with
Delta = scale * B A it is scale * <g B, x A'>, an inner product of r-dimensional vectors. A linear layer with a low-rank
update runs as one node of the autograd graph; other layers, and other updates, add their change to its output.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from transformers import PreTrainedModel

from layersig.errors import UserError
from layersig.fast.lora import lora_linear
from layersig.fast.workers import PerThread
from layersig.models.updates import Delta, Update


class Gates:
    """The gates of a running `gated` block."""

    def __init__(self, gamma: Tensor, layers: tuple[str, ...]) -> None:
        self.layers = layers
        self._each: PerThread[tuple[Tensor, ...]] = PerThread(())
        self.set(gamma)

    def set(self, gamma: Tensor) -> None:
        """Replace the gates, between forward passes; every thread has its own.

        Args:
            gamma: (layers of the update,), in their order; may require a gradient.
        """
        if gamma.shape != (len(self.layers),):
            raise ValueError(f"gamma has shape {tuple(gamma.shape)} instead of ({len(self.layers)},)")
        # One node of the graph for all layers, not one for each.
        self._each.value = gamma.unbind()

    def of(self, index: int) -> Tensor:
        """The gate of a layer, a scalar."""
        return self._each.value[index]


@contextmanager
def gated(model: PreTrainedModel, update: Update, gamma: Tensor, *, fast: bool = True) -> Iterator[Gates]:
    """Within the block, `model` computes with W_i + gamma_i * Delta_i in every layer of `update`.

    The factors are copied once, in the dtype of the model; gradients of gates are accumulated in float32 or wider.

    Args:
        model: The base model, without adapters.
        update: What training changed.
        gamma: (layers of the update,), in the order of `update.layers`.
        fast: False leaves every derivative to autograd.

    Yields:
        The gates, which may be replaced inside the block, as an optimizer over scores needs.

    Raises:
        UserError: The update holds a layer that the model has not.
    """
    gates = Gates(gamma, update.layers)
    with ExitStack() as hooks:
        for index, name in enumerate(update.layers):
            owner_name, _, attribute = name.rpartition(".")
            try:
                owner = model.get_submodule(owner_name)
                target = getattr(owner, attribute)
            except AttributeError as error:
                raise UserError(f"the update changes {name}, which the model does not have") from error
            delta = update.delta(name)
            if fast and type(target) is nn.Linear and delta.a is not None and target.weight.dtype == model.dtype:
                _gate_linear(target, delta.to(model.device, model.dtype), gates, index, hooks)
            elif isinstance(target, nn.Module):
                _gate_module(target, delta.to(model.device, model.dtype), gates, index, hooks, fast=fast)
            else:
                _gate_parameter(owner, attribute, delta.to(target.device, target.dtype), gates, index, hooks, fast=fast)
        yield gates


def _gate_linear(module: nn.Linear, delta: Delta, gates: Gates, index: int, hooks: ExitStack) -> None:
    module.forward = partial(_linear, module, delta, gates, index)  # type: ignore[method-assign]
    hooks.callback(module.__dict__.pop, "forward")


def _linear(module: nn.Linear, delta: Delta, gates: Gates, index: int, x: Tensor) -> Tensor:
    assert delta.a is not None
    if module.weight.requires_grad:  # the one node knows no gradient of the weight
        change: Tensor = _GatedProduct.apply(x, gates.of(index), delta.a, delta.b, delta.scale)  # type: ignore[no-untyped-call]
        return nn.functional.linear(x, module.weight, module.bias) + change
    scale = gates.of(index) * delta.scale
    return lora_linear(x, module.weight, module.bias, delta.a, delta.b, scale=scale)


def _gate_module(module: nn.Module, delta: Delta, gates: Gates, index: int, hooks: ExitStack, *, fast: bool) -> None:
    product: Callable[..., Tensor] = _GatedProduct.apply if fast else _plain_product

    def add(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        return output + product(inputs[0], gates.of(index), delta.a, delta.b, delta.scale)

    hooks.callback(module.register_forward_hook(add).remove)


def _gate_parameter(
    owner: nn.Module, name: str, delta: Delta, gates: Gates, index: int, hooks: ExitStack, *, fast: bool
) -> None:
    change: Callable[..., Tensor] = _GatedDelta.apply if fast else _plain_delta
    parameter = owner.get_parameter(name)
    if getattr(owner, "is_transposed", False):
        delta = _transposed(delta)

    # Python finds an attribute in an instance's `__dict__` before `nn.Module.__getattr__` looks into its parameters. A
    # tensor put there hides the parameter of the same name while the module's forward runs, without registering or
    # copying anything; the hook behind the forward takes it out again, after an exception too.
    def enter(module: nn.Module, _: Any) -> None:
        module.__dict__[name] = parameter + change(gates.of(index), delta.a, delta.b, delta.scale)

    def leave(module: nn.Module, *_: Any) -> None:
        module.__dict__.pop(name, None)

    hooks.callback(owner.register_forward_pre_hook(enter).remove)
    hooks.callback(owner.register_forward_hook(leave, always_call=True).remove)


def _transposed(delta: Delta) -> Delta:
    """For parameters that are stored as (experts, in, out)."""
    if delta.a is None:
        return Delta(delta.b.mT, None, delta.scale)
    return Delta(delta.a.mT, delta.b.mT, delta.scale)


def _plain_product(x: Tensor, gamma: Tensor, a: Tensor | None, b: Tensor, scale: float) -> Tensor:
    """What `_GatedProduct` computes."""
    hidden = x.to(b.dtype) if a is None else x.to(b.dtype) @ a.mT
    return (hidden @ b.mT) * (gamma * scale).to(b.dtype)


def _plain_delta(gamma: Tensor, a: Tensor | None, b: Tensor, scale: float) -> Tensor:
    """What `_GatedDelta` computes."""
    return (b if a is None else b @ a) * (gamma * scale).to(b.dtype)


class _GatedProduct(torch.autograd.Function):
    """gamma * scale * (x A') B' for x (..., in); without A, gamma * scale * x B'.

    With H = x A' (n, r), Y = gamma s H B' (n, out), G = dL/dY (n, out) and P = G B (n, r):

        dL/dx = gamma s P A              (n, in)
        dL/dgamma = s <G, H B'> = s <P, H>       scalar

    Without A, H = x and P = G B (n, in), and the same lines hold with A left out. Neither the update B A nor the
    gradient of the weight, both (out, in), is ever formed.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, gamma: Tensor, a: Tensor | None, b: Tensor, scale: float) -> Tensor:
        hidden = x.to(b.dtype) if a is None else x.to(a.dtype) @ a.mT
        ctx.save_for_backward(hidden, gamma, a, b)
        ctx.scale, ctx.dtype = scale, x.dtype
        return (hidden @ b.mT) * (gamma * scale).to(hidden.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        hidden, gamma, a, b = ctx.saved_tensors
        projected = gradient @ b
        for_x = for_gamma = None
        if ctx.needs_input_grad[0]:
            for_x = (projected if a is None else projected @ a) * (gamma * ctx.scale).to(projected.dtype)
            for_x = for_x.to(ctx.dtype)
        if ctx.needs_input_grad[1]:
            for_gamma = ctx.scale * _inner(projected, hidden).to(gamma)
        return for_x, for_gamma, None, None, None


class _GatedDelta(torch.autograd.Function):
    """gamma * scale * B A as a tensor of the parameter's shape; without A, gamma * scale * B.

    With G the gradient at the parameter, (..., out, in): dL/dgamma = s <G, B A> = s <B' G, A>, products of r rows.
    """

    @staticmethod
    def forward(ctx: Any, gamma: Tensor, a: Tensor | None, b: Tensor, scale: float) -> Tensor:
        ctx.save_for_backward(gamma, a, b)
        ctx.scale = scale
        return (b if a is None else b @ a) * (gamma * scale).to(b.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        gamma, a, b = ctx.saved_tensors
        inner = _inner(gradient, b) if a is None else _inner(b.mT @ gradient, a)
        return ctx.scale * inner.to(gamma), None, None, None


def _inner(left: Tensor, right: Tensor) -> Tensor:
    """Sum of products, accumulated in float32 or wider."""
    wide = torch.promote_types(left.dtype, torch.float32)
    return torch.dot(left.reshape(-1).to(wide), right.reshape(-1).to(wide))
