"""A faster forward and backward pass of PEFT's linear layers with low-rank factors.

PEFT casts a layer's input to float32 and multiplies there; over bfloat16 weights that takes much of the time of a step
on a CPU. Here one autograd function computes the layer in the type of the frozen weight, adds the low-rank part to the
result in place, and saves only one matrix of `rank` columns besides the input. The factors stay float32 and are cast in
every forward pass of a training, which costs a thousandth of the layer's work and can never be stale.

On a GPU quantized layers keep their own product, and their factors run as such a function; AdaLoRA's three factors run
as two, with A = diag(E) Q. On a CPU both keep PEFT's forward.

Plain twin: PEFT's own forward with the same `KeyedDropout`. Layers that the fast path does not support use it, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from peft.tuners.adalora import AdaLoraLayer
from peft.tuners.adalora.layer import SVDLinear
from peft.tuners.lora import Linear as LoraLinear
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from layersig.fast import profile
from layersig.fast.dropout import KeyedDropout, Mask

_QUANTIZED = "Linear4bit"
"""Name of the class of a quantized layer in bitsandbytes, and of PEFT's around it; both need not be installed."""
_EPSILON = 1e-5  # what PEFT adds to the rank of AdaLoRA before it divides by it
_Factors = tuple[Tensor, Tensor, float | Tensor]


def lora_linear(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    a: Tensor,
    b: Tensor,
    *,
    scale: float | Tensor,
    mask: Mask | None = None,
) -> Tensor:
    """One node of the autograd graph for x W' + bias + scale * ((x * mask) A') B', in the type of x and W.

    Gradients go to x, a, b and scale; those of a, b and scale come in their own types.

    Args:
        x: [..., in].
        weight: Frozen, [out, in]; None leaves x W' out.
        bias: Frozen, [out], or None.
        a: [rank, in].
        b: [out, rank].
        scale: Factor of the low-rank part; a scalar tensor may require a gradient (a gate), which costs only
            rank-wide products.
        mask: Which entries of the low-rank part's input are kept, as rows.
    """
    return _LoraFunction.apply(x, weight, bias, a, b, scale, mask)  # type: ignore[no-any-return, no-untyped-call]


class _LoraFunction(torch.autograd.Function):
    """Forward and backward of `lora_linear`.

    With n rows x (n, in), mask K (n, in) of zeros and ones, s the scale, and * entry by entry:

        H = (x * K) A'                   (n, rank)
        Y = x W' + bias + s H B'         (n, out)

    Let G = dL/dY (n, out) and P = G B (n, rank). By the chain rule:

        dL/dB = s G' H                   (out, rank)
        dL/dA = s P' (x * K)             (rank, in)
        dL/dx = G W + (s P A) * K        (n, in)
        dL/ds = <G, H B'> = <P, H>       scalar

    The last line is why a gate costs only products of `rank` columns: <G, H B'> = tr(G' H B') = tr((G B)' H). H is
    saved and x * K is formed again, since a mask is cheaper to keep, or to compute again, than the product.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        a: Tensor,
        b: Tensor,
        scale: float | Tensor,
        mask: Mask | None,
    ) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])
        inner = (rows if mask is None else mask.of(rows)) @ a.to(x.dtype).T
        factor = b.to(x.dtype).T
        if weight is None:
            y = (inner * scale) @ factor
        else:
            y = nn.functional.linear(rows, weight, bias)
            y.addmm_(inner * scale, factor)
        ctx.gated = isinstance(scale, Tensor)
        # Everything large is saved here, since gradient checkpointing drops what is saved and nothing else.
        drawn = None if mask is None else mask.tensor
        ctx.save_for_backward(rows, weight, a, b, drawn, inner, scale if ctx.gated else None)
        ctx.scale = None if ctx.gated else scale
        ctx.threshold = None if mask is None else mask.threshold
        return y.view(*x.shape[:-1], b.shape[0])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        rows, weight, a, b, drawn, inner, gate = ctx.saved_tensors
        mask = None if drawn is None else Mask(drawn, ctx.threshold)
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
            grad_a = (lower.T @ (rows if mask is None else mask.of(rows))).to(a.dtype)
        if needs_x:
            grad_x = _input_gradient(upper, weight, lower, a.to(upper.dtype), mask).view(*grad.shape[:-1], a.shape[1])
        return grad_x, None, None, grad_a, grad_b, grad_scale, None


def _input_gradient(upper: Tensor, weight: Tensor | None, lower: Tensor, a: Tensor, mask: Mask | None) -> Tensor:
    """G W + (s P A) * K, with s P as `lower`."""
    if weight is None:
        return lower @ a if mask is None else mask.of(lower @ a)
    flat = upper @ weight
    if mask is None:
        return flat.addmm_(lower, a)
    return mask.add_kept(flat, lower @ a)


def _forward(layer: LoraLayer, held: _Factors | None, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    base = layer.base_layer
    quantized = type(base) is not nn.Linear
    if args or kwargs or layer.disable_adapters or layer.merged or (not quantized and x.dtype != base.weight.dtype):
        return type(layer).forward(layer, x, *args, **kwargs)  # type: ignore[no-any-return]
    adapter = layer.active_adapters[0]
    dropout = layer.lora_dropout[adapter]
    mask = dropout.mask(x) if isinstance(dropout, KeyedDropout) else None
    a, b, scale = held or _factors(layer, adapter, x.dtype)
    if mask is not None:
        scale = scale / (1 - dropout.p)
    if quantized:
        own: Tensor = base(x)
        return own + lora_linear(x, None, None, a, b, scale=scale, mask=mask)
    return lora_linear(x, base.weight, base.bias, a, b, scale=scale, mask=mask)


def _factors(layer: LoraLayer, adapter: str, dtype: torch.dtype) -> _Factors:
    """A, B and the scale of B A, in float32 or wider."""
    if isinstance(layer, AdaLoraLayer):
        rank = (layer.ranknum[adapter][0] + _EPSILON).to(torch.promote_types(dtype, torch.float32))
        scale = layer.scaling[adapter] / rank
        return layer.lora_A[adapter] * layer.lora_E[adapter], layer.lora_B[adapter], scale
    return layer.lora_A[adapter].weight, layer.lora_B[adapter].weight, layer.scaling[adapter]


def _held(layer: LoraLayer) -> _Factors | None:
    """The factors in the type of the weight; None over a quantized layer, whose input tells the type."""
    if type(layer.base_layer) is not nn.Linear:
        return None
    dtype = layer.base_layer.weight.dtype
    a, b, scale = _factors(layer, layer.active_adapters[0], dtype)
    return a.detach().to(dtype), b.detach().to(dtype), scale.detach() if isinstance(scale, Tensor) else scale


def _known(layer: nn.Module) -> bool:
    """Whether `_forward` computes what PEFT's forward of this layer would."""
    if not isinstance(layer, LoraLayer) or len(layer.active_adapters) != 1:
        return False
    plain = type(layer) is LoraLinear and type(layer.base_layer) is nn.Linear
    if not plain and not (profile.profile_of(_device(layer)).low_rank_part and _has_low_rank_part(layer)):
        return False
    adapter = layer.active_adapters[0]
    return (
        adapter in layer.lora_A
        and adapter not in layer.lora_variant
        and not layer.lora_bias.get(adapter, False)
        and not getattr(layer, "fan_in_fan_out", False)
        and not any(parameter.requires_grad for parameter in layer.base_layer.parameters())
        and _known_dropout(layer.lora_dropout[adapter])
    )


def _has_low_rank_part(layer: LoraLayer) -> bool:
    """Whether a layer is an AdaLoRA layer, or one of either kind over a quantized layer."""
    if type(layer.base_layer) is nn.Linear:
        return type(layer) is SVDLinear
    return type(layer.base_layer).__name__ == _QUANTIZED and type(layer).__name__ in (_QUANTIZED, f"SVD{_QUANTIZED}")


def _device(layer: nn.Module) -> torch.device:
    return next(layer.parameters()).device


def _known_dropout(dropout: nn.Module) -> bool:
    return isinstance(dropout, nn.Identity | KeyedDropout) or (type(dropout) is nn.Dropout and not dropout.training)


@contextmanager
def fast_lora(model: nn.Module, *, frozen: bool = False) -> Iterator[int]:
    """Within this context the linear layers of a PEFT model run through `lora_linear`.

    Equal to PEFT's forward up to rounding: products are taken in the type of the frozen weight, with sums in float32
    inside a product; gradients of the factors arrive, and are summed over micro-batches, in the factors' float32.
    Layers that the fast path does not support (DoRA, several adapters, trained base weights, a plain `nn.Dropout` in
    training mode; on a CPU also AdaLoRA and quantized weights) keep PEFT's forward.

    Args:
        model: With adapters.
        frozen: Whether no factor moves within this context: they are cast once, not in every pass, which a model that
            writes makes for every token.

    Yields:
        How many layers run on the fast path.
    """
    layers = [layer for layer in model.modules() if _known(layer)]
    try:
        for layer in layers:
            layer.forward = partial(_forward, layer, _held(layer) if frozen else None)
        yield len(layers)
    finally:
        for layer in layers:
            del layer.forward
