"""Share of outliers among the products of activations and weights: the layer scores of OWL."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from layersig import Params as ComponentParams
from layersig import scorer
from layersig.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from layersig.layers import Layer
    from layersig.scoring.context import ScoringContext

__all__ = ["Owl"]

LAYERSIG_API = ">=1.0,<2"


@scorer("owl", needs={"model", "data"}, version=1)
class Owl:
    """Layer outlier distribution: percentage of A_ij = |X_j| |W_ij| that exceed M times their mean in the unit.

    OWL (Yin et al., arXiv 2310.05175), on Wanda's metric A (Sun et al., arXiv 2306.11695), with |X_j| the 2-norm of
    input feature j over all tokens of the calibration data. The paper prunes less where there are more outliers.
    Deviations: its unit is a block, here it is the recipe's; calibration data are training examples, one at a time, so
    that there is no padding.
    """

    class Params(ComponentParams):
        """Parameters of `owl`."""

        examples: Annotated[int, Field(ge=1)] = 128
        """Training examples to read activations from: one forward pass each."""
        threshold: Annotated[float, Field(gt=1)] = 5.0
        """M: how many times the mean makes an outlier."""

    def score(self, context: ScoringContext) -> Mapping[str, float]:
        """Percentage of outliers of every unit."""
        params: Owl.Params = context.params
        norms = _input_norms(context, params.examples)
        scores = {}
        for group in context.groups:
            metrics = {layer.name: context.weight(layer.name).abs() * norms[layer.name] for layer in group.members}
            mean = sum(float(metric.sum()) for metric in metrics.values()) / group.parameters
            outliers = sum(int((metric > params.threshold * mean).sum()) for metric in metrics.values())
            scores[group.name] = 100 * outliers / group.parameters
        return scores


def _input_norms(context: ScoringContext, count: int) -> dict[str, Tensor]:
    """2-norm of every input feature of every layer over all tokens, (in,) in float32."""
    import torch

    layers = [layer for group in context.groups for layer in group.members]
    squares = {layer.name: torch.zeros(layer.shape[-1], device=context.device) for layer in layers}
    chosen = context.draw(count)
    context.reporter.start("activations", len(chosen), "example")
    with torch.no_grad(), _summed(context.model, layers, squares):
        for index in chosen:
            tokens = torch.tensor(context.examples[index].tokens, dtype=torch.long, device=context.device)
            context.model(input_ids=tokens[None], use_cache=False)
            context.reporter.advance(1, tokens=len(tokens))
    return {name: value.sqrt() for name, value in squares.items()}


@contextmanager
def _summed(model: nn.Module, layers: Sequence[Layer], squares: Mapping[str, Tensor]) -> Iterator[None]:
    """Within the block, squares of what goes into a layer are added up by feature."""
    with ExitStack() as hooks:
        for layer in layers:
            if layer.is_parameter:
                raise UserError(f'scorer "owl" cannot see what goes into {layer.name}, a fused expert parameter')

            def add(_: nn.Module, inputs: tuple[Tensor, ...], total: Tensor = squares[layer.name]) -> None:
                total += inputs[0].reshape(-1, inputs[0].shape[-1]).float().square().sum(0)

            hooks.callback(model.get_submodule(layer.name).register_forward_pre_hook(add).remove)
        yield
