"""LISA: of the chosen layers only those of a few blocks move at a time, drawn again every few steps.

LISA (Pan et al., arXiv 2403.17919, algorithm 1) trains the embedding and the head always, and of the blocks a few,
drawn uniformly without replacement. Deviations: the draw is among the blocks of the arm's selection, so that LISA may
run within the layers that a scorer chose; the output head moves in every step where the selection holds it, and the
embedding, which is no layer here, never does; what is out of turn keeps value and moments, without weight decay.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from layersig.layers import Layer
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
        cls, chosen: Sequence[Layer], settings: ResampleSettings, steps: int, streams: Streams, *, still: int = 0
    ) -> Resampling:
        """Draw the blocks of every interval from named streams, so that a training that goes on draws the same.

        Args:
            chosen: Layers of the arm.
            settings: How many blocks, and for how long.
            steps: Planned optimizer steps.
            streams: Random streams of the cell.
            still: First steps, whose learning rate is 0.
        """
        blocks = sorted({layer.block for layer in chosen if layer.block is not None})
        count = min(settings.blocks, len(blocks))
        intervals = -(-(steps - still) // settings.every)
        drawn = tuple(
            tuple(sorted(blocks[place] for place in _draw(streams, interval, len(blocks), count)))
            for interval in range(intervals)
        )
        ever = {block for interval in drawn for block in interval}
        return cls(
            tuple(layer for layer in chosen if layer.block is None or layer.block in ever),
            drawn,
            settings.every,
            still,
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


def _draw(streams: Streams, interval: int, blocks: int, count: int) -> list[int]:
    found: list[int] = streams.generator("lisa", interval).permutation(blocks)[:count].tolist()
    return found
