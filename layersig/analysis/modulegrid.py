"""Where the modules of a decoder lie: a block x type grid, and modules outside of it such as the output head."""

from dataclasses import dataclass

import numpy as np

from layersig.analysis.results import FloatArray, IntArray


@dataclass(frozen=True, slots=True, eq=False)
class ModuleGrid:
    """Positions of modules in a score vector.

    Attributes:
        n: Length of a score vector.
        index: Position of the module of each block and type, shape (blocks, types).
        fixed: Positions of modules that are alone in their type, for instance the output head.
    """

    n: int
    index: IntArray
    fixed: IntArray

    @property
    def types(self) -> IntArray:
        """Type number of every module, shape (n,); a fixed module is a type of its own."""
        out = np.empty(self.n, dtype=np.int64)
        types = self.index.shape[1]
        out[self.index] = np.arange(types)
        out[self.fixed] = types + np.arange(self.fixed.size)
        return out

    @property
    def depths(self) -> IntArray:
        """Block number of every module, shape (n,), counted from 0; fixed modules come after the last block."""
        out = np.full(self.n, self.index.shape[0], dtype=np.int64)
        out[self.index] = np.arange(self.index.shape[0])[:, None]
        return out

    def fields(self, scores: FloatArray) -> FloatArray:
        """The gridded part of score vectors: shape (..., n) to (..., blocks, types)."""
        return np.asarray(scores[..., self.index], dtype=np.float64)


def module_grid(types: IntArray, depths: IntArray) -> ModuleGrid:
    """Build the grid from the type and the depth of each module.

    Args:
        types: Any integer code of the module type, shape (N,).
        depths: Block number, shape (N,); ignored for a type that has one module only.

    Raises:
        ValueError: A type with several modules does not have exactly one in every block.
    """
    if types.ndim != 1 or types.shape != depths.shape:
        raise ValueError(f"types {types.shape} and depths {depths.shape} must be vectors of equal length")
    codes, counts = np.unique(types, return_counts=True)
    gridded = codes[counts > 1]
    blocks = np.unique(depths[np.isin(types, gridded)])
    columns = []
    for code in gridded:
        positions = np.flatnonzero(types == code)
        positions = positions[np.argsort(depths[positions], kind="stable")]
        if not np.array_equal(depths[positions], blocks):
            raise ValueError(f"module type {code} does not have exactly one module in each of {blocks.size} blocks")
        columns.append(positions)
    index = np.stack(columns, axis=1) if columns else np.empty((0, 0), dtype=np.int64)
    return ModuleGrid(types.size, index, np.flatnonzero(np.isin(types, codes[counts == 1])))
