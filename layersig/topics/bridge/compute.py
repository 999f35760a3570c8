"""The bridge between pruning and fine-tuning: are blocks that the model cannot lack those that training moves?

Necessity is the ablation of a block of the pretrained model, plasticity the size of its update (arXiv 2609.16537, which
correlates the two over layers); scores of modules are summed up by block.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from layersig.analysis.depth_correlation import MIN_BLOCKS, beyond_depth, depth_correlation
from layersig.analysis.rankcorr import spearman
from layersig.analysis.selections import descending_ranks
from layersig.findings.files import Scored
from layersig.layers import LayerMap, Unit
from layersig.recipe.schema import Recipe
from layersig.records import Cell, Ranking
from layersig.streams import Streams
from layersig.topics.bridge.rows import BridgeBlockRow, BridgeRow

NECESSITY = frozenset({"ablation"})
PLASTICITY = frozenset({"weight-change", "ila"})

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """Two scorers on one data set: scores of blocks, shape (seeds, blocks)."""

    necessity: str
    plasticity: str
    data: str | None
    blocks: tuple[str, ...]
    one: FloatArray
    other: FloatArray


def bridge_pairs(rankings: Sequence[Scored], layers: LayerMap | None, recipe: Recipe) -> tuple[Pair, ...]:
    """Every scorer of necessity with every scorer of plasticity at the end of the training, on the same data.

    Empty where a model has fewer than six blocks or a recipe lacks one of the two.
    """
    if layers is None or len(layers.blocks) < MIN_BLOCKS:
        return ()
    tables: dict[tuple[str, str | None], list[FloatArray]] = {}
    for scored in rankings:
        kind = _kind(scored.cell, recipe)
        last = scored.cell.checkpoint in (None, _last(rankings, scored.cell))
        if kind in NECESSITY | PLASTICITY and last and (scored.ranking.unit is Unit.BLOCK or kind in PLASTICITY):
            key = scored.cell.scorer or "", scored.cell.data
            tables.setdefault(key, []).append(_by_block(scored.ranking, layers, kind))
    found = []
    for (first, data), one in tables.items():
        for (second, other_data), other in tables.items():
            kinds = recipe.scorers[first].kind, recipe.scorers[second].kind
            if kinds[0] in NECESSITY and kinds[1] in PLASTICITY and data in (None, other_data):
                found.append(Pair(first, second, other_data, layers.blocks, np.array(one), np.array(other)))
    return tuple(pair for pair in found if np.ptp(pair.one.mean(0)) > 0 and np.ptp(pair.other.mean(0)) > 0)


def bridge_rows(pairs: Sequence[Pair], recipe: Recipe) -> Iterator[BridgeRow]:
    """The correlation of every pair."""
    level = 1 - recipe.analyze.alpha
    for pair in pairs:
        one, other = pair.one.mean(axis=0), pair.other.mean(axis=0)
        found = depth_correlation(one, other, level)
        each = [spearman(a, b) for a in pair.one for b in pair.other if np.ptp(a) > 0 and np.ptp(b) > 0]
        rng = Streams(recipe.root_seed).generator("bridge", pair.necessity, pair.plasticity, pair.data or "")
        draws = recipe.analyze.resamples
        test = beyond_depth(one, other, rng, draws)
        yield BridgeRow(
            necessity=pair.necessity,
            plasticity=pair.plasticity,
            data=pair.data,
            blocks=len(pair.blocks),
            runs=len(pair.other),
            correlation=found.value,
            low=found.low,
            high=found.high,
            level=level,
            effective=found.effective,
            run_low=min(each, default=found.value),
            run_high=max(each, default=found.value),
            residual=test.statistic if test else None,
            p=test.p if test else None,
            draws=draws,
        )


def bridge_notes(layers: LayerMap | None, recipe: Recipe) -> tuple[str, ...]:
    """Why scorers of necessity and plasticity are not put beside each other, where the model is too shallow for it."""
    kinds = {choice.kind for choice in recipe.scorers.values()}
    if layers is None or len(layers.blocks) >= MIN_BLOCKS or not (kinds & NECESSITY and kinds & PLASTICITY):
        return ()
    return (
        f"Necessity and plasticity are not correlated: {len(layers.blocks)} blocks are too few for an interval, which "
        f"takes {MIN_BLOCKS}.",
    )


def bridge_block_rows(pairs: Sequence[Pair]) -> Iterator[BridgeBlockRow]:
    """Every block of every pair."""
    for pair in pairs:
        one, other = pair.one.mean(axis=0), pair.other.mean(axis=0)
        ranks, other_ranks = descending_ranks(one) + 1, descending_ranks(other) + 1
        for block, name in enumerate(pair.blocks):
            yield BridgeBlockRow(
                necessity=pair.necessity,
                plasticity=pair.plasticity,
                data=pair.data,
                block=block,
                layer=name,
                necessity_score=float(one[block]),
                plasticity_score=float(other[block]),
                necessity_rank=int(ranks[block]),
                plasticity_rank=int(other_ranks[block]),
            )


def _by_block(ranking: Ranking, layers: LayerMap, kind: str) -> FloatArray:
    """Scores of blocks: of the blocks themselves, or summed up; norms add up as squares."""
    members: Mapping[str, list[float]] = {name: [] for name in layers.blocks}
    for name in layers.blocks:
        inside = [score for unit, score in ranking.scores.items() if unit == name or unit.startswith(f"{name}.")]
        members[name].extend(inside)
    power = 2 if kind == "weight-change" else 1
    return np.array([sum(score**power for score in members[name]) ** (1 / power) for name in layers.blocks])


def _kind(cell: Cell, recipe: Recipe) -> str:
    choice = recipe.scorers.get(cell.scorer or "")
    return choice.kind if choice is not None else ""


def _last(rankings: Sequence[Scored], cell: Cell) -> float:
    return max(each.cell.checkpoint or 0.0 for each in rankings if each.cell.scorer == cell.scorer)
