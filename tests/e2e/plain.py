"""What plain libraries make of what a run publishes, and whether that is what the run says of it."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import torch
from peft import PeftModel
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.e2e.world import Run

PICKED = ["lm_head", "model.layers.0.mlp.down_proj", "model.layers.1.self_attn.q_proj"]


def every_layer(run: Run) -> list[str]:
    return [layer["name"] for layer in json.loads((run.path / "layers.json").read_text())["layers"]]


def adapted_layers(tensors: dict[str, Tensor]) -> set[str]:
    """The layers that an adapter's file holds factors of."""
    return {
        name.removeprefix("base_model.model.").removesuffix(f".lora_{factor}.weight")
        for name in tensors
        for factor in "AB"
        if name.endswith(f".lora_{factor}.weight")
    }


def plain_peft(model: Path, adapter: Path) -> PeftModel:
    base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    with warnings.catch_warnings():
        # PEFT speaks of merging a tied head, which nobody does here, and reads a deprecated property of transformers.
        warnings.simplefilter("ignore")
        return PeftModel.from_pretrained(base, adapter).eval()


def chat_losses(model: torch.nn.Module, base: Path) -> list[float]:
    """Loss of the answer and of the end of its turn in every chat of a study, from its text alone."""
    tokenizer = AutoTokenizer.from_pretrained(base / "model")
    losses = []
    for line in (base / "chats.jsonl").read_text().splitlines():
        messages = json.loads(line)["messages"]
        prompt = tokenizer.apply_chat_template(messages[:1], tokenize=False, add_generation_prompt=True)
        whole = tokenizer.apply_chat_template(messages, tokenize=False).removesuffix("\n")
        ids = tokenizer(whole, return_tensors="pt", add_special_tokens=False).input_ids
        start = len(tokenizer(prompt, add_special_tokens=False).input_ids)
        with torch.inference_mode():
            scores = model(ids).logits[0, start - 1 : -1].log_softmax(-1)
        losses.append(-scores.gather(1, ids[0, start:, None]).mean().item())
    return losses


def assert_measured(run: Run, arm: str, losses: list[float]) -> None:
    """The run's own figures of held-out chats are among these losses."""
    items = run.lines(f"evaluations/{arm}/chats/seed-0/items.jsonl")
    assert items
    for item in items:
        assert min(abs(item["value"] - loss) for loss in losses) <= 1e-5
