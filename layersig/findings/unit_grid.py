"""Where the units of a ranking lie, in the codes that the statistics take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from layersig.analysis.modulegrid import ModuleGrid, module_grid
from layersig.findings.rows.layers import LayerRow

IntArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """Types and depths of units.

    Attributes:
        types: Code of the module type of each unit, shape (N,).
        depths: Block of each unit, shape (N,); the output head lies behind the last block.
        modules: The block x type grid; None for models whose blocks do not all hold the same types.
    """

    types: IntArray
    depths: IntArray
    modules: ModuleGrid | None


def grid_of(units: Sequence[LayerRow]) -> Grid:
    """The grid of the units of a model."""
    codes = {kind: code for code, kind in enumerate(dict.fromkeys(unit.kind for unit in units))}
    types = np.array([codes[unit.kind] for unit in units], dtype=np.int64)
    behind = 1 + max((unit.block for unit in units if unit.block is not None), default=-1)
    depths = np.array([behind if unit.block is None else unit.block for unit in units], dtype=np.int64)
    try:
        return Grid(types, depths, module_grid(types, depths))
    except ValueError:
        return Grid(types, depths, None)
