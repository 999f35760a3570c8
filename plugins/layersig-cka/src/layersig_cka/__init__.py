"""Similarity of a block's inputs and outputs over examples: blocks that change them most score highest."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from layersig import Params as ComponentParams
from layersig import scorer
from layersig.errors import UserError
from layersig.scoring.selection_data import blocks_only

if TYPE_CHECKING:
    from torch import Tensor

    from layersig.scoring.block_states import States
    from layersig.scoring.context import ScoringContext

__all__ = ["Cka", "biased_cka", "debiased_cka"]

LAYERSIG_API = ">=1.0,<2"


@scorer("cka", needs={"model", "data"}, unit="block", version=3)
class Cka:
    """1 - CKA of the states before and behind a block, with a linear kernel, over one token of every example.

    "Layer-wise LoRA fine-tuning: a similarity metric approach" (arXiv 2602.05988; its code was read) adapts the blocks
    with the highest score. Its estimator is `biased`, |Xc' Yc|^2 / (|Xc' Xc| |Yc' Yc|) of centred states (Kornblith et
    al., arXiv 1905.00414), which is too high where there are fewer examples than dimensions, as its 128 in 4096 are:
    independent Gaussian states would look alike. `debiased` (our default) takes the unbiased estimator of HSIC (Song et
    al., JMLR 2012, equation 5) instead, and two of its choices of blocks share little more than chance with the
    biased ones. Deviations: the last block's output is taken in front of the final norm, and padding never counts.

    The last token of a chat is the same in every example, so that all states in front of the first block may be one:
    no similarity is defined then, 0 is taken, and the block scores 1. A warning says so. The same holds for `debiased`
    where all states but one are alike, as when one example is cut short: the unbiased estimates of HSIC are 0 then. The
    paper's code has rounding noise there, and drops the first block of encoders for the like.

    Compare it with the scorer `ends`: of the paper's published selections, two of two on mathematics share 15 of 16
    blocks with that rule, which looks at nothing.
    """

    class Params(ComponentParams):
        """Parameters of `cka`."""

        examples: Annotated[int, Field(ge=4)] = 128
        """Training examples to compare states over: one forward pass each."""
        estimator: Literal["debiased", "biased"] = "debiased"
        """Estimator of the similarity."""
        tokens: Literal["last", "prompt", "mean"] = "last"
        """The last token of every example (the paper), the last one before its first answer, or the mean over all."""

    def score(self, context: ScoringContext) -> Mapping[str, float]:
        """One minus the similarity of every block."""
        import torch

        blocks = blocks_only(context)
        chosen = context.draw(context.params.examples)
        if len(chosen) < 4:
            raise UserError(f"{context.label}: {len(chosen)} training examples; CKA takes four at least")
        kept = [_one_each(states, context.params.tokens) for states in context.block_states(chosen)]
        grams = [(state @ state.mT) for state in map(torch.cat, zip(*kept, strict=True))]
        debiased = context.params.estimator == "debiased"
        similarity, blank = (debiased_cka, _alike_but_one) if debiased else (biased_cka, _constant)
        scores = {name: 1 - similarity(*pair) for name, pair in zip(blocks, pairwise(grams), strict=True)}
        if empty := [name for name, pair in zip(blocks, pairwise(grams), strict=True) if any(map(blank, pair))]:
            context.reporter.warn(
                f"{context.label}: all examples{' but one at most' if debiased else ''} have one state in front of "
                f"{empty[0]} or behind it, because they end with the same token; its score of 1 says nothing. With "
                'tokens = "mean" states differ'
            )
        return scores


def _one_each(states: States, tokens: str) -> list[Tensor]:
    """One state for every example at each boundary, [examples, width] in float64."""
    wide = [state.double() for state in states.boundaries]
    if tokens == "last" or tokens == "prompt":
        rows = states.rows(tokens)
        return [state[rows] for state in wide]
    import torch

    return [torch.stack([part.mean(0) for part in state.split(list(states.lengths))]) for state in wide]


def biased_cka(first: Tensor, second: Tensor) -> float:
    """Linear CKA of two Gram matrices, [examples, examples]; 0 where states are all the same."""
    if _constant(first) or _constant(second):
        return 0.0
    one, two = _centred(first), _centred(second)
    return float((one * two).sum() / (one.norm() * two.norm()))


def debiased_cka(first: Tensor, second: Tensor) -> float:
    """The same with unbiased estimates of HSIC; it may be below 0, and is 0 too where all states but one are alike."""
    if _alike_but_one(first) or _alike_but_one(second):
        return 0.0
    one, two = _centred(first), _centred(second)
    return _hsic(one, two) / (_hsic(one, one) * _hsic(two, two)) ** 0.5


def _constant(gram: Tensor) -> bool:
    """Whether states are all the same, up to rounding: their mean square equals the square of their mean."""
    size = gram.diag().mean()
    return bool(size - gram.mean() <= 1e-12 * size)


def _alike_but_one(gram: Tensor) -> bool:
    """Whether states are all the same, one of them left out of account, up to rounding: no estimate is left then."""
    if _constant(gram):
        return True
    centred = _centred(gram)
    return _hsic(centred, centred) <= 1e-12 * float(centred.square().sum())


def _centred(gram: Tensor) -> Tensor:
    """The Gram matrix of the states less their mean; what a large mean would round away of HSIC stays."""
    return gram - gram.mean(0) - gram.mean(1, keepdim=True) + gram.mean()


def _hsic(first: Tensor, second: Tensor) -> float:
    """Song et al. 2012, equation 5, times n (n - 3), which cancels in a ratio."""
    count = len(first)
    one, two = (gram - gram.diag().diag() for gram in (first, second))
    alone = one.sum() * two.sum() / ((count - 1) * (count - 2))
    return float((one * two).sum() + alone - 2 * (one.sum(0) @ two.sum(0)) / (count - 2))
