"""Which layers a training after pruning takes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from layersig.errors import UserError
from layersig.layers import Layer, LayerMap
from layersig.models.layermap import layer_map, model_of_configuration


def in_scope(scope: str, left: LayerMap, removed: Sequence[str], model: Path) -> tuple[LayerMap, list[Layer]]:
    """The layers of what pruning left, and those of them that are trained.

    Args:
        scope: `cut` for the blocks next to a cut, or `last-K` for the last K blocks and the output head.
        left: The layers of the blocks that are left.
        removed: Names of the blocks that are gone, as the model had them.
        model: Folder of what is left.

    Raises:
        UserError: Fewer than K blocks are left.
    """
    if scope == "cut":
        near = next_to_cuts([int(name.rpartition(".")[2]) for name in removed], len(left.blocks))
        return left, [layer for layer in left if layer.block in near]
    count = int(scope.removeprefix("last-"))
    if count > len(left.blocks):
        raise UserError(f'recover_on = "{scope}": {len(left.blocks)} blocks are left; name fewer')
    layers = layer_map(model_of_configuration(model), head=True)
    first = len(left.blocks) - count
    return layers, [layer for layer in layers if layer.block is None or layer.block >= first]


def next_to_cuts(removed: Sequence[int], left: int) -> set[int]:
    """New numbers of the blocks in front of a cut and behind it.

    Args:
        removed: Old numbers of the blocks that are gone.
        left: Number of blocks that are left.
    """
    kept = [number for number in range(left + len(removed)) if number not in set(removed)]
    place = {number: new for new, number in enumerate(kept)}
    return {place[near] for number in removed for near in (number - 1, number + 1) if near in place}
