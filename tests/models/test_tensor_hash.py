from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from layersig.models.tensor_hash import hash_values, weighted_sum

HASHES: list[Callable[[Tensor], int]] = [
    lambda tensor: hash_values([tensor])[0],
    lambda tensor: weighted_sum(tensor.contiguous().view(-1).view(torch.uint8), 64),
]
"""As on a CPU and as on CUDA; chunks of 64 words, so that a tensor has several."""


@pytest.fixture(params=HASHES, ids=["cpu", "cuda"])
def digest(request: pytest.FixtureRequest) -> Callable[[Tensor], int]:
    found: Callable[[Tensor], int] = request.param
    return found


def values(dtype: torch.dtype, count: int = 211) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    found = torch.randn(count, generator=generator)
    return (found * 40).to(torch.uint8) if dtype is torch.uint8 else found.to(dtype)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.bfloat16, torch.float32, torch.float64])
def test_every_bit_and_every_exchange_of_two_values_is_seen(
    digest: Callable[[Tensor], int], dtype: torch.dtype
) -> None:
    tensor = values(dtype)
    before = digest(tensor)
    assert digest(tensor.clone()) == before
    raw = tensor.view(torch.uint8)
    for place in range(0, len(raw), 7):
        for bit in range(8):
            raw[place] ^= 1 << bit
            assert digest(tensor) != before
            raw[place] ^= 1 << bit
    for one in range(0, len(tensor), 5):
        for other in range(one + 1, len(tensor)):
            if tensor[one] != tensor[other]:
                tensor[[one, other]] = tensor[[other, one]]
                assert digest(tensor) != before
                tensor[[one, other]] = tensor[[other, one]]
    assert digest(tensor) == before


def test_random_changes_of_bytes_are_seen(digest: Callable[[Tensor], int]) -> None:
    """An XOR of bytes misses one of 256 of them."""
    generator = torch.Generator().manual_seed(2)
    tensor = values(torch.uint8)
    before = digest(tensor)
    for _ in range(2000):
        other = torch.randint(0, 256, tensor.shape, dtype=torch.uint8, generator=generator)
        assert digest(other) != before


def test_words_that_differ_in_high_bits_only_are_told_apart_over_any_distance() -> None:
    """A multiple of a power of two, exchanged over a distance that is one, would vanish in a shorter sum."""
    words = torch.zeros(1 << 16, dtype=torch.int32)
    for distance in (1 << power for power in range(16)):
        one, other = words.clone(), words.clone()
        one[0] = other[distance] = -(1 << 31)
        assert weighted_sum(one.view(torch.uint8)) != weighted_sum(other.view(torch.uint8))


@pytest.mark.parametrize(
    "tensor", [torch.tensor(1.5), torch.zeros(0), torch.ones(4, 6).mT, torch.ones(3, dtype=torch.bool)]
)
def test_every_shape_is_hashed(tensor: Tensor, digest: Callable[[Tensor], int]) -> None:
    assert digest(tensor) == digest(tensor.clone())
