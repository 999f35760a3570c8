"""LoRA and AdaLoRA, by PEFT."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from peft import PeftModel
from torch import Tensor

from layersig.layers import Layer
from layersig.models.adapters import (
    allocate,
    allocation_state,
    assert_moved,
    orthogonality,
    restore_allocation,
    save_adapter,
)
from layersig.training.log import Step
from layersig.training.methods.base import Base, Tuning


class Lora(Tuning):
    """Two factors a layer (Hu et al., arXiv 2106.09685); over 4-bit weights QLoRA (Dettmers et al., 2305.14314)."""

    def __init__(self, adapted: PeftModel, layers: Sequence[Layer], base: Base) -> None:
        super().__init__(adapted, {name: each for name, each in adapted.named_parameters() if each.requires_grad})
        self._adapted, self._layers, self._base = adapted, layers, base

    def save(self, folder: Path) -> None:
        """What PEFT's `save_pretrained` writes."""
        save_adapter(self._adapted, folder, base_model=self._base.name, revision=self._base.revision)

    def assert_moved(self) -> None:
        """See `layersig.models.adapters.assert_moved`."""
        assert_moved(self._adapted, self._layers)


class AdaLora(Lora):
    """Three factors a layer, whose ranks are cut to a budget while they train (Zhang et al., arXiv 2303.10512)."""

    def extra_loss(self, step: int) -> Tensor:
        """The penalty on factors that are not orthogonal."""
        return orthogonality(self._adapted)

    def after_step(self, step: Step) -> None:
        """Measure importance and cut ranks, as planned."""
        allocate(self._adapted, step.step)

    def state(self) -> dict[str, Tensor]:
        """Averages of importance, and what is masked."""
        return allocation_state(self._adapted)

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Put back what `state` gave."""
        restore_allocation(self._adapted, state)
