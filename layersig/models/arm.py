"""The model that a stage asks or measures: an arm, or what arms are compared with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from layersig.models.adapters import attach_adapter
from layersig.models.devices import PeakMemory, peak_memory, pick_device, pick_dtype
from layersig.models.kernels import fast_lora
from layersig.models.load import borrow_model
from layersig.stages.job import Job


@dataclass(frozen=True, slots=True)
class ArmModel:
    """A model in eval mode, and what it runs on.

    Attributes:
        model: With its adapter attached.
        device: Where it is.
        dtype: Of its weights; of the computation where they are quantised.
        memory: Memory since before it was loaded; final once it is given back.
    """

    model: PreTrainedModel
    device: torch.device
    dtype: torch.dtype
    memory: PeakMemory


@contextmanager
def arm_model(job: Job) -> Iterator[ArmModel]:
    """Lend the model of a job; the model itself must be left as it was.

    Roles: `model`; `adapter` (a PEFT folder), where there is one.

    Parameters: `dtype`, `device`, `quantization`, `attention`.
    """
    device = pick_device(job.params["device"])
    dtype = pick_dtype(job.params["dtype"], device).dtype
    options = {"quantization": job.params["quantization"], "attention": job.params["attention"]}
    adapter = job.inputs.get("adapter")
    with (
        peak_memory(device) as memory,
        borrow_model(job.inputs["model"], dtype=dtype, device=device, **options) as borrowed,
        attach_adapter(borrowed, adapter) if adapter else nullcontext(borrowed) as model,
        fast_lora(model),
    ):
        yield ArmModel(model, device, dtype, memory)
