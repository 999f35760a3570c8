"""Logits at some positions, and a model cut at its head, against the model's own forward."""

from __future__ import annotations

import pytest
import torch

from layersig.fast.head import body_of, logits_at, split_at_head
from tests.models.architectures import tiny_architecture
from tests.tiny import ARCHITECTURES, MIXTURES, tiny_batch, tiny_model

POSITIONS = torch.tensor([3, 0, 17, 23, 3])


@pytest.mark.parametrize("architecture", [*sorted({*ARCHITECTURES, *MIXTURES}), "opt"])
def test_positions_and_pieces_give_the_logits_of_the_whole(architecture):
    # OPT's forward does not call its base model but the decoder within.
    model = tiny_architecture(architecture) if architecture == "opt" else tiny_model(architecture).eval()
    tokens = tiny_batch(rows=2, length=12)
    with torch.no_grad():
        whole = model(tokens).logits.flatten(0, 1)[POSITIONS]
        with logits_at(model, POSITIONS):
            gathered = model(input_ids=tokens, use_cache=False).logits
        with split_at_head(model) as split:
            hidden, head = split.run({"input_ids": tokens}, POSITIONS)
            pieces = torch.cat([head(part) for part in hidden.split(2)])
    torch.testing.assert_close(gathered.view_as(whole), whole, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(pieces, whole, rtol=1e-5, atol=1e-6)
    assert "forward" not in vars(body_of(model))


def test_hooks_of_the_model_run_once_a_pass():
    model, calls = tiny_model("llama"), []
    model.register_forward_pre_hook(lambda *_: calls.append("pass"))
    with split_at_head(model) as split:
        _, head = split.run({"input_ids": tiny_batch()}, POSITIONS)
        head(torch.zeros(2, model.config.hidden_size, dtype=model.dtype))
    assert calls == ["pass"]


def test_a_failing_head_leaves_the_model_whole():
    model = tiny_model("llama")
    whole = model(tiny_batch()).logits
    with split_at_head(model) as split:
        hidden, head = split.run({"input_ids": tiny_batch()}, POSITIONS)
        with pytest.raises(RuntimeError):
            head(hidden[:, :3])
        assert torch.equal(model(tiny_batch()).logits, whole)
    assert "forward" not in vars(model.base_model)
