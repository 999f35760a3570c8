"""Loss and gradients against TRL's trainers on the same batches."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
import trl

from layersig.fast.runner import reading_runner
from tests.objectives.world import pairs
from tests.tiny import tiny_model, tiny_tokenizer

pytestmark = pytest.mark.filterwarnings("ignore")  # of libraries among themselves
BATCH = (5, 0, 3, 6)


def rows_of(items):
    """The batch as TRL's collators take it."""
    rows = []
    for index in BATCH:
        better, worse = items.chosen[index], items.rejected[index]
        start = int(better.targets.argmax())
        ids = {
            "prompt_ids": better.tokens[:start],
            "chosen_ids": better.tokens[start:],
            "rejected_ids": worse.tokens[start:],
        }
        rows.append({name: each.tolist() for name, each in ids.items()})
    return rows


def assert_same(items, model, loss):
    """That our loss and gradients of all weights are those that `loss` gives."""
    weights = {name: each.requires_grad_(True) for name, each in model.named_parameters()}
    expected = loss(model)
    gradients = torch.autograd.grad(expected, list(weights.values()))
    with reading_runner(model, items, 4096) as runner:
        found = runner.loss(BATCH, len(BATCH))
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    for name, theirs, ours in zip(weights, gradients, torch.autograd.grad(found, list(weights.values())), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5 * theirs.abs().max().item(), msg=name)


@pytest.mark.parametrize("architecture", ["llama", "qwen3", "gpt2"])
def test_dpo(tmp_path, architecture):
    from datasets import Dataset

    before, model = tiny_model(architecture), tiny_model(architecture, seed=1)
    items = pairs(tmp_path, before, "dpo", {"beta": 0.3})
    args = trl.DPOConfig(
        output_dir=str(tmp_path / "trl"), beta=0.3, use_cpu=True, report_to=[], max_length=None, bf16=False,
        disable_dropout=True,
    )  # fmt: skip
    trainer = trl.DPOTrainer(
        model, before, args, train_dataset=Dataset.from_list([{"prompt": "a", "chosen": "b", "rejected": "c"}]),
        processing_class=tiny_tokenizer(),
    )  # fmt: skip
    inputs = trainer.data_collator(rows_of(items))
    assert_same(items, model, lambda policy: trainer._compute_loss(policy, inputs, False))


def test_simpo(tmp_path):
    from trl.experimental.cpo import CPOTrainer

    model = tiny_model("llama", seed=1)
    items = pairs(tmp_path, model, "simpo", {"beta": 2.0, "gamma": 0.7})
    theirs = SimpleNamespace(
        alpha=0.0, loss_type="simpo", simpo_gamma=0.7, beta=2.0, label_smoothing=0.0,
        accelerator=SimpleNamespace(device="cpu"),
    )  # fmt: skip

    responses = [side[index] for side in (items.chosen, items.rejected) for index in BATCH]
    tokens, targets = (
        torch.nn.utils.rnn.pad_sequence([torch.tensor(getattr(each, name)) for each in responses], batch_first=True)
        for name in ("tokens", "targets")
    )
    labels = torch.where(targets, tokens.long(), -100)

    def loss(policy):
        logps = CPOTrainer.get_batch_logps(policy(tokens.long()).logits, labels, average_log_prob=True)
        return CPOTrainer.cpo_loss(theirs, *logps.chunk(2))[0].mean()

    assert_same(items, model, loss)
