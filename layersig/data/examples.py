"""Tokenised conversations, and how a split of them lies on disk.

A split `NAME` is two files: `NAME.safetensors` with `tokens` (int32, all examples end to end), `targets` (bool, same
length) and `offsets` (int64, one more than there are examples), and `NAME.json` with the ids and groups. Equal examples
give equal bytes, and reading maps the file into memory instead of loading it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from layersig.jsonform import dumps

_DTYPES = {"I32": np.int32, "I64": np.int64, "BOOL": np.bool_}


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """One tokenised conversation.

    Attributes:
        id: Content hash of the conversation.
        group: What it shares with conversations that are not independent of it; the cluster of held-out losses.
        tokens: Token ids, int32 [T].
        targets: bool [T]; True where token t is to be predicted from the tokens before it. Never True at 0.
    """

    id: str
    group: str
    tokens: NDArray[np.int32]
    targets: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.tokens)


@dataclass(frozen=True, slots=True, eq=False)
class Examples(Sequence[Example]):
    """A split: a read-only sequence of `Example` over flat arrays.

    Attributes:
        ids: Id of every example.
        groups: Group of every example.
        tokens: Tokens of all examples end to end, int32.
        targets: Target flags, bool, as long as `tokens`.
        offsets: int64 [len + 1]; example i is tokens[offsets[i]:offsets[i + 1]].
    """

    ids: tuple[str, ...]
    groups: tuple[str, ...]
    tokens: NDArray[np.int32]
    targets: NDArray[np.bool_]
    offsets: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def of(cls, examples: Sequence[Example]) -> Examples:
        """Examples copied end to end, such as a part of another split."""
        offsets = np.zeros(len(examples) + 1, np.int64)
        np.cumsum([len(example) for example in examples], out=offsets[1:])
        return cls(
            tuple(example.id for example in examples),
            tuple(example.group for example in examples),
            np.concatenate([np.zeros(0, np.int32), *(example.tokens for example in examples)], dtype=np.int32),
            np.concatenate([np.zeros(0, np.bool_), *(example.targets for example in examples)], dtype=np.bool_),
            offsets,
        )

    @property
    def with_prompts(self) -> Examples:
        """The same with every token but the first of each example as a target."""
        targets = np.ones_like(self.targets)
        targets[self.offsets[:-1]] = False
        return replace(self, targets=targets)

    @overload
    def __getitem__(self, index: int) -> Example: ...

    @overload
    def __getitem__(self, index: slice) -> Examples: ...

    def __getitem__(self, index: int | slice) -> Example | Examples:
        if isinstance(index, slice):
            return Examples.of([self[place] for place in range(len(self))[index]])
        place = range(len(self.ids))[index]
        span = slice(int(self.offsets[place]), int(self.offsets[place + 1]))
        return Example(self.ids[place], self.groups[place], self.tokens[span], self.targets[span])

    def __iter__(self) -> Iterator[Example]:
        return (self[index] for index in range(len(self)))

    def sequences(self, indices: Iterable[int]) -> list[Example]:
        """What goes through the model for the examples of these indices: the examples themselves."""
        return [self[index] for index in indices]

    def part(self, indices: Iterable[int]) -> Examples:
        """The examples of these indices, copied end to end."""
        return Examples.of(self.sequences(indices))

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of every example, int64 [len]."""
        return np.diff(self.offsets)

    @property
    def target_counts(self) -> NDArray[np.int64]:
        """Target tokens of every example, int64 [len]."""
        total = np.concatenate(([0], np.cumsum(self.targets, dtype=np.int64)))
        return np.diff(total[self.offsets])

    @property
    def weights(self) -> NDArray[np.int64]:
        """What every example weighs in the mean loss of a batch: its target tokens, int64 [len]."""
        return self.target_counts

    @property
    def footprints(self) -> NDArray[np.int64]:
        """Tokens that every example takes in a batch of its own, int64 [len]."""
        return self.lengths

    @property
    def longest(self) -> int:
        """Tokens of the longest sequence."""
        return int(self.lengths.max())


def write_examples(folder: Path, name: str, examples: Sequence[Example]) -> None:
    """Write a split, which may be empty, to `folder/name.safetensors` and `folder/name.json`."""
    split = Examples.of(examples)
    arrays: dict[str, NDArray[Any]] = {"tokens": split.tokens, "targets": split.targets, "offsets": split.offsets}
    (folder / f"{name}.safetensors").write_bytes(save(arrays))
    names = {"ids": list(split.ids), "groups": list(split.groups)}
    (folder / f"{name}.json").write_text(dumps(names) + "\n", encoding="utf-8")


def read_examples(folder: Path, name: str) -> Examples:
    """The split that `write_examples` wrote; tokens and targets stay on disk until they are touched."""
    names = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    arrays = _map_arrays(folder / f"{name}.safetensors")
    return Examples(tuple(names["ids"]), tuple(names["groups"]), arrays["tokens"], arrays["targets"], arrays["offsets"])


def _map_arrays(path: Path) -> dict[str, NDArray[Any]]:
    # The library's own reader copies every tensor. The format is a 64-bit length, a JSON header of that length with
    # byte ranges, and the bytes (https://github.com/huggingface/safetensors#format).
    raw = np.asarray(np.memmap(path, np.uint8, mode="r"))
    start = 8 + int.from_bytes(raw[:8].tobytes(), "little")
    body = raw[start:]
    header = json.loads(raw[8:start].tobytes())
    return {
        name: body[slice(*entry["data_offsets"])].view(_DTYPES[entry["dtype"]])
        for name, entry in header.items()
        if name != "__metadata__"
    }
