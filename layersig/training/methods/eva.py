"""EVA: LoRA that starts from the directions in which a layer's inputs vary, with ranks where the variance is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Annotated, NamedTuple

from pydantic import Field

from layersig.errors import UserError
from layersig.plugin.components import Params as ComponentParams
from layersig.plugin.decorators import method
from layersig.recipe.schema import TrainSettings
from layersig.training.footprint import portions
from layersig.training.methods.base import Tuning, TuningContext
from layersig.training.methods.lora import Lora

if TYPE_CHECKING:
    from torch import Tensor

    from layersig.layers import Layer


class Principal(NamedTuple):
    """The directions in which the inputs of a layer vary most.

    Attributes:
        directions: Unit vectors, (count, in), the largest share first; the largest entry of each is positive.
        shares: Share of the whole variance that each explains.
    """

    directions: Tensor
    shares: Sequence[float]


@method(
    "eva",
    reads={"rank", "alpha", "dropout"},
    cannot={
        "experts": "looks at the inputs of linear modules only",
        "ranks": "gives ranks by the variance of inputs",
        "resample": "shares ranks out among all chosen layers, which are not trained together then",
        "until": "may leave layers without a rank, and so without an update",
        "update": "may leave layers without a rank, and so without an update",
    },
    version=2,
)
class Eva(Lora):
    """LoRA whose A starts as the principal components of a layer's inputs (Paischer et al., arXiv 2410.07170).

    The components of all chosen layers are put in order of the share of their layer's variance that they explain. The
    first of them, as many as equal ranks would have, give their layers their ranks, at most `rho` times `rank` each; a
    layer may end without any and is not trained then. The scale of every layer stays alpha / `rank`. Code of PEFT 0.21
    read, whose result is met; the deviations: the decomposition is exact, over the target tokens of the first `batches`
    optimizer batches, where PEFT's is incremental and ends when components no longer turn, and of components that
    explain equally much the earlier layer's come first.
    """

    class Params(ComponentParams):
        """Parameters of `eva`."""

        rho: Annotated[float, Field(ge=1)] = 2.0
        """Largest rank of a layer, in units of `rank` (PEFT: 2). 1 gives all layers one rank."""
        batches: Annotated[int, Field(ge=1)] = 16
        """Optimizer batches, the first of the training, whose inputs are looked at: a forward pass each (ours)."""

    @contextmanager
    def tune(self, context: TuningContext) -> Iterator[Tuning]:
        """Put factors on the layers that get a rank, with A in the directions of the inputs."""
        import torch

        from layersig.models.adapters.wrappers import wrapped_layers

        rank, rho = context.settings.rank, context.params.rho
        found = principal_inputs(context, round(rho * rank))
        ranks = shared_ranks({name: each.shares for name, each in found.items()}, rank * len(context.layers))
        kept = [layer for layer in context.layers if ranks[layer.name]]
        own = replace(context, layers=kept, ranks={layer.name: ranks[layer.name] for layer in kept})
        with super().tune(own) as tuning:
            with torch.no_grad():
                for name, wrapper in wrapped_layers(context.model).items():
                    a = wrapper.lora_A[wrapper.active_adapters[0]].weight
                    a.copy_(found[name].directions[: ranks[name]])
            yield tuning

    def passes_before(self, settings: TrainSettings) -> Mapping[str, int]:
        """A forward pass of every batch that it looks at."""
        return {"read": self.Params.model_validate(settings.table("eva")).batches}


def shared_ranks(shares: Mapping[str, Sequence[float]], budget: int) -> dict[str, int]:
    """How many of a layer's components are among the `budget` that explain most of their layer's variance.

    Args:
        shares: Shares of every layer's components, descending.
        budget: Sum of all ranks.
    """
    pool = [(-share, place, name) for place, name in enumerate(shares) for share in shares[name]]
    ranks = dict.fromkeys(shares, 0)
    for _, _, name in sorted(pool)[:budget]:
        ranks[name] += 1
    return ranks


def principal_inputs(context: TuningContext, count: int) -> dict[str, Principal]:
    """The first `count` principal components of the inputs of every layer, or as many as it has inputs.

    Inputs are those at the target tokens of the first optimizer batches of the training, less their mean.

    Raises:
        UserError: There are fewer target tokens than components.
    """
    examples, batches = context.examples, context.batches
    assert examples is not None, "a training has examples"
    indices = sorted(set(chain.from_iterable(batches[: context.params.batches])))
    tokens = int(examples.target_counts[indices].sum())
    if tokens < count:
        raise UserError(
            f"train.eva.batches: {count} components are asked for, and {context.params.batches} optimizer batches have "
            f"{tokens} target tokens; take more batches, or a lower train.rank"
        )
    found: dict[str, Principal] = {}
    for layers in portions(context.layers, _covariance_bytes):
        for name, covariance in _covariances(context, layers, indices).items():
            found[name] = _principal(covariance, count)
    return found


def _covariances(context: TuningContext, layers: Sequence[Layer], indices: Sequence[int]) -> dict[str, Tensor]:
    """Covariance of the inputs of layers at target tokens, [in, in] in float64."""
    from contextlib import ExitStack

    import torch

    from layersig.layers import Part
    from layersig.models.devices import wide

    assert context.examples is not None
    sums: dict[str, tuple[Tensor, Tensor]] = {}
    chosen: list[Tensor] = []

    def look(name: str, given: tuple[Tensor, ...]) -> None:
        rows = wide(given[0].flatten(0, -2)[chosen[0]])
        first, second = rows.sum(0), rows.mT @ rows
        before = sums.get(name)
        sums[name] = (first, second) if before is None else (before[0] + first, before[1] + second)

    # The head is no part of the base model, which spares its logits where it is not looked at.
    model = context.model if any(layer.part is Part.HEAD for layer in layers) else context.model.base_model
    count = 0
    with torch.no_grad(), ExitStack() as hooks:
        for layer in layers:
            module = context.model.get_submodule(layer.name)
            hook = module.register_forward_pre_hook(lambda _, given, name=layer.name: look(name, given))
            hooks.callback(hook.remove)
        for example in context.examples.sequences(indices):
            chosen[:] = [torch.as_tensor(example.targets.copy(), device=context.model.device)]
            ids = torch.as_tensor(example.tokens[None].astype("int64"), device=context.model.device)
            model(input_ids=ids, use_cache=False)
            count += int(example.targets.sum())
    return {name: second / count - torch.outer(first, first) / count**2 for name, (first, second) in sums.items()}


def _principal(covariance: Tensor, count: int) -> Principal:
    import torch

    values, vectors = torch.linalg.eigh(covariance)
    order = torch.arange(len(values) - 1, -1, -1, device=values.device)[:count]
    directions = vectors.mT[order]
    largest = directions.abs().argmax(1, keepdim=True)
    directions = directions * directions.gather(1, largest).sign()
    values = values.clamp(min=0.0)
    shares = (values[order] / (values.sum() or 1.0)).tolist()  # inputs that are all alike have no variance
    return Principal(directions, shares)


def _covariance_bytes(layer: Layer) -> int:
    return 16 * layer.shape[-1] ** 2  # the sum, and what an example adds
