"""How much of its scores on the selection tasks a model keeps when it loses blocks."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from statistics import fmean

from layersig.errors import UserError
from layersig.models.block_removal import without_blocks
from layersig.scoring.context import ScoringContext


class Retention:
    """Scores without blocks over scores of the whole model, averaged over tasks (arXiv 2602.01997, section 3).

    Args:
        context: Of a scorer that needs tasks.
        candidates: Blocks that will be tried, each by itself.
        keep: Name under which the evaluation of the whole model is kept; None keeps nothing.

    Raises:
        UserError: A candidate cannot be removed (`without_blocks`), or the whole model scores 0 on every task, so that
            nothing can be retained.
    """

    def __init__(self, context: ScoringContext, candidates: Iterable[int], keep: str | None = None) -> None:
        self._context = context
        for place in candidates:  # some architectures can do without some blocks alone, and an evaluation takes long
            with without_blocks(context.model, [place]):
                pass
        self._whole = context.evaluate(keep)
        if not any(self._whole.values()):
            raise UserError(
                f"the whole model scores 0 on {', '.join(self._whole)}, which therefore cannot distinguish blocks; "
                "take easier tasks or more items"
            )

    def without(self, removed: Collection[int], keep: str | None = None) -> float:
        """Mean over tasks of the share kept; a task whose score is 0 counts 0, as in the paper's code."""
        with without_blocks(self._context.model, removed):
            found = self._context.evaluate(keep)
        return fmean(found[task] / whole if whole else 0.0 for task, whole in self._whole.items())
