"""Hashes of tensors' values, to prove that something was left as it was, down to the last bit and in the same place."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import xxhash
from torch import Tensor

from layersig.distributed.sharding import local

_CHUNK = 1 << 24
"""Words at a time: few launches, and 200 MB for products."""


def hash_values(tensors: Iterable[Tensor]) -> tuple[int, ...]:
    """One number per tensor, the same for the same bytes in the same order; computed where the tensor lies.

    Numbers of tensors on different kinds of devices are not comparable. Of a tensor that is split among processes, what
    this one holds is hashed.
    """
    return tuple(_hash(local(tensor.detach())) for tensor in tensors)


def _hash(tensor: Tensor) -> int:
    flat = tensor.contiguous().view(-1).view(torch.uint8)
    if tensor.is_cuda:
        return weighted_sum(flat)
    # torch has no integer products on every other kind of device.
    return xxhash.xxh3_64_intdigest(flat.cpu().numpy().data)


def weighted_sum(flat: Tensor, chunk: int = _CHUNK) -> int:
    """Hash of bytes, uint8 [n]: of every chunk, the sum of word i times 2 i + 1 in 64 bits, for words of 32 bits.

    Any change within one word is seen, since the weights are odd. So is any exchange of two words, or of two bytes or
    halves of words: with the differing values d and d', at bits a and b of the words i and j, the sum changes by
    d 2^a (2 i + 1) + d' 2^b (2 j + 1). For a = b, d' = -d that is d 2^(a + 1) (i - j); otherwise its terms are
    divisible by different powers of 2. Either way it is no multiple of 2^64 in chunks of up to 2^31 words.
    """
    words = flat[: len(flat) // 4 * 4]
    if words.storage_offset() % 4:
        words = words.clone()
    weights = torch.arange(min(chunk, len(words) // 4), device=flat.device).mul_(2).add_(1)
    sums = [torch.sum(part * weights[: len(part)]) for part in torch.split(words.view(torch.int32), chunk)]
    tail = flat[len(words) :].to(torch.int64)
    found: list[int] = torch.cat([torch.stack(sums) if sums else tail[:0], tail]).tolist()
    return xxhash.xxh3_64_intdigest(str(found).encode())
