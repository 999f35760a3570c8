"""Bytes of tensors that a process holds of a model whose blocks are split, beside the arithmetic.

    torchrun --nproc-per-node 2 -m tests.distributed.held

A step of LoRA runs first. What is counted is the memory behind all tensors that are alive, whoever holds them.
"""

from __future__ import annotations

import gc
import os
import sys
import tempfile
from pathlib import Path

import torch
import torch.distributed as dist
from torch.distributed.tensor import DTensor
from transformers import LlamaConfig, LlamaForCausalLM

from layersig.distributed.world import Several, joined
from layersig.fast.runner import Workload, training_runner
from layersig.models.adapters import inject_lora
from layersig.models.layermap import layer_map
from layersig.models.load import borrow_model
from tests.training.world import SETTINGS, STREAMS, examples, trained

BLOCKS = 8


def live_bytes() -> int:
    """Bytes of memory behind all tensors that the garbage collector knows."""
    gc.collect()
    found = {}
    for each in gc.get_objects():
        if issubclass(type(each), torch.Tensor) and type(each) is not DTensor:
            storage = each.untyped_storage()
            found[storage.data_ptr()] = storage.nbytes()
    return sum(found.values())


def main(folder: Path) -> None:
    """Measure, and fail where more is held than the arithmetic says."""
    several = Several(sharded=True)
    config = LlamaConfig(
        vocab_size=260,
        hidden_size=256,
        intermediate_size=512,
        num_hidden_layers=BLOCKS,
        num_attention_heads=4,
        tie_word_embeddings=True,
    )
    if several.first:
        LlamaForCausalLM(config).save_pretrained(folder)
    dist.barrier()
    before = live_bytes()
    with joined(several), borrow_model(folder, dtype="float32", device="cpu") as model:
        layers = layer_map(model)
        peft_model = inject_lora(model, list(layers), rank=2, alpha=4, dropout=0.0, streams=STREAMS)
        parameters = trained(peft_model)
        work = Workload(peft_model, parameters, examples(), [(0, 1, 2, 3)], SETTINGS, STREAMS)
        with training_runner(work) as runner:
            runner.loss_and_gradients((0, 1, 2, 3), 1)
        held = live_bytes() - before
        factors = sum(value.numel() * 4 for value in parameters.values())
        in_blocks = sum(value.numel() * 4 for name, value in model.named_parameters() if ".layers." in name) - factors
        outside = sum(value.numel() * 4 for name, value in model.named_parameters() if ".layers." not in name)
        due, whole = (in_blocks / share + outside + 2 * factors for share in (several.size, 1))
        for rank, count in enumerate(several.gather(held)):
            if several.first:
                sys.stdout.write(f"HELD {rank}: {count:,} bytes, {due:,.0f} by arithmetic, {whole:,.0f} unsplit\n")
        assert abs(held - due) < in_blocks / BLOCKS / 8, (held, due)


if __name__ == "__main__":
    dist.init_process_group("gloo")
    held_in = Path(tempfile.gettempdir()) / f"layersig-held-{os.environ['MASTER_PORT']}"
    main(held_in)
    dist.destroy_process_group()
