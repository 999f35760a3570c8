from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from layersig.errors import StageFailed
from layersig.generating.sampling import GREEDY, Sampler, Sampling, probabilities

LOGITS = torch.randn(6, 40, generator=torch.Generator().manual_seed(3), dtype=torch.float64) * 2


@pytest.mark.parametrize(
    "sampling", [Sampling(0.9, 0.95), Sampling(1.3), Sampling(0.7, 0.5, 9), Sampling(1.0, 1.0, 3), Sampling(0.9, 0.01)]
)
def test_the_distribution_is_that_of_transformers(sampling: Sampling) -> None:
    warped = TemperatureLogitsWarper(sampling.temperature)(None, LOGITS)
    if sampling.top_k is not None:
        warped = TopKLogitsWarper(sampling.top_k)(None, warped)
    if sampling.top_p < 1:
        warped = TopPLogitsWarper(sampling.top_p)(None, warped)
    torch.testing.assert_close(probabilities(LOGITS, sampling), warped.softmax(-1))


def test_draws_follow_the_distribution() -> None:
    sampling, draws = Sampling(0.9, 0.9), 4000
    chosen = Sampler(sampling, range(draws)).choose(LOGITS[:1].expand(draws, -1), range(draws))
    expected = probabilities(LOGITS[:1], sampling)[0].numpy() * draws
    observed = np.bincount(chosen, minlength=40)
    assert not observed[expected == 0].any()
    some = expected > 5
    chi_square = float((((observed - expected) ** 2)[some] / expected[some]).sum())
    assert chi_square < some.sum() + 4 * np.sqrt(2 * some.sum())


def test_a_response_draws_from_its_own_stream_whatever_its_batch() -> None:
    together = Sampler(Sampling(1.0), [7, 8, 9]).choose(LOGITS[:3], [0, 1, 2])
    one_by_one = Sampler(Sampling(1.0), [9, 7, 8])
    assert together == [one_by_one.choose(LOGITS[row : row + 1], [place])[0] for row, place in ((0, 1), (1, 2), (2, 0))]


def test_greedy_takes_the_first_of_equals() -> None:
    assert Sampler(GREEDY).choose(torch.tensor([[0.0, 2.0, 2.0], [3.0, 1.0, 3.0]]), [0, 1]) == [1, 0]


def test_nan_stops_the_stage() -> None:
    with pytest.raises(StageFailed, match="NaN"):
        Sampler(GREEDY).choose(torch.tensor([[0.0, torch.nan]]), [0])
