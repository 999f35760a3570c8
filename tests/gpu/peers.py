"""Trainings by others, in the largest micro-batch that fits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from peft import PeftModel

from layersig.data.examples import Example
from layersig.errors import is_out_of_memory
from layersig.models.devices import free, peak_memory
from tests.benchmarks import training
from tests.tiny import tiny_tokenizer


class Trained(NamedTuple):
    """A training: seconds of its steps, bytes at the peak, loss of the first step, size of a micro-batch."""

    seconds: float
    memory: int
    loss: float
    how: str


Batches = Sequence[Sequence[int]]
Fresh = Callable[[], PeftModel]
"""Gives the model with the factors that it had at first."""


def trainer(
    fresh: Fresh, found: Sequence[Example], batches: Batches, checkpointing: bool, rows: int | None = None
) -> Trained:
    """Transformers' Trainer around PEFT."""
    return _largest(training.trainer, fresh, found, batches, checkpointing, rows)


def sft_trainer(fresh: Fresh, found: Sequence[Example], batches: Batches, checkpointing: bool) -> Trained:
    """TRL's SFTTrainer around PEFT."""

    def run(*args, **options) -> training.Clock:
        return training.sft_trainer(*args, tiny_tokenizer(), **options)

    return _largest(run, fresh, found, batches, checkpointing, None)


def _largest(
    run: Callable[..., training.Clock],
    fresh: Fresh,
    found: Sequence[Example],
    batches: Batches,
    checkpointing: bool,
    rows: int | None,
) -> Trained:
    rows, model = rows or len(batches[0]), fresh()
    while True:
        options = {
            "per_device_train_batch_size": rows,
            "gradient_accumulation_steps": len(batches[0]) // rows,
            "gradient_checkpointing": checkpointing,
            "logging_strategy": "steps",
            "logging_steps": 1,
        }
        try:
            run(fresh(), found, batches[:1], **options)
            model = fresh()
            with peak_memory(model.device) as memory:
                clock = run(model, found, batches, **options)
            return Trained(clock.seconds, memory.peak, clock.losses[0], f"{rows} rows")
        except Exception as error:
            if not is_out_of_memory(error) or rows == 1:
                raise
        finally:
            model.gradient_checkpointing_disable()
            model.zero_grad(set_to_none=True)
        free(model.device)
        rows //= 2
