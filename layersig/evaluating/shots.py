"""Few-shot examples that never show the item that is asked.

lm-eval draws examples from the scored split where a task has no other, and removes the asked item only where the split
of examples is named and is the test split. Rows that are processed differently, and copies in another split, remain.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

from lm_eval.api.samplers import ContextSampler, FirstNSampler

from layersig.errors import UserError

Row = Mapping[str, Any]


class ApartSampler:
    """Draws as the sampler of a task does, and replaces what shows the asked item.

    Prompts in which nothing is replaced are those of lm-eval. A sampler that takes the first examples continues with
    the next ones; others draw from a stream of the item's own.

    Args:
        inner: lm-eval's sampler.
        shown: What a row shows; equal for rows that ask the same. None where a row cannot be shown as an item.

    Attributes:
        replaced: Number of examples replaced by index of the item, since the seed was last set.
    """

    def __init__(self, inner: ContextSampler, shown: Callable[[Row], Hashable | None]) -> None:
        self._inner = inner
        self._shown = shown
        self._known: dict[int, Hashable | None] = {}
        self._seed: int | None = None
        self._asked: tuple[int, Row] = (0, {})
        self.replaced: dict[int, int] = {}

    def set_rnd(self, rnd: int | None) -> ApartSampler:
        """Start again from a seed."""
        self._inner.set_rnd(rnd)
        self._seed = rnd
        self.replaced = {}
        return self

    def ask(self, index: int, row: Row) -> None:
        """Say which item the next examples are for.

        Args:
            index: Its index in the scored split.
            row: The item.
        """
        self._asked = index, row

    def sample(self, n: int, eval_doc: Row | None = None, **_: Any) -> Sequence[Row]:
        """`n` examples.

        Raises:
            UserError: There are too few that do not show the item.
        """
        drawn = list(self._inner.sample(n=n, eval_doc=eval_doc))
        index, row = self._asked
        asked = self._shown(row)
        kept = [example for example in drawn if not self._shows(example, row, asked)]
        if len(kept) == n:
            return drawn
        self.replaced[index] = n - len(kept)
        taken = {id(example) for example in kept}
        others = [example for example in self._inner.fewshot_docs() if id(example) not in taken]
        if not isinstance(self._inner, FirstNSampler):
            random.Random(f"{self._seed}/{index}").shuffle(others)
        for example in others:
            if not self._shows(example, row, asked):
                kept.append(example)
                if len(kept) == n:
                    return kept
        raise UserError(f"only {len(kept)} examples do not show the item itself; ask for {len(kept)} shots or fewer")

    def _shows(self, example: Row, row: Row, asked: Hashable | None) -> bool:
        if example == row:
            return True
        if id(example) not in self._known:  # the sampler keeps its examples, so that identities stay
            self._known[id(example)] = self._shown(example)
        return asked is not None and self._known[id(example)] == asked
