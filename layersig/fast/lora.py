"""A faster forward and backward pass of PEFT's LoRA linear layers.

PEFT casts a layer's input to float32 and multiplies there; over bfloat16 weights that takes much of the time of a step
on a CPU. Here one autograd function computes the layer in the type of the frozen weight, adds the low-rank part to the
result in place, and saves only one matrix of `rank` columns besides the input. The factors stay float32 and are cast in
every forward pass, which costs a thousandth of the layer's work and can never be stale.

Plain twin: PEFT's own forward with the same `KeyedDropout`. Layers that the fast path does not support use it, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from peft.tuners.lora import Linear as LoraLinear
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from layersig.fast.dropout import KeyedDropout


def lora_linear(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    a: Tensor,
    b: Tensor,
    *,
    scale: float | Tensor,
    keep: Tensor | None = None,
) -> Tensor:
    """One node of the autograd graph for x W' + bias + scale * ((x * keep) A') B', in the type of x and W.

    Gradients go to x, a, b and scale; those of a, b and scale come in their own types.

    Args:
        x: [..., in].
        weight: Frozen, [out, in].
        bias: Frozen, [out], or None.
        a: [rank, in].
        b: [out, rank].
        scale: Factor of the low-rank part; a scalar tensor may require a gradient (a gate), which costs only
            rank-wide products.
        keep: Zeros and ones that drop entries of the low-rank part's input: x's shape with the leading axes flattened.
    """
    return _LoraFunction.apply(x, weight, bias, a, b, scale, keep)  # type: ignore[no-any-return, no-untyped-call]


class _LoraFunction(torch.autograd.Function):
    """Forward and backward of `lora_linear`.

    With n rows x (n, in), keep-mask K (n, in) of zeros and ones, s the scale, and * entry by entry:

        H = (x * K) A'                   (n, rank)
        Y = x W' + bias + s H B'         (n, out)

    Let G = dL/dY (n, out) and P = G B (n, rank). By the chain rule:

        dL/dB = s G' H                   (out, rank)
        dL/dA = s P' (x * K)             (rank, in)
        dL/dx = G W + (s P A) * K        (n, in)
        dL/ds = <G, H B'> = <P, H>       scalar

    The last line is why a gate costs only products of `rank` columns: <G, H B'> = tr(G' H B') = tr((G B)' H). H is
    saved and x * K is formed again, since a mask in the type of x is cheaper to keep than the product.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        a: Tensor,
        b: Tensor,
        scale: float | Tensor,
        keep: Tensor | None,
    ) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])
        inner = (rows if keep is None else rows * keep) @ a.to(x.dtype).T
        y = nn.functional.linear(rows, weight, bias)
        y.addmm_(inner * scale, b.to(x.dtype).T)
        ctx.gated = isinstance(scale, Tensor)
        ctx.save_for_backward(rows, weight, a, b, keep, inner, scale if ctx.gated else None)
        ctx.scale = None if ctx.gated else scale
        return y.view(*x.shape[:-1], weight.shape[0])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        rows, weight, a, b, keep, inner, gate = ctx.saved_tensors
        scale = gate if ctx.gated else ctx.scale
        needs_x, _, _, needs_a, needs_b, needs_scale, _ = ctx.needs_input_grad
        upper = grad.reshape(-1, grad.shape[-1])
        lower = upper @ b.to(upper.dtype)
        grad_x = grad_a = grad_b = grad_scale = None
        if needs_scale:
            wide = torch.promote_types(lower.dtype, torch.float32)
            grad_scale = torch.dot(lower.reshape(-1).to(wide), inner.reshape(-1).to(wide)).to(gate.dtype)
        if needs_b:
            grad_b = (upper.T @ (inner * scale)).to(b.dtype)
        lower = lower * scale
        if needs_a:
            grad_a = (lower.T @ (rows if keep is None else rows * keep)).to(a.dtype)
        if needs_x:
            flat = upper @ weight
            if keep is None:
                flat.addmm_(lower, a.to(upper.dtype))
            else:
                flat.addcmul_(lower @ a.to(upper.dtype), keep)
            grad_x = flat.view(*grad.shape[:-1], weight.shape[1])
        return grad_x, None, None, grad_a, grad_b, grad_scale, None


def _forward(layer: LoraLinear, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    base: nn.Linear = layer.base_layer
    adapter = layer.active_adapters[0]
    if args or kwargs or layer.disable_adapters or layer.merged or x.dtype != base.weight.dtype:
        return LoraLinear.forward(layer, x, *args, **kwargs)  # type: ignore[no-any-return]
    dropout = layer.lora_dropout[adapter]
    keep = dropout.kept(x) if isinstance(dropout, KeyedDropout) else None
    scale = layer.scaling[adapter] if keep is None else layer.scaling[adapter] / (1 - dropout.p)
    a, b = layer.lora_A[adapter].weight, layer.lora_B[adapter].weight
    return lora_linear(x, base.weight, base.bias, a, b, scale=scale, keep=keep)


def _known(layer: LoraLinear) -> bool:
    """Whether `_forward` computes what PEFT's forward of this layer would."""
    if type(layer.base_layer) is not nn.Linear or len(layer.active_adapters) != 1:
        return False
    adapter = layer.active_adapters[0]
    return (
        adapter in layer.lora_A
        and adapter not in layer.lora_variant
        and not layer.lora_bias[adapter]
        and not any(parameter.requires_grad for parameter in layer.base_layer.parameters())
        and _known_dropout(layer.lora_dropout[adapter])
    )


def _known_dropout(dropout: nn.Module) -> bool:
    return isinstance(dropout, nn.Identity | KeyedDropout) or (type(dropout) is nn.Dropout and not dropout.training)


@contextmanager
def fast_lora(model: nn.Module) -> Iterator[int]:
    """Within this context the LoRA linear layers of a PEFT model run through `lora_linear`.

    Equal to PEFT's forward up to rounding: products are taken in the type of the frozen weight, with sums in float32
    inside a product; gradients of the factors arrive, and are summed over micro-batches, in the factors' float32.
    Layers that the fast path does not support (quantised weights, DoRA, several adapters, trained base weights, a plain
    `nn.Dropout` in training mode) keep PEFT's forward.

    Yields:
        How many layers run on the fast path.
    """
    layers = [layer for layer in model.modules() if type(layer) is LoraLinear and _known(layer)]
    try:
        for layer in layers:
            layer.forward = partial(_forward, layer)
        yield len(layers)
    finally:
        for layer in layers:
            del layer.forward
