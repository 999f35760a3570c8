"""Named random streams from one root seed.

Every random choice has a name: (root, seed of the cell, purpose, module or example, step). Streams are never keyed by
arm, position or worker, so a module starts the same in every arm and a shared stage changes nothing.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

import numpy as np


def derive(*names: str | int) -> int:
    """A 63-bit seed from a path of names; equal paths give equal seeds on every machine."""
    digest = hashlib.sha256(json.dumps(names, separators=(",", ":")).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


@dataclass(frozen=True, slots=True)
class Streams:
    """The streams of one cell.

    Attributes:
        root: The recipe's root seed. Splits and evaluation items depend on it alone.
        seed: A value of the recipe's seed axis; None for what all seeds share.
    """

    root: int
    seed: int | None = None

    def branch(self, *names: str | int) -> Streams:
        """Streams that share the root with these and none of their draws."""
        return Streams(self.root, derive("branch", -1 if self.seed is None else self.seed, *names))

    def without_seed(self) -> Streams:
        """The streams that all seeds share."""
        return Streams(self.root)

    def number(self, purpose: str, *names: str | int) -> int:
        """The 63-bit seed of the stream (purpose, *names)."""
        axis = () if self.seed is None else ("seed", self.seed)
        return derive(self.root, *axis, purpose, *names)

    def generator(self, purpose: str, *names: str | int) -> np.random.Generator:
        """A NumPy generator at the start of the stream (purpose, *names)."""
        return np.random.default_rng(self.number(purpose, *names))
