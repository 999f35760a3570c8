"""ILA: learn how much of each layer's update the loss wants to keep.

"Understanding Layer Significance in LLM Alignment", arXiv 2410.17875, algorithm 1, stage 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from layersig.plugin.components import Params as ComponentParams
from layersig.plugin.decorators import scorer

if TYPE_CHECKING:
    from torch import Tensor

    from layersig.scoring.context import ScoringContext
    from layersig.training.log import Step

_WINDOW = 16  # steps between the two rankings that the stop rule compares


@scorer("ila", needs={"model", "data", "update"}, version=1)
class Ila:
    """Learns, with all updates frozen, how much of its update each layer needs for the training loss.

    Scores s, one a unit, minimise the training loss of the model with weights W + sigmoid(s) * Delta.

    W and Delta are frozen; the model runs without dropout; there is no sparsity term, since the paper's constraint on
    the number of important layers is read off the ranking afterwards. With unit `block` or `part`, the layers of a
    unit share one score. The paper gives neither optimiser, rate nor batch size of this stage: those are ours.
    """

    class Params(ComponentParams):
        """Parameters of `ila`."""

        steps: Annotated[int, Field(ge=1)] = 128
        """Mask steps, each on one optimizer batch. The published 11 minutes at 5.3 s a step make about 124."""
        optimizer: Literal["adam", "sgd"] = "adam"
        """Adam's steps are near sign-like, so ranks reflect how consistent a gradient's sign is; SGD's its size."""
        learning_rate: Annotated[float, Field(gt=0)] = 0.05
        """Constant rate (ours). SGD wants one larger by orders of magnitude."""
        initial: float = 4.0
        """Initial score of every unit: 4 keeps 98 % of each update (ours)."""
        stop_tau: Annotated[float, Field(gt=0, le=1)] | None = None
        """Stop once Kendall's tau of the scores with those 16 steps before exceeds this; absent: all steps."""
        keep_every: Annotated[int, Field(ge=1)] = 8
        """Steps between the scores kept in the trajectory."""

    def score(self, context: ScoringContext) -> Mapping[str, float]:
        """Learned scores."""
        import torch

        from layersig.training.optimization import Optimization

        params: Ila.Params = context.params
        # Float32 at least: bf16 has steps of 0.03 at 4, half of what a step of Adam moves.
        dtype = torch.promote_types(context.model.dtype, torch.float32)
        scores = torch.full((len(context.layers),), params.initial, dtype=dtype, device=context.device)
        scores.requires_grad_(True)
        history = _History()

        def remember(_: Step) -> bool:
            history.scores.append(scores.detach().clone())
            return _settled(history.scores, params.stop_tau)

        with context.gated(lambda: torch.sigmoid(scores)):
            context.train(
                {"scores": scores},
                context.optimizer_batches(params.steps),
                Optimization(params.optimizer, params.learning_rate),
                after_step=remember,
                memory=history,
            )
        for step, kept in enumerate(history.scores, start=1):
            if step % params.keep_every == 0 or step == params.steps:
                row = dict(zip(context.layers, kept.tolist(), strict=True))
                context.trajectory.append({"step": step, "scores": row})
        return dict(zip(context.layers, scores.detach().tolist(), strict=True))


class _History:
    """The scores after every step, which a training that was interrupted remembers."""

    def __init__(self) -> None:
        self.scores: list[Tensor] = []

    def state(self) -> dict[str, Tensor]:
        """All of them, [steps, units]."""
        import torch

        return {"scores": torch.stack(self.scores)} if self.scores else {}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Put back what `state` gave."""
        self.scores = list(state["scores"].unbind()) if state else []


def _settled(history: list[Tensor], tau: float | None) -> bool:
    if tau is None or len(history) <= _WINDOW:
        return False
    from scipy.stats import kendalltau

    return bool(kendalltau(history[-1].tolist(), history[-1 - _WINDOW].tolist()).statistic > tau)
