"""Examples end to end in one row, without padding, and the attention that keeps them apart.

Every layer except attention then works on real tokens only. On short examples plain matrix products are also several
times faster on a CPU than the backward pass of torch's scaled-dot-product kernel. Scores are computed in float32 or
wider, because rounding them to bfloat16 would change gradients; probabilities and their gradients have the type of the
values.

On a GPU the same layout goes through `layersig.fast.varlen`.

Plain twin: the model's own attention on padded examples.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from transformers import PreTrainedModel

from layersig.errors import one_line
from layersig.fast import profile, varlen
from layersig.fast.attention import attending, register, scale_of, window_of
from layersig.fast.head import logits_at
from layersig.models.devices import sent

_NAME = "layersig_packed"
_DRAWS = 3
"""Draws of random tokens that a model is tried out on, until its results agree."""
# Queries at a time: a block sees the keys up to its end only, which saves up to half of a long example's products.
_BLOCK = 128


class _Attention(torch.autograd.Function):
    """Causal attention of each example; query heads that share a key head are stacked, so keys are never repeated.

    For one example and one key head, with the rows of all its query heads stacked, Q (m, d), K (t, d), V (t, v), the
    scale c, and M the causal mask (0 or minus infinity):

        S = c Q K' + M,   P = softmax(S) by row,   O = P V        (m, t), (m, t), (m, v)

    Let G = dL/dO (m, v). By the chain rule, and with the Jacobian of a softmax, dS = P * (dP - rowsum(P * dP)):

        dL/dV = P' G               (t, v)
        dL/dP = G V'               (m, t)
        dL/dS = P * (dP - rowsum(P * dP))         `torch._softmax_backward_data`
        dL/dQ = c dS K             (m, d)
        dL/dK = c dS' Q            (t, d)

    Masked entries of P are 0, and so are those of dS. Queries are taken in blocks of rows: a block needs only the keys
    up to its own end, and its contributions to dK and dV are summed in float32 or wider.
    """

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, bounds: Sequence[int], scale: float) -> Tensor:
        heads, groups = query.shape[1], key.shape[1]
        output = value.new_empty(query.shape[2], heads, value.shape[-1])
        saved = []
        for start, end in pairwise(bounds):
            keys, values = (each[0, :, start:end].contiguous() for each in (key, value))
            saved += [keys, values]
            for first, last in _blocks(end - start):
                queries = _stacked(query, start + first, start + last, groups)
                weights = _weights(queries, keys[:, :last], scale)
                _put(output[start + first : start + last], weights @ values[:, :last])
                saved += [queries, weights]
        ctx.save_for_backward(*saved)
        ctx.bounds, ctx.scale = bounds, scale
        ctx.shapes = query.shape, key.shape, value.shape
        return output[None]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        # Rows outside, heads inside, as the model's own projections want them.
        grads = [grad.new_empty(shape[2], shape[1], shape[3]) for shape in ctx.shapes]
        groups = ctx.shapes[1][1]
        upper_heads = grad.transpose(1, 2)
        saved = iter(ctx.saved_tensors)
        for start, end in pairwise(ctx.bounds):
            keys, values = next(saved), next(saved)
            grad_keys, grad_values = (torch.zeros_like(each, dtype=_wide(each)) for each in (keys, values))
            for first, last in _blocks(end - start):
                queries, weights = next(saved), next(saved)
                upper = _stacked(upper_heads, start + first, start + last, groups)
                slope = torch._softmax_backward_data(upper @ values[:, :last].mT, weights, -1, weights.dtype)
                _put(grads[0][start + first : start + last], (slope @ keys[:, :last]).mul_(ctx.scale))
                grad_keys[:, :last] += slope.mT @ queries
                grad_values[:, :last] += weights.mT @ upper
            _put(grads[1][start:end], grad_keys.mul_(ctx.scale))
            _put(grads[2][start:end], grad_values)
        return *(each.transpose(0, 1)[None] for each in grads), None, None


def _blocks(length: int) -> list[tuple[int, int]]:
    return [(first, min(first + _BLOCK, length)) for first in range(0, length, _BLOCK)]


def _wide(values: Tensor) -> torch.dtype:
    return torch.promote_types(values.dtype, torch.float32)


def _stacked(heads: Tensor, start: int, end: int, groups: int) -> Tensor:
    """Rows [start, end) of [1, heads, T, width] as [groups, heads / groups * rows, width]."""
    return heads[0, :, start:end].reshape(groups, -1, heads.shape[-1])


def _put(rows: Tensor, heads: Tensor) -> None:
    """Write stacked heads into [rows, heads, width]."""
    rows.transpose(0, 1).copy_(heads.view(rows.shape[1], rows.shape[0], -1))


def _weights(queries: Tensor, keys: Tensor, scale: float) -> Tensor:
    """Probabilities of the last rows of `keys` as queries, [groups, stacked rows, keys]."""
    wide = _wide(queries)
    scores = torch.bmm(queries.to(wide) * scale, keys.to(wide).mT)
    length = keys.shape[1]
    rows = length - (length - 1) // _BLOCK * _BLOCK
    scores.view(-1, rows, length)[..., length - rows :].add_(_future(rows, wide, scores.device))
    return torch.softmax(scores, -1).to(queries.dtype)


@lru_cache(256)
def _future(rows: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.full((rows, rows), float("-inf"), dtype=dtype, device=device).triu_(1)


def _attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    example_bounds: Sequence[int] = (),
    **kwargs: Any,
) -> tuple[Tensor, None]:
    scale = scale_of(query, scaling, kwargs)
    longest = max(end - start for start, end in pairwise(example_bounds))
    if not getattr(module, "is_causal", True) or (sliding_window is not None and longest > sliding_window):
        raise NotImplementedError("packed attention knows no such window")
    return _Attention.apply(query, key, value, example_bounds, scale), None  # type: ignore[no-untyped-call]


register(_NAME, _attention)


def packed_inputs(tokens: Sequence[Tensor], device: torch.device) -> dict[str, Any]:
    """Arguments of a model's forward inside `packed`, for examples given as int64 [length] each on the host."""
    bounds = [0]
    for each in tokens:
        bounds.append(bounds[-1] + len(each))
    positions = torch.cat([torch.arange(len(each)) for each in tokens])
    return {
        "input_ids": sent(torch.cat(list(tokens))[None], device),
        "position_ids": sent(positions[None], device),
        "example_bounds": tuple(bounds),
        "example_starts": sent(torch.tensor(bounds, dtype=torch.int32), device),
    }


@contextmanager
def packed(model: PreTrainedModel) -> Iterator[None]:
    """Within this context the model takes `packed_inputs` and nothing else."""
    with attending(model, varlen.NAME if profile.profile_of(model.device).varlen else _NAME):
        yield


def why_padded(model: PreTrainedModel, longest: int) -> str | None:
    """Why a model does not compute on packed examples what it computes on padded ones; None where it does.

    Tried out on a few tokens, since there are many ways in which a model can let neighbours of a row see each other
    (convolutions, state-space layers, positions that ignore `position_ids`).

    Args:
        model: The model, as it will be run.
        longest: Tokens of the longest example. A sliding window shorter than that speaks against packing on a CPU, and
            is tried out on a GPU; a chunk shorter than that speaks against it everywhere.
    """
    config = model.config.get_text_config()
    window, chunk = window_of(config), getattr(config, "attention_chunk_size", None)
    own = profile.profile_of(model.device).varlen
    if own and not varlen.runs(model.device, model.dtype):
        return f"this torch has no variable-length attention for {model.dtype} on {model.device.type}"
    if model.config._attn_implementation != "sdpa":
        return f"its attention is {model.config._attn_implementation!r}"
    if not model._supports_attention_backend:
        return "transformers lets it have no attention but its own"
    if not own and window is not None and window < longest:
        return f"its window of {window} tokens is shorter than the longest conversation"
    if chunk is not None and chunk < longest:
        return f"its chunks of {chunk} tokens are shorter than the longest conversation"
    seen = 5 if window is None or window >= longest else window + 5
    generator = torch.Generator().manual_seed(0)
    try:
        # Rounding alone can exceed the bound on some tokens, in bfloat16 after training at a high learning rate; what
        # neighbours see of each other exceeds it on all.
        alike = any(_is_alike(model, seen, generator) for _ in range(_DRAWS))
    except (torch.OutOfMemoryError, torch.AcceleratorError):
        raise
    except (TypeError, ValueError, NotImplementedError) as error:
        return f"packed rows end in an error: {one_line(error)}"
    except RuntimeError as error:
        if own:  # what the kernel refuses: sizes of heads, old devices
            return f"packed rows end in an error: {one_line(error)}"
        raise
    return None if alike else "its results on packed rows are not its own"


def _is_alike(model: PreTrainedModel, seen: int, generator: torch.Generator) -> bool:
    """Whether a model computes the same on random tokens alone, and behind two other examples in a packed row."""
    size = model.config.get_text_config().vocab_size
    first, second, other = (torch.randint(size, (count,), generator=generator) for count in (7, seen, 7))
    alone = _last_logits(model, {"input_ids": second[None].to(model.device)})
    with packed(model):
        behind, behind_other = (
            _last_logits(model, packed_inputs((each, second), model.device)) for each in (first, other)
        )
    rounding = (1e-3 if torch.finfo(alone.dtype).bits > 16 else 5e-2) * alone.norm()
    return bool((behind - alone).norm() < rounding and (behind - behind_other).norm() < rounding)


def _last_logits(model: PreTrainedModel, inputs: dict[str, Any]) -> Tensor:
    """Logits of the last five positions of a row."""
    length = inputs["input_ids"].shape[1]
    with torch.no_grad(), logits_at(model, torch.arange(length - 5, length, device=model.device)):
        return model(**inputs, use_cache=False).logits  # type: ignore[no-any-return]
