"""The vocabulary and context size of a model, so that data it cannot read are refused before any training."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from layersig.data.examples import Example
from layersig.errors import UserError

# Names that models give to a table with a row for every position.
_TABLES = re.compile(r"(wpe|position_embeddings?|embed_positions|positions_embed|pos_emb\w*)\.weight$")


@dataclass(frozen=True, slots=True)
class Limits:
    """What a model can read.

    Attributes:
        tokens: Rows of its embedding, by its configuration; None when that names none.
        positions: Longest sequence that it was made for; None when its configuration names none.
        fixed: Whether positions are rows of a table, so that a longer sequence cannot be read at all.
    """

    tokens: int | None
    positions: int | None
    fixed: bool

    def check(self, examples: Sequence[Example], tokenizer: Any) -> int:
        """Refuse what the model cannot read.

        Returns:
            Examples that are longer than the model was made for, which it can read.

        Raises:
            UserError: An example has a token without an embedding, or more tokens than the table of positions has rows.
        """
        for example in examples:
            most = int(example.tokens.max(initial=0))
            if self.tokens is not None and most >= self.tokens:
                raise UserError(
                    f"conversation {example.id} holds the token {tokenizer.convert_ids_to_tokens(most)!r} ({most}), "
                    f"which is beyond the {self.tokens} rows of the model's embedding; remove the conversation, or "
                    "use the tokenizer that belongs to the model"
                )
        long = [example for example in examples if self.positions is not None and len(example) > self.positions]
        if long and self.fixed:
            raise UserError(
                f"conversation {long[0].id} has {len(long[0])} tokens, and the model has a table of {self.positions} "
                f"positions; set max_tokens = {self.positions} or less"
            )
        return len(long)


def limits_of(folder: Path) -> Limits:
    """The limits of the model in a folder; none where it has no configuration."""
    if not (folder / "config.json").is_file():
        return Limits(None, None, fixed=False)
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(folder, local_files_only=True).get_text_config(decoder=True)
    tokens, positions = (getattr(config, name, None) for name in ("vocab_size", "max_position_embeddings"))
    return Limits(
        tokens if isinstance(tokens, int) else None,
        positions if isinstance(positions, int) and positions > 0 else None,
        fixed=any(map(_TABLES.search, _names(folder))),
    )


def _names(folder: Path) -> list[str]:
    from safetensors import safe_open

    names: list[str] = []
    for file in folder.glob("*.safetensors"):
        with safe_open(file, framework="numpy") as opened:
            names += opened.keys()
    return names
