"""The model that a stage asks or measures: an arm, or what arms are compared with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from layersig.fast.lora import fast_lora
from layersig.models.adapters import attach_adapter
from layersig.models.devices import PeakMemory, peak_memory, pick_device, pick_dtype
from layersig.models.load import borrow_model
from layersig.models.spread import share_elsewhere
from layersig.stages.job import Job
from layersig.stages.spec import ReadingSpec


@dataclass(frozen=True, slots=True)
class ArmModel:
    """A model in eval mode, and what it runs on.

    Attributes:
        model: With its adapter attached.
        device: Where it is.
        dtype: Of its weights; of the computation where they are quantised.
        memory: Memory since before it was loaded; final once it is given back.
        fast: Whether it is to be run on the fast paths.
    """

    model: PreTrainedModel
    device: torch.device
    dtype: torch.dtype
    memory: PeakMemory
    fast: bool


@contextmanager
def arm_model(job: Job[ReadingSpec]) -> Iterator[ArmModel]:
    """Lend the model of a job; the model itself must be left as it was.

    Inputs: `model`; `adapter` (a PEFT folder), where there is one.
    """
    spec = job.spec
    device = pick_device(spec.device)
    dtype = pick_dtype(spec.dtype, device).dtype
    adapter = job.inputs.get("adapter")
    with (
        peak_memory(device) as memory,
        borrow_model(job.inputs["model"], **spec.loading) as borrowed,
        attach_adapter(borrowed, adapter) if adapter else nullcontext(borrowed) as model,
        fast_lora(model, frozen=True) if spec.fast else nullcontext(),
    ):
        if away := share_elsewhere(model):
            job.reporter.warn(
                f"GPUs hold {1 - away:.0%} of the weights; the others are fetched in every pass, which is slow"
            )
        yield ArmModel(model, device, dtype, memory, spec.fast)
