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
        self._asked: tuple[int, tuple[Row, ...]] = (0, ())
        self.replaced: dict[int, int] = {}

    def set_rnd(self, rnd: int | None) -> ApartSampler:
        """Start again from a seed."""
        self._inner.set_rnd(rnd)
        self._seed = rnd
        self.replaced = {}
        return self

    def ask(self, index: int, *rows: Row) -> None:
        """Say which item the next examples are for.

        Args:
            index: Its index in the scored split.
            rows: What is asked of it, and whatever else no example may show.
        """
        self._asked = index, rows

    def sample(self, n: int, eval_doc: Row | None = None, **_: Any) -> Sequence[Row]:
        """`n` examples.

        Raises:
            UserError: There are too few that do not show the item.
        """
        drawn = list(self._inner.sample(n=n, eval_doc=eval_doc))
        index, rows = self._asked
        asked = [(row, self._shown(row)) for row in rows]
        kept = [example for example in drawn if not self._shows(example, asked)]
        if len(kept) == n:
            return drawn
        self.replaced[index] = n - len(kept)
        taken = {id(example) for example in kept}
        others = [example for example in self._inner.fewshot_docs() if id(example) not in taken]
        if not isinstance(self._inner, FirstNSampler):
            random.Random(f"{self._seed}/{index}").shuffle(others)
        for example in others:
            if not self._shows(example, asked):
                kept.append(example)
                if len(kept) == n:
                    return kept
        raise UserError(f"only {len(kept)} examples do not show the item itself; ask for {len(kept)} shots or fewer")

    def _shows(self, example: Row, asked: Sequence[tuple[Row, Hashable | None]]) -> bool:
        if any(example == row for row, _ in asked):
            return True
        if id(example) not in self._known:  # the sampler keeps its examples, so that identities stay
            self._known[id(example)] = self._shown(example)
        return any(shown is not None and self._known[id(example)] == shown for _, shown in asked)
