"""Gradients read layer by layer against those of one backward pass a batch."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from layersig.fast.runner import reading_runner
from layersig.training.gradients import visit_gradients
from tests.tiny import tiny_model
from tests.training.world import examples

FOUND = examples(8)
BATCHES = [(0, 1, 2, 3), (4, 5, 6, 7)]


class Now(nn.Module):
    """Scales what passes, by a parameter that long inputs alone reach."""

    def __init__(self, inner: nn.Module, long: int) -> None:
        super().__init__()
        self.inner, self.long = inner, long
        self.scale = nn.Parameter(torch.ones((), dtype=torch.float64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x) * self.scale if x.shape[1] >= self.long else self.inner(x)


def test_parameters_that_the_last_micro_batch_or_none_reaches_are_shown_once_a_batch():
    model = tiny_model("llama", dtype=torch.float64).requires_grad_(False)
    longest = [max(len(FOUND[index]) for index in batch) for batch in BATCHES]
    assert longest[0] != longest[1], "or both batches reach the parameter alike"
    blocks = model.model.layers
    blocks[0].mlp = Now(blocks[0].mlp, max(longest))
    blocks[1].mlp = Now(blocks[1].mlp, 10**6)
    parameters = {
        "some": blocks[0].mlp.scale,
        "never": blocks[1].mlp.scale,
        "always": blocks[1].mlp.inner.up_proj.weight,
    }
    seen: dict[tuple[int, str], torch.Tensor] = {}

    def visit(batch: int, name: str, gradient: torch.Tensor) -> None:
        assert (batch, name) not in seen
        seen[batch, name] = gradient.clone()

    with reading_runner(model, FOUND, max(longest), pack=False) as runner:
        visit_gradients(runner, parameters, FOUND, BATCHES, visit)
    for number, batch in enumerate(BATCHES):
        losses, count = torch.zeros((), dtype=torch.float64), 0
        for parameter in parameters.values():
            parameter.requires_grad_(True)
        for index in batch:
            tokens, targets = torch.from_numpy(FOUND[index].tokens.astype("int64")), FOUND[index].targets
            where = torch.from_numpy(targets).nonzero().flatten()
            logits = model(input_ids=tokens[None]).logits[0]
            losses = losses + cross_entropy(logits[where - 1], tokens[where], reduction="sum")
            count += len(where)
        expected = torch.autograd.grad(losses / count, list(parameters.values()), allow_unused=True)
        for (name, parameter), gradient in zip(parameters.items(), expected, strict=True):
            due = torch.zeros_like(parameter) if gradient is None else gradient
            torch.testing.assert_close(seen[number, name], due, rtol=1e-6, atol=1e-12)
    assert all(parameter.grad is None for parameter in parameters.values())
    assert {(0, "some"), (1, "never")} <= seen.keys()
    assert any(seen[number, "some"] != 0 for number in (0, 1))
