"""Ablation: what the model loses without each block."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, Self

from pydantic import model_validator

from layersig.plugin.decorators import scorer
from layersig.records import WHOLE, block_label
from layersig.scoring.selection_data import TaskParams, blocks_only, drawn

if TYPE_CHECKING:
    from layersig.scoring.context import ScoringContext


@scorer("ablation", needs={"model", "data", "tasks"}, unit="block", version=4)
class Ablation:
    """Necessity of a block: how much worse the pretrained model is without it.

    On training data N_i = L(without i) - L, the rise of the loss in nats per target token; on tasks
    N_i = 1 - mean over tasks of score(without i) / score, 0 for a task whose score is 0 (the normalised retention of
    arXiv 2602.01997; necessity as in arXiv 2609.16537). Greater means more important; pruning takes the lowest.
    On tasks every item, response and probe is kept for each block, and a sweep that is broken off continues at the
    next block.
    """

    class Params(TaskParams):
        """Parameters of `ablation`."""

        how: Literal["skip", "zero", "mean"] = "skip"
        """What takes a block's place. `skip`: its input is handed on, so that it adds nothing. `zero`: its output, the
        hidden state itself, is set to zero; in models without biases, such as Llama, zeros stay zeros through all later
        blocks, so all blocks score alike. `mean`: it adds to every token what it adds on average."""

        @model_validator(mode="after")
        def _tasks_skip(self) -> Self:
            if self.tasks and self.how != "skip":
                raise ValueError(f'on tasks blocks can only be skipped; leave `how = "{self.how}"` out')
            return self

    def score(self, context: ScoringContext) -> Mapping[str, float]:
        """Necessity of every block."""
        from layersig.scoring.retention import Retention
        from layersig.scoring.sweep import sweep

        names, params = blocks_only(context), context.params
        if params.tasks:
            retention = Retention(context, range(len(names)), keep=WHOLE)
            return {name: 1.0 - retention.without([place], keep=block_label(place)) for place, name in enumerate(names)}
        swept = sweep(context, drawn(context), range(len(names)), how=params.how)
        return {name: swept.without[place] - swept.loss for place, name in enumerate(names)}
