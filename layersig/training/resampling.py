"""LISA: of the chosen layers only those of a few blocks move at a time, drawn again every few steps.

LISA (Pan et al., arXiv 2403.17919, algorithm 1) trains the embedding and the head always, and of the blocks a few,
drawn uniformly without replacement. Deviations: the draw is among the blocks of the arm's selection, so that LISA may
run within the layers that a scorer chose; the output head moves in every step where the selection holds it, and the
embedding, which is no layer here, never does; what is out of turn keeps value and moments, without weight decay.

With weights, blocks are drawn in proportion to their scores, without replacement, as OwLore draws them (Li et al.,
arXiv 2405.18380, code read, whose weights are outlier ratios of one model; GaLore, its optimizer, is no part of this).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from layersig.errors import UserError
from layersig.layers import Group, Layer
from layersig.recipe.schema import ResampleSettings
from layersig.streams import Streams


@dataclass(frozen=True)
class Resampling:
    """A plan of the whole training, known before it begins.

    Attributes:
        layers: The chosen layers that are in turn at least once; a block that is never drawn is not adapted at all.
        drawn: Blocks in turn, by interval.
        every: Steps of an interval.
        still: First steps, whose learning rate is 0; they prolong the first interval, so that every block moves.
    """

    layers: tuple[Layer, ...]
    drawn: tuple[tuple[int, ...], ...]
    every: int
    still: int = 0

    @classmethod
    def plan(
        cls,
        chosen: Sequence[Layer],
        settings: ResampleSettings,
        steps: int,
        streams: Streams,
        *,
        still: int = 0,
        weights: Mapping[int, float] | None = None,
    ) -> Resampling:
        """Draw the blocks of every interval from named streams, so that a training that goes on draws the same.

        Args:
            chosen: Layers of the arm.
            settings: How many blocks, and for how long.
            steps: Planned optimizer steps.
            streams: Random streams of the cell.
            still: First steps, whose learning rate is 0.
            weights: Of every block, how likely it is drawn next to the others; all alike where None.

        Raises:
            UserError: A weight is negative, or fewer blocks have one than are drawn.
        """
        blocks = sorted({layer.block for layer in chosen if layer.block is not None})
        count = min(settings.blocks, len(blocks))
        if weights:  # none where the head alone is chosen
            _check(weights, count)
            draw = partial(_weighted, streams, weights, count)
        else:
            draw = partial(_draw, streams, blocks, count)
        intervals = -(-(steps - still) // settings.every)
        drawn = tuple(tuple(sorted(draw(interval))) for interval in range(intervals))
        ever = {block for interval in drawn for block in interval}
        return cls(
            tuple(layer for layer in chosen if layer.block is None or layer.block in ever),
            drawn,
            settings.every,
            still,
        )

    def check(self, parameters: Iterable[str]) -> None:
        """Refuse layers whose parameters are not called by them, such as experts that share an adapter's wrapper.

        Args:
            parameters: As of `in_turn`.

        Raises:
            UserError: There are some.
        """
        called = [f".{each}." for each in parameters]
        if apart := [layer.name for layer in self.layers if not any(f".{layer.name}." in each for each in called)]:
            raise UserError(
                f"train.resample: {', '.join(apart[:3])}{', ...' if apart[3:] else ''} cannot take turns, because no "
                "parameter belongs to one of them alone; leave them out of the arm, or remove `resample`"
            )

    def in_turn(self, step: int, parameters: Iterable[str]) -> frozenset[str]:
        """Names of the parameters that move in an optimizer step.

        Args:
            step: Number of the step, from 1.
            parameters: Names of all that the tuning method trains; each holds the full name of its layer.
        """
        blocks = self.drawn[max(0, step - 1 - self.still) // self.every]
        names = [layer.name for layer in self.layers if layer.block is None or layer.block in blocks]
        # With the dots, so that the layer of block 1 is not found in that of block 11.
        return frozenset(each for each in parameters if any(f".{name}." in f".{each}." for name in names))


def block_weights(scores: Mapping[str, float], units: Iterable[Group], chosen: Sequence[Layer]) -> dict[int, float]:
    """The sum of the scores of the units of every block that hold a chosen layer."""
    names = {layer.name for layer in chosen}
    weights: dict[int, float] = {}
    for unit in units:
        if unit.block is not None and any(layer.name in names for layer in unit.members):
            weights[unit.block] = weights.get(unit.block, 0.0) + scores[unit.name]
    return weights


def _check(weights: Mapping[int, float], count: int) -> None:
    lowest = min(weights, key=weights.__getitem__)
    some = sum(weight > 0 for weight in weights.values())
    if weights[lowest] < 0 or some < count:
        found = f"block {lowest} has {weights[lowest]:g}" if weights[lowest] < 0 else f"only {some} have any"
        raise UserError(
            f'train.resample.weights = "scores" draws {count} blocks in proportion to their scores, and {found}; take '
            'a scorer without negative scores, fewer `blocks`, or weights = "equal"'
        )


def _draw(streams: Streams, blocks: Sequence[int], count: int, interval: int) -> list[int]:
    order: list[int] = streams.generator("lisa", interval).permutation(len(blocks))[:count].tolist()
    return [blocks[place] for place in order]


def _weighted(streams: Streams, weights: Mapping[int, float], count: int, interval: int) -> list[int]:
    """Blocks drawn one after another, each in proportion to its weight among those left.

    Of independent exponential times with these rates the first ones come in that order (Efraimidis and Spirakis, 2006).
    """
    times = streams.generator("lisa", interval).exponential(size=len(weights))
    due = {block: time / weight for (block, weight), time in zip(weights.items(), times, strict=True) if weight > 0}
    return sorted(due, key=due.__getitem__)[:count]
