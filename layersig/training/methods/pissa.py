"""PiSSA: LoRA that starts from the principal part of each weight, saved as a LoRA adapter of the weight as it was."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from layersig.errors import UserError
from layersig.layers import Layer
from layersig.plugin.components import Params as ComponentParams
from layersig.plugin.decorators import method
from layersig.recipe.schema import TrainSettings
from layersig.training.methods.base import TuningContext
from layersig.training.methods.lora import Lora, LoraTuning

if TYPE_CHECKING:
    from peft import PeftModel
    from peft.tuners.lora import LoraLayer
    from torch import Tensor

    from layersig.models.updates import Delta


class PissaTuning(LoraTuning):
    """Factors A, B that start as the principal part s B0 A0 of each weight, which is taken off what the layer gives.

    PEFT takes it off the weight itself. Here the weight stays as it is, so that nothing is rounded and the change is
    exactly s (B A - B0 A0): LoRA of twice the rank, with the factors [A; A0] and [B, -B0].
    """

    def __init__(self, adapted: PeftModel, context: TuningContext) -> None:
        import torch

        from layersig.models.adapters.wrappers import wrapped_layers

        super().__init__(adapted, context)
        self.wrappers = wrapped_layers(adapted.get_base_model())
        self.starts: dict[str, tuple[Tensor, Tensor]] = {}
        for name, wrapper in self.wrappers.items():
            seed = context.streams.number("adapter-init", name)
            self.starts[name] = principal_factors(wrapper, context.params.iterations, seed)
            with torch.no_grad():
                for factor, start in zip(_factors(wrapper), self.starts[name], strict=True):
                    factor.copy_(start)

    def state(self) -> dict[str, Tensor]:
        """The factors that training started from: another machine may decompose the weights differently."""
        a = {f"{name}.A": start for name, (start, _) in self.starts.items()}
        return {**a, **{f"{name}.B": start for name, (_, start) in self.starts.items()}}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Put back what `state` gave."""
        for name, (a, b) in self.starts.items():
            self.starts[name] = state[f"{name}.A"].to(a), state[f"{name}.B"].to(b)

    def save(self, folder: Path) -> None:
        """The change from the weights as they were, as a LoRA adapter of twice the rank."""
        from layersig.models.adapters import save_adapter

        base, revision = self.context.base
        factors = {name: self._doubled(name, wrapper) for name, wrapper in self.wrappers.items()}
        save_adapter(self.model, folder, base_model=base, revision=revision, factors=factors)

    def delta(self, name: str, wrapper: LoraLayer) -> Delta:
        """The change from the weight as it was."""
        from layersig.models.updates import Delta

        a, b = self._doubled(name, wrapper)
        return Delta(b, a, wrapper.scaling[wrapper.active_adapters[0]])

    def _doubled(self, name: str, wrapper: LoraLayer) -> tuple[Tensor, Tensor]:
        import torch

        (a, b), (start_a, start_b) = _factors(wrapper), self.starts[name]
        return torch.cat([a.detach(), start_a]), torch.cat([b.detach(), -start_b], dim=1)

    def subtract(self, name: str, wrapper: LoraLayer, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        """What a layer gives without the principal part of its weight: a hook of its forward pass."""
        a, b = (start.to(inputs[0].dtype) for start in self.starts[name])
        scale: float = wrapper.scaling[wrapper.active_adapters[0]]
        return output - scale * ((inputs[0] @ a.T) @ b.T)


def _factors(wrapper: LoraLayer) -> tuple[Tensor, Tensor]:
    adapter = wrapper.active_adapters[0]
    return wrapper.lora_A[adapter].weight, wrapper.lora_B[adapter].weight


def principal_factors(wrapper: LoraLayer, iterations: int | None, seed: int) -> tuple[Tensor, Tensor]:
    """A (r, in) and B (out, r) whose product, times the scale, is the best approximation of the weight with rank r.

    Args:
        wrapper: PEFT's wrapper of a linear layer.
        iterations: Subspace iterations of a fast randomised decomposition; None for an exact one.
        seed: Seed of the fast one.

    Raises:
        UserError: The layer has fewer singular vectors than the rank asks for.
    """
    import torch

    from layersig.models.isolation import isolated

    weight = wrapper.get_base_layer().weight.detach()
    weight = weight.to(torch.promote_types(weight.dtype, torch.float32))
    weight = weight.mT if wrapper.fan_in_fan_out else weight
    adapter = wrapper.active_adapters[0]
    rank = wrapper.r[adapter]
    if rank > min(weight.shape):
        raise UserError(
            f"PiSSA takes {rank} singular vectors, and a layer of shape {tuple(weight.shape)} has {min(weight.shape)}; "
            "lower train.rank, or leave such layers out"
        )
    if iterations is None:
        left, sizes, right = torch.linalg.svd(weight, full_matrices=False)
        right = right.mT
    else:
        with isolated(seed):
            left, sizes, right = torch.svd_lowrank(weight, rank, niter=iterations)
    roots = (sizes[:rank] / wrapper.scaling[adapter]).sqrt()
    return (right[:, :rank] * roots).mT.contiguous(), (left[:, :rank] * roots).contiguous()


@method(
    "pissa",
    reads={"rank", "alpha", "dropout"},
    cannot={
        "quantization": "decomposes the weights, which 4-bit ones cannot be",
        "experts": "adapts linear modules only",
        "ranks": "takes as many principal directions of every layer",
    },
    version=1,
)
class Pissa(Lora):
    """LoRA that starts from the principal singular vectors of each weight (Meng et al., arXiv 2404.02948)."""

    class Params(ComponentParams):
        """Parameters of `pissa`."""

        iterations: Annotated[int, Field(ge=1)] | None = None
        """Subspace iterations of a fast randomised decomposition (the paper: 4 are enough). Absent: an exact one."""

    def alpha(self, settings: TrainSettings) -> float:
        """As given, or r, for a scale of 1 (paper)."""
        return float(settings.rank) if settings.alpha is None else settings.alpha

    def stored_values(self, layer: Layer, settings: TrainSettings) -> int:
        """What it started from is stored too."""
        return 2 * self.trained_values(layer, settings)

    def tuning(self, adapted: PeftModel, context: TuningContext) -> LoraTuning:
        """Factors at their start, and the principal part of every weight taken off."""
        tuning = PissaTuning(adapted, context)
        for name, wrapper in tuning.wrappers.items():
            wrapper.register_forward_hook(partial(tuning.subtract, name))
        return tuning
