"""Supervised fine-tuning."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from layersig.objectives.base import Objective
from layersig.plugin.decorators import objective

if TYPE_CHECKING:
    from layersig.data.examples import Examples


@objective("sft", version=1)
class Sft(Objective):
    """Cross entropy of the responses: summed over the target tokens of a batch, over their number.

    Of pairs it learns the chosen responses.
    """

    def examples(self, params: Any, folder: Path, split: str, untouched: Path | None) -> Examples:
        """The conversations of the split."""
        from layersig.data.examples import read_examples

        return read_examples(folder, split)
